"""An attempt ends when something ends it, with a reason, and never only because its lease is over."""

from __future__ import annotations

import gc
import logging
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psutil
import pytest
from ase.build import bulk

from nanoos_lab.core.errors import StoreError
from nanoos_lab.core.request import JobRequest, Submission
from nanoos_lab.core.resources import Limits, Resources, RetryPolicy
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.core.structures import Structure
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.prepare import prepare
from nanoos_lab.store.jobs import Store
from nanoos_lab.store.results import read_results
from nanoos_lab.store.thermo import read_thermo
from nanoos_lab.worker import following
from nanoos_lab.worker.outcome import OUTCOME
from nanoos_lab.worker.run import AttemptFailedError, retire, run_job
from nanoos_lab.worker.services import Services, of_environment
from nanoos_lab.worker.settings import Settings
from tests.engines.espresso import running as espresso
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from nanoos_lab.core.record import JobRecord

#: How a job is submitted that is not tried again.
ONCE = {"queue": "default", "retries": 1}
#: A device without room, as real as a full disk.
FULL = "/dev/full"


@pytest.fixture
def site(valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """A server, a store and a directory, named by the environment as on a compute node."""
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'store.sqlite'}")
    monkeypatch.setenv("NANOOS_ARTIFACTS_URL", str(tmp_path / "artifacts"))
    monkeypatch.setenv("NANOOS_LEASE", "3")
    services = of_environment()
    yield services
    retire()
    services.close()


def submitted(site: Services, *, options: Mapping[str, Any] = ONCE, **parameters: Any) -> JobRecord:
    """Store a job; its first attempt waits for `run_job`."""
    wanted = {"steps": 20, "every": 10, **parameters, **options}
    submission = prepare(site, Draft(bulk("Cu", cubic=True), engine="mock", task="md", **wanted))
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


@pytest.mark.parametrize(
    ("engine", "task", "resources", "says"),
    [
        ("ase", "static", {"ranks": 2}, "engine 'ase', task 'static' uses one core"),
        ("tblite", "static", {"ranks": 2}, "engine 'tblite', task 'static' uses only threads"),
        ("lammps", "static", {"gpus": 1}, "engine 'lammps', task 'static' uses only ranks, threads"),
        ("mock", "md", {"threads": 2}, "engine 'mock', task 'md' uses only gpus"),
    ],
)
def test_what_a_run_could_not_use_fails_it_however_it_came_here(
    site: Services, monkeypatch: pytest.MonkeyPatch, engine: str, task: str, resources: Mapping[str, int], says: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"GPU-{uuid4()}")
    request = JobRequest(
        structure=Structure.encode(bulk("Cu")),
        engine=engine,
        task=task,
        parameters={},
        resources=Resources(**resources),
    )
    # Past the check at submit, as from a lab whose engines are others.
    [job] = site.store.add([Submission(request=request, name="", queue="default", retries=RetryPolicy(attempts=1))])
    failure = failed(site, job).failure
    assert failure is not None
    assert failure.reason is Reason.INPUT
    assert says in failure.message


@pytest.mark.parametrize(("embedded", "after"), [(True, Status.FAILED), (False, Status.QUEUED)])
def test_a_missing_program_is_looked_for_again_only_where_another_host_may_have_it(
    site: Services, monkeypatch: pytest.MonkeyPatch, embedded: bool, after: Status
) -> None:
    request, _ = espresso.request_of(espresso.silicon(), "static", **espresso.SILICON)
    monkeypatch.setattr(Settings, "embedded", embedded)
    monkeypatch.setenv("NANOOS_PW_X", "/no/such/pw.x")
    # Without its files: what it would read of them is not the matter here.
    policy = RetryPolicy(attempts=3, delay=0.0)
    [job] = site.store.add([Submission(request=replace(request, files={}), name="", queue="default", retries=policy)])
    with pytest.raises(AttemptFailedError, match=r"/no/such/pw\.x"):
        run_job(job.id, 1)
    assert site.store.get(job.id).status is after
    [first, *_] = site.store.attempts(job.id)
    assert first.failure is not None
    assert "job.retry()" in first.failure.remedy


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
    job = submitted(site, duration=600.0)
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
    assert time.monotonic() - begun < 120
    thread.join()
    locked.close()
    assert [record.id for record in site.store.expire()] == [job.id]


