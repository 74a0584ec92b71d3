"""An attempt ends when something ends it, with a reason, and never only because its lease is over."""

from __future__ import annotations

import gc
import logging
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from ase.build import bulk

from nanoos_lab.core.status import Reason, Status
from nanoos_lab.lab.prepare import prepare
from nanoos_lab.worker.run import AttemptFailedError, retire, run_job
from nanoos_lab.worker.services import Services, of_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nanoos_lab.core.record import JobRecord

#: A device without room, as real as a full disk.
FULL = "/dev/full"


@pytest.fixture
def site(valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """A server, a store and a directory, named by the environment as on a compute node."""
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'store.sqlite'}")
    monkeypatch.setenv("NANOOS_ARTIFACTS_URL", str(tmp_path / "artifacts"))
    monkeypatch.setenv("NANOOS_LEASE", "1")
    services = of_environment()
    yield services
    retire()
    services.close()


def submitted(site: Services, **parameters: Any) -> JobRecord:
    """Store a job; its first attempt waits for `run_job`."""
    wanted = {"steps": 20, "every": 10, **parameters}
    structure = bulk("Cu", cubic=True)
    options = {"name": None, "queue": "default", "priority": 5, "retries": None}
    submission = prepare(site, structure, engine="mock", task="md", parameters=wanted, **options)
    [record] = site.store.add([submission])
    return record


def failed(site: Services, job: JobRecord) -> JobRecord:
    """Run the first attempt, which fails; return what the store knows right then."""
    with pytest.raises(AttemptFailedError):
        run_job(job.id, 1)
    record = site.store.get(job.id)
    assert record.status is Status.FAILED
    assert record.failure
    return record


def test_a_whole_attempt_succeeds(site: Services) -> None:
    job = submitted(site)
    assert run_job(job.id, 1) == "succeeded"
    assert site.store.get(job.id).step == 20


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_fails_the_job_at_once(site: Services, caplog: pytest.LogCaptureFixture) -> None:
    # A traceback that is kept would keep the files, too.
    caplog.set_level(logging.CRITICAL)
    job = submitted(site)
    (site.artifacts.attempt_dir(job.id, 1) / "trajectory.traj").symlink_to(FULL)
    record = failed(site, job)
    assert record.reason is Reason.RESOURCE
    assert "No space left" in record.failure.message
    # What is still in the buffers of its files cannot be written; Python says so when they go.
    gc.collect()


def test_a_directory_that_cannot_be_made_fails_the_job_at_once(site: Services) -> None:
    job = submitted(site)
    place = site.artifacts.attempt_dir(job.id, 1)
    place.rmdir()
    place.touch()
    assert failed(site, job).reason is Reason.RESOURCE


def test_a_log_without_room_hides_no_failure_and_lets_no_child_escape(site: Services) -> None:
    """Its traceback cannot be printed, and neither can what is left in its buffers be flushed at the end."""
    job = submitted(site, fail_at=10, fail_by="bug")
    (site.artifacts.attempt_dir(job.id, 1) / "log.txt").symlink_to(FULL)
    assert failed(site, job).reason is Reason.BUG


def test_a_missing_input_file_fails_the_job_at_once(site: Services) -> None:
    job = submitted(site)
    with sqlite3.connect(site.settings.store_url.removeprefix("sqlite:///")) as database:
        [(text,)] = database.execute("SELECT request FROM jobs").fetchall()
        changed = text.replace('"files": {}', '"files": {"potential": {"name": "p", "sha256": "' + 64 * "0" + '"}}')
        changed = changed.replace('"files":{}', '"files":{"potential":{"name":"p","sha256":"' + 64 * "0" + '"}}')
        assert changed != text
        database.execute("UPDATE jobs SET request = ?", [changed])
    database.close()
    record = failed(site, job)
    assert record.reason is Reason.RESOURCE
    assert "input file p" in record.failure.message


def test_an_attempt_that_cannot_renew_its_lease_ends_its_engine_by_itself(site: Services) -> None:
    """Another worker may have taken it: the two must not run side by side."""
    job = submitted(site, duration=60.0)
    locked = sqlite3.connect(
        site.settings.store_url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
    )

    def lock_once_running() -> None:
        while site.store.get(job.id).status is not Status.RUNNING:
            time.sleep(0.05)
        locked.execute("BEGIN IMMEDIATE")

    thread = threading.Thread(target=lock_once_running)
    thread.start()
    begun = time.monotonic()
    assert run_job(job.id, 1) == "stale"
    assert time.monotonic() - begun < 20
    thread.join()
    locked.close()
    assert [record.id for record in site.store.expire()] == [job.id]
