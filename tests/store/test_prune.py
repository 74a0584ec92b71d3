"""Ended jobs are deleted with their files and nothing else's, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk
from sqlalchemy import select, text, update

import nanoos_lab.store.submit as submit_module
from nanoos_lab.core.errors import InputError, JobNotFoundError, ParameterError, StoreError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.record import Failure
from nanoos_lab.core.request import Dependency
from nanoos_lab.core.schedule import Repeat
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.core.structures import Structure
from nanoos_lab.store import (
    Artifacts,
    JobQuery,
    SegmentWriter,
    Store,
    TrajectoryReader,
    read_results,
    read_thermo,
    write_results,
)
from nanoos_lab.store.prune import Choice, Pruner
from nanoos_lab.store.schedules import Schedules
from nanoos_lab.store.schema import clock, jobs, structures
from tests.store.samples import HOLDER, head, sample, submission
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.core.request import FileRef, Submission
    from nanoos_lab.store.work import Work

DAY = 86_400.0
MONTH = Choice(older_than=30 * DAY)
BROKEN = Failure(reason=Reason.ENGINE, message="ERROR: Lost atoms")


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


@pytest.fixture
def pruner(store: Store, artifacts: Artifacts) -> Pruner:
    return Pruner(store, artifacts)


@pytest.fixture
def potential(artifacts: Artifacts, tmp_path: Path) -> FileRef:
    """An input file that was put two days ago."""
    path = tmp_path / "Cu.eam"
    path.write_bytes(b"rho and F")
    ref = artifacts.put(path)
    age(artifacts.path(ref), 2 * DAY)
    return ref


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def with_file(wanted: Submission, ref: FileRef) -> Submission:
    return replace(wanted, request=replace(wanted.request, files={"potential": ref}))


def succeed(store: Store, artifacts: Artifacts, job: JobRecord) -> JobRecord:
    """Let a job be run to its end, with thermo, two frames, results and a working directory."""
    store.claim(job.id, job.attempt, HOLDER)
    directory = artifacts.attempt_dir(job.id, job.attempt)
    writer = SegmentWriter(directory, head())
    for step in (0, 10):
        writer.append(sample(step))
    writer.close()
    write_results(directory, Results(properties={"energy": -3.5}, structure=Structure.encode(bulk("Cu"))))
    (directory / "work").mkdir()
    (directory / "work" / "dump").write_bytes(b"x" * 1000)
    assert store.succeed(job.id, job.attempt, step=10, scalars={"energy": -3.5}, provenance={})
    return store.get(job.id)


def make_old(store: Store, *ended: JobRecord, days: float = 40) -> None:
    """Let jobs have ended so many days ago."""
    with store._writing() as work:
        wanted = [job.id for job in ended]
        work.query(update(jobs).where(jobs.c.id.in_(wanted)).values(ended=clock(-days * DAY)))


@pytest.fixture
def old(store: Store, artifacts: Artifacts) -> JobRecord:
    """A job that succeeded 40 days ago."""
    job = succeed(store, artifacts, store.add([submission("old")])[0])
    make_old(store, job)
    return store.get(job.id)


def prune(pruner: Pruner, choice: Choice = MONTH) -> list[str]:
    """Prune, and return the names of the jobs that have gone."""
    return sorted(job.record.name for job in pruner.carry_out(pruner.plan(choice)).jobs)


def names(store: Store) -> list[str]:
    return sorted(job.name for job in store.find(JobQuery()))


def count_structures(store: Store) -> int:
    with store._reading() as work:
        return len(work.query(select(structures.c.digest)))


class TestWhatGoes:
    def test_an_old_job_goes_with_all_that_is_its_own_and_nothing_else(
        self, store: Store, artifacts: Artifacts, pruner: Pruner, old: JobRecord
    ) -> None:
        young = succeed(store, artifacts, store.add([submission("young")])[0])

        assert prune(pruner) == ["old"]

        assert names(store) == ["young"]
        assert (store.events(old.id), store.attempts(old.id), artifacts.attempt_dirs(old.id)) == ([], [], [])
        assert read_results(artifacts.attempt_dir(young.id, 1)).properties == {"energy": -3.5}
        assert [event.text for event in store.events(young.id)] == ["queued", "running on worker-1", "succeeded"]
        assert store.request(young.id).structure == submission().request.structure

    def test_a_plan_changes_nothing_and_tells_the_bytes(
        self, store: Store, artifacts: Artifacts, pruner: Pruner, old: JobRecord
    ) -> None:
        size = sum(path.stat().st_size for path in artifacts.root.rglob("*") if path.is_file())
        plan = pruner.plan(MONTH)
        assert [(job.record, job.size) for job in plan.jobs] == [(old, size)]
        assert (names(store), len(artifacts.attempt_dirs(old.id))) == (["old"], 1)
        assert pruner.carry_out(plan).size == size

    def test_what_waits_or_runs_stays(self, store: Store, pruner: Pruner) -> None:
        queued, running, paused = store.add([submission(name) for name in ("queued", "running", "paused")])
        store.claim(running.id, 1, HOLDER)
        store.pause(paused.id)
        make_old(store, queued, running, paused)
        assert prune(pruner) == []
        assert names(store) == ["paused", "queued", "running"]

    def test_a_status_can_be_chosen(self, store: Store, artifacts: Artifacts, pruner: Pruner, old: JobRecord) -> None:
        failed, cancelled = store.add([submission("failed"), submission("cancelled")])
        store.claim(failed.id, 1, HOLDER)
        store.fail(failed.id, 1, BROKEN)
        store.cancel(cancelled.id)
        make_old(store, failed, cancelled)
        assert prune(pruner, replace(MONTH, statuses=(Status.FAILED, Status.CANCELLED))) == ["cancelled", "failed"]
        assert names(store) == ["old"]

    def test_only_an_end_can_be_chosen(self) -> None:
        with pytest.raises(ParameterError, match="succeeded, failed, cancelled"):
            Choice(statuses=(Status.RUNNING,))
        for wrong in (-1.0, float("nan"), 1e11):
            with pytest.raises(ParameterError, match="older_than"):
                Choice(older_than=wrong)

    def test_many_go_at_once(self, store: Store, artifacts: Artifacts, pruner: Pruner) -> None:
        added = store.add([submission(f"job {number:03}") for number in range(450)])
        for job in added:
            store.cancel(job.id)
        assert len(prune(pruner, Choice())) == 450
        assert (names(store), count_structures(store)) == ([], 0)

    def test_jobs_can_be_named(self, store: Store, artifacts: Artifacts, pruner: Pruner) -> None:
        first, second = store.add([submission("first"), submission("second")])
        for job in (first, second):
            succeed(store, artifacts, job)
        assert prune(pruner, Choice(ids=(first.id,))) == ["first"]
        assert names(store) == ["second"]

    def test_of_named_jobs_none_goes_if_one_cannot(self, store: Store, pruner: Pruner, old: JobRecord) -> None:
        (running,) = store.add([submission("running")])
        store.claim(running.id, 1, HOLDER)
        with pytest.raises(InputError, match="is running"):
            pruner.plan(Choice(ids=(old.id, running.id)))
        with pytest.raises(JobNotFoundError):
            pruner.plan(Choice(ids=(old.id, "f" * 32)))


class TestWhatOthersNeed:
    def test_a_job_stays_as_long_as_one_that_depends_on_it(
        self, store: Store, artifacts: Artifacts, pruner: Pruner, old: JobRecord
    ) -> None:
        (child,) = store.add([submission("child", after=(Dependency(parent=old.id),))])
        assert pruner.plan(MONTH).kept == {old.id: child.id}
        assert prune(pruner) == []
        with pytest.raises(InputError, match=child.id):
            pruner.plan(Choice(ids=(old.id,)))

        make_old(store, succeed(store, artifacts, child))
        assert prune(pruner) == ["child", "old"]

    def test_a_job_stays_as_long_as_an_equal_one_shows_its_results(
        self, store: Store, artifacts: Artifacts, pruner: Pruner, old: JobRecord
    ) -> None:
        (equal,) = store.add([submission("equal", cache=True)])
        assert equal.cached_from == old.id
        assert prune(pruner) == []
        assert prune(pruner, replace(MONTH, keep_results=True)) == []
        assert len(TrajectoryReader(artifacts.attempt_dir(old.id, 1))) == 2

        make_old(store, equal)
        assert prune(pruner) == ["equal", "old"]

    def test_a_whole_workflow_goes_in_one_go_in_whatever_order(self, store: Store, pruner: Pruner) -> None:
        places = [(1,), (), (0,), (2, 0)]
        wanted = [
            submission(f"{place}", after=tuple(Dependency(parent=one) for one in parents))
            for place, parents in enumerate(places)
        ]
        for job in store.add(wanted):
            store.cancel(job.id)
        assert prune(pruner, Choice()) == ["0", "1", "2", "3"]

    def test_who_asks_for_equal_results_while_they_go_gets_them_or_runs(
        self, store: Store, artifacts: Artifacts
    ) -> None:
        for number in range(20):
            parameters = {"steps": number}
            job = succeed(store, artifacts, store.add([submission(parameters=parameters)])[0])
            gate = threading.Barrier(2)

            def ask(gate: threading.Barrier = gate, parameters: dict[str, int] = parameters) -> JobRecord:
                gate.wait()
                return store.add([submission("asked", parameters=parameters, cache=True)])[0]

            def delete(gate: threading.Barrier = gate, job_id: str = job.id) -> None:
                pruner = Pruner(store, artifacts)
                plan = pruner.plan(Choice(ids=(job_id,)))
                gate.wait()
                pruner.carry_out(plan)

            with ThreadPoolExecutor(2) as pool:
                answer, deleted = pool.submit(ask), pool.submit(delete)
                asked = answer.result()
                deleted.result()
            if asked.cached_from is not None:
                holder = store.holder(asked.id)
                assert read_results(artifacts.attempt_dir(holder.id, 1)).properties == {"energy": -3.5}
            else:
                assert asked.status is Status.QUEUED
            assert store.request(asked.id).structure == submission().request.structure


class TestInputFiles:
    def test_a_file_that_two_jobs_name_survives_one_of_them(
        self, store: Store, artifacts: Artifacts, pruner: Pruner, potential: FileRef
    ) -> None:
        first, second = store.add([with_file(submission(name), potential) for name in ("first", "second")])
        store.cancel(first.id)
        assert prune(pruner, Choice()) == ["first"]
        assert artifacts.path(potential).read_bytes() == b"rho and F"

        store.cancel(second.id)
        plan = pruner.plan(Choice())
        assert pruner.carry_out(plan).size == len(b"rho and F")
        assert [path for path in artifacts.root.rglob("*") if path.is_file()] == []

    def test_a_file_that_a_schedule_names_stays_until_that_is_removed(
        self, store: Store, artifacts: Artifacts, pruner: Pruner, potential: FileRef
    ) -> None:
        wanted = with_file(submission(), potential)
        record = Schedules(store).add(wanted, Repeat(interval=3600.0))
        store.cancel(store.add([wanted])[0].id)
        prune(pruner, Choice())
        assert artifacts.path(potential).exists()
        assert count_structures(store) == 1

        assert pruner.remove_schedule(record.id)
        assert artifacts.file_size(potential.sha256) == 0
        assert count_structures(store) == 0

    def test_a_file_that_was_just_put_stays_for_a_day_since_a_job_that_names_it_may_be_on_its_way(
        self, store: Store, artifacts: Artifacts, pruner: Pruner, potential: FileRef, tmp_path: Path
    ) -> None:
        store.cancel(store.add([with_file(submission(), potential)])[0].id)
        artifacts.put(tmp_path / "Cu.eam")
        assert prune(pruner, Choice()) == ["copper"]
        assert artifacts.path(potential).exists()

        age(artifacts.path(potential), 2 * DAY)
        assert prune(pruner, Choice()) == []
        assert artifacts.file_size(potential.sha256) == 0

    def test_a_file_that_no_job_has_named_is_not_ours_to_delete(
        self, artifacts: Artifacts, pruner: Pruner, old: JobRecord, potential: FileRef
    ) -> None:
        stranger = artifacts.attempt_dir("0" * 32, 1)
        assert prune(pruner) == ["old"]
        assert artifacts.path(potential).exists()
        assert stranger.exists()

    def test_a_structure_that_somebody_submits_with_at_this_moment_stays(
        self, emptied_postgres_url: str, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = Store(emptied_postgres_url)
        store.cancel(store.add([submission()])[0].id)
        pruner = Pruner(store, artifacts)
        plan = pruner.plan(Choice())
        look_for_structures = submit_module._insert_structures

        with ThreadPoolExecutor(1) as pool:

            def linger(work: Work, wanted: list[Structure | None]) -> None:
                # It is there, so that nothing is added; the job that names it comes next.
                look_for_structures(work, wanted)
                pruned = pool.submit(pruner.carry_out, plan)
                until(lambda: pruned.done() or waits_for_a_lock(store))

            monkeypatch.setattr(submit_module, "_insert_structures", linger)
            (job,) = store.add([submission()])
        assert store.request(job.id).structure == submission().request.structure
        assert names(store) == ["copper"]


def waits_for_a_lock(store: Store) -> bool:
    with store._reading() as work:
        return bool(work.query(text("SELECT 1 FROM pg_locks WHERE NOT granted")))


class TestCrashes:
    def test_what_a_crash_has_left_of_a_job_goes_with_the_next_prune(
        self, store: Store, artifacts: Artifacts, old: JobRecord
    ) -> None:
        class Killed(Artifacts):
            def remove_job(self, job_id: str) -> None:
                raise KeyboardInterrupt

        killed = Pruner(store, Killed(artifacts.root))
        with pytest.raises(KeyboardInterrupt):
            killed.carry_out(killed.plan(MONTH))
        assert names(store) == []
        assert len(artifacts.attempt_dirs(old.id)) == 1

        assert prune(Pruner(store, artifacts)) == []
        assert [path for path in artifacts.root.rglob("*") if path.is_file()] == []

    def test_a_crash_before_the_rows_go_leaves_the_job_whole(
        self, store: Store, artifacts: Artifacts, old: JobRecord
    ) -> None:
        Pruner(store, artifacts)._note([old.id], [])
        (note,) = (artifacts.root / "pruning").iterdir()

        Pruner(store, artifacts).finish()
        assert note.exists()
        age(note, 3600)
        Pruner(store, artifacts).finish()

        assert not note.exists()
        assert read_results(artifacts.attempt_dir(old.id, 1)).properties == {"energy": -3.5}
        assert names(store) == ["old"]

    def test_links_are_deleted_and_not_what_they_lead_to(
        self, artifacts: Artifacts, pruner: Pruner, old: JobRecord, tmp_path: Path
    ) -> None:
        kept = tmp_path / "kept"
        kept.mkdir()
        (kept / "mine").touch()
        (artifacts.attempt_dir(old.id, 1) / "work" / "link").symlink_to(kept)
        (artifacts.attempt_dir(old.id, 1) / "work" / "file").symlink_to(kept / "mine")
        assert prune(pruner) == ["old"]
        assert artifacts.attempt_dirs(old.id) == []
        assert (kept / "mine").exists()

    def test_a_directory_that_is_a_link_out_of_the_artifacts_is_not_entered(
        self, artifacts: Artifacts, old: JobRecord, tmp_path: Path
    ) -> None:
        shelf = artifacts.attempt_dir(old.id, 1).parents[1]
        shelf.rename(tmp_path / "elsewhere")
        shelf.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(StoreError, match="leads out of"):
            artifacts.remove_job(old.id)
        with pytest.raises(StoreError, match="leads out of"):
            artifacts.strip_job(old.id, ())
        assert (tmp_path / "elsewhere" / old.id / "1" / "results.json").exists()

    def test_what_a_program_has_made_read_only_goes_too(
        self, artifacts: Artifacts, pruner: Pruner, old: JobRecord
    ) -> None:
        work = artifacts.attempt_dir(old.id, 1) / "work"
        (work / "deep" / "deeper").mkdir(parents=True)
        (work / "deep" / "deeper" / "file").touch()
        (work / "deep" / "deeper").chmod(0o500)
        (work / "deep").chmod(0o000)
        assert prune(pruner) == ["old"]
        assert artifacts.attempt_dirs(old.id) == []


class TestKeepingResults:
    def test_results_and_thermo_stay_and_the_bulk_goes(
        self, store: Store, artifacts: Artifacts, pruner: Pruner, old: JobRecord
    ) -> None:
        assert prune(pruner, replace(MONTH, keep_results=True)) == ["old"]

        directory = artifacts.attempt_dir(old.id, 1)
        assert read_results(directory).structure == Structure.encode(bulk("Cu"))
        assert list(read_thermo(directory).steps) == [0, 10]
        assert len(TrajectoryReader(directory)) == 0
        assert not (directory / "work").exists()
        assert store.events(old.id)[-1].text == "frames, log and working files were deleted"
        assert store.get(old.id) == old

    def test_the_next_prune_finds_nothing_more(self, store: Store, pruner: Pruner, old: JobRecord) -> None:
        choice = replace(MONTH, keep_results=True)
        prune(pruner, choice)
        before = store.events(old.id)
        assert prune(pruner, choice) == []
        assert store.events(old.id) == before

    def test_a_job_without_results_goes_whole(self, store: Store, pruner: Pruner) -> None:
        (job,) = store.add([submission("failed")])
        store.claim(job.id, 1, HOLDER)
        store.fail(job.id, 1, BROKEN)
        assert prune(pruner, Choice(keep_results=True)) == ["failed"]
        assert names(store) == []