def test_a_lack_of_resources_is_tried_again_after_a_while(site: Services) -> None:
    job = submitted(site, options={"queue": "default", "retries": {"attempts": 2, "delay": 60}})
    place = site.artifacts.attempt_dir(job.id, 1)
    place.rmdir()
    place.touch()
    with pytest.raises(AttemptFailedError):
        run_job(job.id, 1)
    record = site.store.get(job.id)
    assert (record.status, record.attempt, record.failures) == (Status.PENDING, 2, 1)
    assert record.run_after is not None
    [attempt] = site.store.attempts(job.id)
    assert attempt.outcome == "retried"
    assert 29 < (record.run_after - attempt.ended).total_seconds() <= 60


def test_what_an_attempt_used_is_kept(site: Services) -> None:
    job = submitted(site, duration=0.5)
    begun = time.monotonic()
    assert run_job(job.id, 1) == "succeeded"
    whole = time.monotonic() - begun
    [attempt] = site.store.attempts(job.id)
    assert 0.5 <= attempt.ran < whole
    assert 0 < attempt.cpu < 5
    assert attempt.peak_memory > 10 * 1024**2


def test_what_failed_is_told_with_the_parameters_that_were_asked_for(site: Services) -> None:
    options = {"queue": "default", "retries": 1}
    job = submitted(site, options=options, fail_at=5, needed_corrections=1)
    with pytest.raises(AttemptFailedError):
        run_job(job.id, 1)
    [attempt] = site.store.attempts(job.id)
    assert attempt.outcome == "corrected"
    assert attempt.provenance["request"]["parameters"]["fail_at"] == 5
    assert attempt.provenance["request"]["key"] == job.key
    assert attempt.provenance["version"] == "1"


class TestLimits:
    def test_at_the_soft_limit_the_engine_is_asked_to_stop(self, site: Services) -> None:
        job = submitted(site, options={**ONCE, "limits": {"soft": 1.0}}, duration=60.0)
        record = failed(site, job)
        assert record.reason is Reason.TIME_LIMIT
        assert "soft time limit of 1 s" in record.failure.message
        assert "job.retry" in record.failure.remedy

    def test_an_engine_that_does_not_listen_is_killed_at_the_hard_limit(self, site: Services) -> None:
        limits = {"soft": 1.0, "hard": 2.0}
        record = failed(site, submitted(site, options={**ONCE, "limits": limits}, fail_at=0, fail_by="hang"))
        assert record.reason is Reason.TIME_LIMIT
        assert "killed at its hard time limit of 2 s" in record.failure.message

    def test_a_run_that_needs_too_much_memory_is_killed(self, site: Services) -> None:
        record = failed(site, submitted(site, options={**ONCE, "limits": {"memory": 0.001}}, duration=60.0))
        assert record.reason is Reason.MEMORY
        assert "more than its limit of 0.001 GiB" in record.failure.message

    def test_a_retry_with_a_longer_limit_goes_on(self, site: Services) -> None:
        job = submitted(site, options={**ONCE, "limits": {"soft": 1.0}}, duration=3.0)
        failed(site, job)
        assert site.store.retry(job.id, limits=Limits(soft=60.0)).status is Status.QUEUED
        assert run_job(job.id, 2) == "succeeded"
        assert site.store.get(job.id).step == 20


