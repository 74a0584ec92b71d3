"""Connections: what is refused, what is private, and what happens when the database goes away."""

from __future__ import annotations

import os
import socket
import sqlite3
import stat
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from nanoos_lab.core.errors import SettingsError, StoreError
from nanoos_lab.store import Store, sql, warm
from nanoos_lab.store import connect as connecting
from tests.store.samples import HOLDER, submission
from tests.waiting import quickest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fixtures.postgres import PostgresServer


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://host/name", "mysql"),
        ("sqlite://", "memory"),
        ("sqlite:///:memory:", "memory"),
        ("not a url", "sqlite:///path"),
    ],
)
def test_what_cannot_be_a_store_is_refused_in_words(url: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Store(url)


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError, match=r"nanoos-lab\[postgres\]"):
        Store("postgresql://nobody@127.0.0.1:1/missing_driver")


def test_a_network_file_system_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "network_file_system", lambda _: "nfs4")
    with pytest.raises(SettingsError, match=r"nfs4.*DATABASE_URL"):
        Store(f"sqlite:///{tmp_path}/home/jobs.sqlite").count()
    assert list(tmp_path.iterdir()) == []


def test_the_database_is_its_owners_alone(sqlite_url: str, tmp_path: Path) -> None:
    Store(sqlite_url).count()
    files = list((tmp_path / "store").iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700


def test_readers_and_the_writer_do_not_wait_for_each_other(sqlite_url: str, tmp_path: Path) -> None:
    Store(sqlite_url).count()
    with closing(sqlite3.connect(tmp_path / "store" / "jobs.sqlite")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_directory_that_cannot_be_made_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot make the database"):
        Store(f"sqlite:///{tmp_path}/file/jobs.sqlite").count()


def test_a_file_that_is_no_database_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").write_bytes(b"hello" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        Store(f"sqlite:///{tmp_path}/jobs.sqlite").count()


def test_a_locked_file_is_waited_for_three_seconds(sqlite_url: str, tmp_path: Path) -> None:
    store = Store(sqlite_url)
    job = store.add([submission()])[0]
    with closing(sqlite3.connect(tmp_path / "store" / "jobs.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def seconds() -> float:
            begun = time.monotonic()
            with pytest.raises(StoreError, match="locked"):
                store.cancel(job.id)
            return time.monotonic() - begun

        assert quickest(seconds, limit=3.9) < 3.9
        assert store.get(job.id) == job
    assert store.cancel(job.id).ended is not None


def test_a_server_that_is_not_there_is_an_error_without_its_password() -> None:
    with pytest.raises(StoreError, match="does not answer") as caught:
        Store("postgresql://me:hunter2@127.0.0.1:1/jobs").count()
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_server_that_is_silent_is_given_up_after_three_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:

        def seconds() -> float:
            begun = time.monotonic()
            with pytest.raises(StoreError, match="does not answer"):
                Store(f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/jobs").count()
            return time.monotonic() - begun

        assert quickest(seconds, limit=3.9) < 3.9


def test_a_store_outlives_a_crash_of_its_server(postgres: PostgresServer, postgres_url: str) -> None:
    store = Store(postgres_url)
    job = store.add([submission()])[0]
    postgres.stop()
    try:
        with pytest.raises(StoreError):
            store.get(job.id)
    finally:
        postgres.start()
    assert store.get(job.id) == job
    store.close()


def test_a_connection_that_breaks_in_the_middle_leaves_nothing_half_done(
    postgres: PostgresServer, postgres_url: str
) -> None:
    store = Store(postgres_url)
    job = store.add([submission()])[0]

    def cancel_twice() -> None:
        with store._writing() as work:
            work.run(sql.request_cancel, job=job.id)
            postgres.restart()
            work.run(sql.request_cancel, job=job.id)

    with pytest.raises(StoreError):
        cancel_twice()
    assert store.get(job.id) == job
    store.close()


def test_a_connection_that_is_in_use_when_the_store_is_closed_is_closed_when_it_is_given_back(
    postgres_url: str,
) -> None:
    """As that of a thread that looks after a lab which is closed."""
    database = connecting.Database(postgres_url)
    drivers = []
    for before in (True, False):
        with database.autocommit() as work:
            drivers.append(work._cursor.connection)
            work._cursor.execute("SELECT 1")
            if before:
                database.close()
        database.close()
    assert [driver.closed for driver in drivers] == [True, True]


def test_a_forked_child_uses_connections_of_its_own(open_store: Callable[..., Store]) -> None:
    store = open_store()
    jobs = store.add([submission(), submission()])
    child = os.fork()
    if child == 0:
        won = store.claim(jobs[0].id, 1, HOLDER) is not None
        os._exit(0 if won else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.get(jobs[0].id).worker == HOLDER.worker
    assert store.claim(jobs[1].id, 1, HOLDER) is not None


def test_warming_up_touches_no_file(sqlite_url: str, tmp_path: Path) -> None:
    warm(sqlite_url)
    assert list(tmp_path.iterdir()) == []
    store = Store(sqlite_url)
    assert sum(store.count().values()) == 0
    assert store.add([submission()])[0].status == "queued"


def test_warming_up_leaves_a_store_in_use_alone(sqlite_url: str) -> None:
    store = Store(sqlite_url)
    job = store.add([submission()])[0]
    warm(sqlite_url)
    assert store.get(job.id) == job


def test_warming_up_needs_no_server() -> None:
    warm("postgresql://nobody@127.0.0.1:1/nothing")
    warm()
