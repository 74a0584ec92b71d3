"""The backup of the README, made while jobs run and restored elsewhere."""

from __future__ import annotations

import re
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from nanoos_lab.core.status import Status
from nanoos_lab.lab import local
from nanoos_lab.lab.lab import Lab
from nanoos_lab.store import Store
from nanoos_lab.worker.settings import Settings
from tests.fixtures.postgres import binaries
from tests.store.samples import HOLDER, submission
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fixtures.postgres import PostgresServer

README = Path(__file__).parents[2] / "README.md"
COPPER = bulk("Cu", cubic=True)


def commands(name: str) -> list[str]:
    """Return the lines of a marked block of commands, without their remarks."""
    found = re.search(rf"<!-- command: {name} -->\n```sh\n(.+?)\n```", README.read_text(), re.DOTALL)
    assert found, name
    return [line.partition("  #")[0].strip() for line in found.group(1).splitlines()]


def run(command: str, directory: Path, **environment: str) -> None:
    subprocess.run(["sh", "-c", command], cwd=directory, env={"PATH": "/usr/bin:/bin", **environment}, check=True)


def copy_database(command: str, home: Path, directory: Path) -> None:
    """Do what the command does, without its program."""
    found = re.fullmatch(r'sqlite3 "\$NANOOS_HOME/store.sqlite" "VACUUM INTO \'(.+)\'"', command)
    assert found, command
    with closing(sqlite3.connect(home / "store.sqlite")) as database:
        database.execute("VACUUM INTO ?", [str(directory / found.group(1))])


@pytest.fixture
def working_lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab with two workers."""
    with Lab(Settings.load(home=tmp_path / "home", concurrency=2)) as lab:
        yield lab
        local.stop(lab.settings, now=True)


@pytest.fixture
def restored(tmp_path: Path) -> Iterator[Lab]:
    """A lab whose home is the copy."""
    with Lab(Settings.load(home=tmp_path / "backup", concurrency=2, lease=3)) as lab:
        yield lab
        local.stop(lab.settings, now=True)


def test_a_lab_that_is_copied_while_it_works_goes_on_elsewhere(working_lab: Lab, restored: Lab, tmp_path: Path) -> None:
    make, database, files = commands("backup")
    home = working_lab.settings.home
    md = {"engine": "mock", "task": "md", "steps": 100, "every": 10}
    done = working_lab.submit(COPPER, **md).wait(60)
    running = working_lab.submit(COPPER, **md, duration=100.0)
    soon = working_lab.submit(COPPER, **md, not_before=datetime.now(UTC) + timedelta(seconds=60))
    later = working_lab.submit(COPPER, **md, after=soon)
    until(lambda: len(running.thermo) > 0)

    run(make, tmp_path)
    copy_database(database, home, tmp_path)
    # Between the two, a job that waited when the database was copied is run to its end.
    working_lab.services.store.move(soon.id, to=Status.QUEUED, expected=Status.PENDING, attempt=1)
    assert later.wait(60).status is Status.SUCCEEDED
    run(files, tmp_path, NANOOS_HOME=str(home))
    local.stop(working_lab.settings, now=True)

    jobs = [restored.load(job.id) for job in (done, running, soon, later)]
    assert [job.status for job in jobs] == ["succeeded", "running", "pending", "pending"]
    assert jobs[0].results["energy"] == done.results["energy"]
    assert len(jobs[0].trajectory) == 11
    assert len(jobs[1].thermo) > 0

    restored.services.store.move(soon.id, to=Status.QUEUED, expected=Status.PENDING, attempt=1)
    restored.start()
    for job in jobs[2:]:
        assert job.wait(60).status is Status.SUCCEEDED
        assert list(job.thermo.index) == list(range(0, 101, 10))
    until(lambda: jobs[1].running() and jobs[1].record.attempt == 2)


def test_a_database_of_a_cluster_is_dumped_and_comes_back_in_an_empty_one(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    dump, restore = commands("dump")
    source, target = postgres.new_database(), postgres.new_database()
    (tmp_path / "backup").mkdir()
    try:
        with_jobs, copy = Store(source), Store(target)
        done, queued, pending = with_jobs.add([submission("done"), submission("queued"), submission("pending")])
        with_jobs.claim(done.id, 1, HOLDER)
        with_jobs.succeed(done.id, 1, step=10, scalars={"energy": -3.5}, provenance={})
        with_jobs.pause(pending.id)

        run(dump, tmp_path, PATH=f"{binaries()}:/usr/bin:/bin", DATABASE_URL=source)
        run(restore, tmp_path, PATH=f"{binaries()}:/usr/bin:/bin", DATABASE_URL=target)

        for job in (done, queued, pending):
            assert copy.get(job.id) == with_jobs.get(job.id)
            assert copy.request(job.id) == with_jobs.request(job.id)
            assert copy.events(job.id) == with_jobs.events(job.id)
        assert [one.job_id for one in copy.undelivered()] == [queued.id]
        assert copy.claim(queued.id, 1, HOLDER) is not None
        assert copy.resume(pending.id).status is Status.QUEUED
    finally:
        for store in (with_jobs, copy):
            store.close()
        for url in (source, target):
            postgres.drop_database(url)