class TestSilence:
    def test_a_run_of_which_nothing_is_heard_is_killed(self, site: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NANOOS_SILENCE", "2")
        record = failed(site, submitted(site, fail_at=0, fail_by="hang"))
        assert record.reason is Reason.ENGINE
        assert "nothing was heard of the run for 2 s" in record.failure.message
        assert "NANOOS_SILENCE" in record.failure.remedy

    def test_a_pause_is_no_silence(self, site: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NANOOS_SILENCE", "2")
        job = submitted(site, duration=2.0)
        with running(site, job) as run:
            pause_for(5.0, site, job)
        assert run.result() == "succeeded"

    def test_a_silence_that_is_none_fails_the_run(self, site: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NANOOS_SILENCE", "2h")
        failure = failed(site, submitted(site, duration=0.1)).failure
        assert failure is not None
        assert "NANOOS_SILENCE is '2h', not a number of seconds" in failure.message


class TestPausing:
    def test_a_paused_run_stands_still_and_goes_on(self, site: Services) -> None:
        job = submitted(site, duration=2.0)
        with running(site, job) as run:
            site.store.pause(job.id)
            until(lambda: "stopped" in states(site, job))
            site.store.resume(job.id)
            until(lambda: "stopped" not in states(site, job))
        assert run.result() == "succeeded"

    def test_a_pause_does_not_count_as_running_time(self, site: Services) -> None:
        job = submitted(site, options={**ONCE, "limits": {"hard": 6.0}}, duration=4.0)
        with running(site, job) as run:
            pause_for(7.0, site, job)
        assert run.result() == "succeeded"
        [attempt] = site.store.attempts(job.id)
        assert attempt.ran < 6.0

    def test_a_paused_run_can_be_cancelled(self, site: Services) -> None:
        job = submitted(site, duration=60.0)
        with running(site, job) as run:
            site.store.pause(job.id)
            until(lambda: "stopped" in states(site, job))
            site.store.cancel(job.id)
        assert run.result() == "cancelled"

    def test_a_long_pause_makes_room_and_the_run_goes_on_where_it_was(
        self, site: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(following, "KEPT", 0.5)
        job = submitted(site, steps=2000, duration=4.0)
        with running(site, job) as run:
            until(lambda: site.store.get(job.id).step > 100)
            site.store.pause(job.id)
        assert run.result() == "pending"
        paused = site.store.get(job.id)
        assert (paused.attempt, paused.failures) == (2, 0)
        assert site.store.promote() == []
        assert site.store.resume(job.id).status is Status.QUEUED
        assert run_job(job.id, 2) == "succeeded"
        assert [attempt.outcome for attempt in site.store.attempts(job.id)] == ["paused", "succeeded"]
        first, second = (read_thermo(place) for place in site.artifacts.attempt_dirs(job.id))
        assert second.steps[0] > 100
        assert second.steps[0] - first.steps[-1] <= 10


class TestAStoreThatIsAway:
    def test_an_outcome_waits_and_is_committed_when_the_store_is_back(
        self, site: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NANOOS_LEASE", "60")
        job = submitted(site, duration=2.0)
        with running(site, job) as run, locked(site):
            outcome = site.artifacts.attempt_dir(job.id, 1) / OUTCOME
            until(outcome.exists)
        assert run.result() == "succeeded"

    def test_an_outcome_that_nobody_committed_is_adopted_by_the_next_attempt(
        self, site: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = submitted(site, options={"queue": "default", "retries": 3}, duration=0.5)
        away = StoreError("away")
        with monkeypatch.context() as patch:
            patch.setattr(Store, "succeed", lambda *_a, **_k: (_ for _ in ()).throw(away))
            patch.setattr(
                "nanoos_lab.worker.attempt.time.sleep", lambda _pause: (_ for _ in ()).throw(KeyboardInterrupt)
            )
            with pytest.raises(KeyboardInterrupt):
                run_job(job.id, 1)
        assert site.store.lose(job.id, 1, "killed").attempt == 2
        assert run_job(job.id, 2) == "succeeded"
        record = site.store.get(job.id)
        assert record.step == 20
        segments = site.store.segments(job.id)
        assert segments[0].last_step == 20
        assert read_results(site.artifacts.attempt_dir(job.id, 2)).properties["energy"] == record.scalars["energy"]
        assert "begin" not in [event.kind for event in site.store.events(job.id)]


@contextmanager
def running(site: Services, job: JobRecord) -> Iterator[Future[str]]:
    """Run the job's first attempt in a thread while the block lasts; wait for its end."""
    # The nursery ends with the thread that it was forked from.
    retire()
    with ThreadPoolExecutor(max_workers=1) as pool:
        run = pool.submit(run_job, job.id, 1)
        until(lambda: site.store.get(job.id).status is Status.RUNNING or run.done())
        yield run
        run.exception(60)
        pool.submit(retire).result()


def pause_for(seconds: float, site: Services, job: JobRecord) -> None:
    """Have the run of a job stand still for so long."""
    site.store.pause(job.id)
    until(lambda: "stopped" in states(site, job))
    begun = time.monotonic()
    until(lambda: time.monotonic() - begun > seconds)
    site.store.resume(job.id)


def states(site: Services, job: JobRecord) -> list[str]:
    """Return the states of the processes that work in the job's directory."""
    place = str(site.artifacts.attempt_dir(job.id, 1) / "work")
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.cwd() == place:
                found.append(process.status())
    return found


@contextmanager
def locked(site: Services) -> Iterator[None]:
    """Keep everybody from writing into the store."""
    path = site.settings.store_url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
