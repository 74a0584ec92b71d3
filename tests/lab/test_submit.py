"""A job from the cell to its results, through a real worker."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from nanoos_lab.core.errors import (
    InputError,
    JobCancelledError,
    JobError,
    JobFailedError,
    JobNotFoundError,
    ParameterError,
    StructureError,
    TransitionError,
    UnknownNameError,
)
from nanoos_lab.core.status import Status
from nanoos_lab.lab.lab import Lab
from nanoos_lab.store.results import read_results
from tests.waiting import quickest, until

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from nanoos_lab.lab.job import Job

T = TypeVar("T")

COPPER = bulk("Cu", cubic=True)


def md(lab: Lab, **parameters):
    wanted = {"engine": "mock", "task": "md", "steps": 100, "every": 10, **parameters}
    return lab.submit(COPPER, **wanted)


def test_a_job_gives_thermo_trajectory_results_and_structure(lab: Lab) -> None:
    job = md(lab, name="first").wait(60)

    assert job.status == "succeeded"
    assert job.progress == 1.0
    assert (job.record.step, job.record.total) == (100, 100)
    assert job.thermo.index.tolist() == list(range(0, 101, 10))
    assert job.thermo.attrs["units"]["temperature"] == "K"
    assert len(job.trajectory) == 11
    assert job.trajectory.positions.shape == (11, 4, 3)
    assert job.trajectory[-1].get_chemical_formula() == "Cu4"
    assert np.isfinite(job.results["energy"])
    assert job.structure.get_chemical_formula() == "Cu4"
    assert job.name == "first"
    assert job.result()["energy"] == job.results["energy"]
    assert job.exception() is None


def test_results_are_read_once_with_their_units(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    job = md(lab).wait(60)
    read: list[object] = []
    monkeypatch.setattr("nanoos_lab.lab.job.read_results", lambda place: read.append(place) or read_results(place))
    assert job.results.units["energy"] == "eV"
    assert len(read) == 1


def test_the_default_lab_and_a_second_process_see_the_same_job(lab: Lab) -> None:
    job = md(lab)
    with Lab(lab.settings) as other:
        assert other.load(job.id).wait(60).status == "succeeded"
        assert job.id in other.jobs(engine="mock").index


def in_a_loop(what: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread of its own: a browser of other tests keeps the main thread's event loop running."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, what).result(60)


async def ended(job: Job) -> Job:
    return await job


def test_awaiting_a_job_leaves_the_event_loop_free(lab: Lab) -> None:
    async def both() -> Job:
        job = md(lab, duration=600.0)
        waiting = asyncio.ensure_future(ended(job))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        # Nobody ends the job but what else runs in the loop.
        assert job.cancel()
        assert (await waiting).done()
        # Once more, now that it has ended.
        return await (await waiting)

    assert in_a_loop(both()).cancelled()


def test_whoever_awaits_a_job_may_give_up_and_the_job_goes_on(lab: Lab) -> None:
    job = md(lab, duration=20.0)
    with pytest.raises(TimeoutError):
        in_a_loop(asyncio.wait_for(ended(job), 0.2))
    assert not job.done()
    job.cancel()


def test_however_many_jobs_are_awaited_they_hold_no_thread(lab: Lab) -> None:
    later = datetime.now(UTC) + timedelta(days=30)
    jobs = [md(lab, not_before=later) for _ in range(40)]

    async def all_of_them() -> list[Job]:
        waiting = [asyncio.ensure_future(ended(job)) for job in jobs]
        await asyncio.to_thread(until, lambda: len(lab.watch.by_job()) == len(jobs))
        assert lab.cancel_many(job.id for job in jobs) == len(jobs)
        return await asyncio.gather(*waiting)

    assert in_a_loop(all_of_them()) == jobs
    assert lab.watch.by_job() == {}


def test_a_lab_that_is_closed_leaves_nobody_waiting(lab: Lab) -> None:
    job = md(lab, duration=60.0)
    with Lab(lab.settings) as other, ThreadPoolExecutor(2) as threads:
        mine = other.load(job.id)
        waiting = [threads.submit(mine.wait), threads.submit(asyncio.run, ended(mine))]
        until(lambda: [len(heard) for heard in other.watch.by_job().values()] == [2])
        other.close()
        for one in waiting:
            with pytest.raises(JobError, match="closed"):
                one.result(90)
    assert not job.done()
    job.cancel()


def test_waiting_too_short_raises_and_the_job_goes_on(lab: Lab) -> None:
    job = md(lab, duration=2.0)
    with pytest.raises(TimeoutError, match="goes on"):
        job.wait(0.05)
    assert job.wait(60).status == "succeeded"
    assert job.wait(0) is job
    assert job.exception(0) is None


def test_a_running_job_is_cancelled_within_seconds_and_keeps_what_it_has(lab: Lab) -> None:
    def seconds() -> float:
        job = md(lab, duration=600.0)
        until(lambda: len(job.trajectory) > 0)
        asked = time.monotonic()
        assert job.cancel() is True
        job.wait(90)
        took = time.monotonic() - asked
        assert job.status == "cancelled"
        assert len(job.thermo) >= 1
        with pytest.raises(JobCancelledError):
            job.result()
        assert job.cancel() is True
        return took

    assert quickest(seconds, limit=5.0) < 5.0


def test_a_failing_engine_says_what_why_and_what_next(lab: Lab) -> None:
    job = md(lab, fail_at=50)
    with pytest.raises(JobFailedError) as caught:
        job.result(60)
    assert caught.value.reason == job.record.reason
    assert str(job.record.failure.message) in str(caught.value)
    assert job.record.step <= 50


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"engine": "lamps"}, UnknownNameError, "'lammps'"),
        ({"engine": ["mock"]}, UnknownNameError, "'mock'"),
        ({"task": ["md"]}, UnknownNameError, "'md'"),
        ({"task": {}}, UnknownNameError, "Allowed: md"),
        ({"steps": True}, ParameterError, "an integer"),
        ({"queue": np.array(["default", "simulations"])}, UnknownNameError, "Allowed: default"),
        ({"after_failure": ["cancel"]}, UnknownNameError, "Allowed: cancel"),
        ({"priority": np.arange(3)}, ParameterError, "from 0"),
        ({"limits": {"hard": 10**400}}, ParameterError, "≤ 1,000,000,000 s"),
        ({"retries": {"delay": 1e300}}, ParameterError, "≤ 1,000,000,000 s"),
        ({"after": b"relax"}, ParameterError, "b'relax'"),
        ({"after": "\ud800"}, JobNotFoundError, "no job"),
        ({"after": "a\0b"}, JobNotFoundError, "no job"),
        ({"not_before": datetime(2, 1, 1, tzinfo=UTC)}, ParameterError, "of this era"),
        ({"task": "mdd"}, UnknownNameError, "'md'"),
        ({"step": 10}, UnknownNameError, "'steps'"),
        ({"queue": "simulation"}, UnknownNameError, "'simulations'"),
        ({"steps": -1}, ParameterError, "≥ 0"),
        ({"temperature": -3.0}, ParameterError, "≥ 0"),
        ({"priority": 21}, ParameterError, "20"),
        ({"resources": {"rank": 2}}, UnknownNameError, "'ranks'"),
        ({"priority": -1}, ParameterError, "from 0"),
        ({"limits": {"soft": 20, "hard": 10}}, ParameterError, r"limits\.hard = 10 s"),
        ({"limits": {"hard": 0}}, ParameterError, "> 0 s"),
        ({"limits": {"softer": 1}}, UnknownNameError, "'soft'"),
        ({"limits": 60}, ParameterError, "a Limits or a mapping"),
        ({"retries": {"delay": -1}}, ParameterError, "≥ 0 s"),
        ({"retries": 0}, ParameterError, "from 1"),
        ({"not_before": "tomorrow"}, ParameterError, "a datetime"),
        ({"not_before": 60}, ParameterError, "a datetime"),
        ({"not_before": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))}, ParameterError, "of this era"),
        ({"after": "0" * 32}, JobNotFoundError, "no job"),
        ({"after": "relax"}, JobNotFoundError, "no job 'relax'"),
        ({"after": 7}, ParameterError, "a job, its id"),
        ({"after": None}, ParameterError, "a job, its id"),
        ({"after": [COPPER]}, ParameterError, "a job, its id"),
        ({"after_failure": "go on"}, UnknownNameError, "cancel, run"),
        ({"cache": "no"}, ParameterError, "True or False"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed_and_nothing_is_left(lab: Lab, change, error, says) -> None:
    before = lab.services.store.count()
    with pytest.raises(error, match=says):
        md(lab, **change)
    assert lab.services.store.count() == before


@pytest.mark.parametrize(
    ("structure", "says"),
    [
        (Atoms(), "no atoms"),
        (Atoms("Cu", positions=[[float("nan"), 0, 0]]), "atom 0"),
        (Atoms("Cu", pbc=True), "no volume"),
        (Atoms("Cu", positions=[[1e7, 0, 0]]), "atom 0 is farther"),
        (Atoms("Cu", cell=[1e200] * 3, pbc=True), "a cell vector is longer"),
        ("POSCAR", "ase.Atoms"),
        (None, "needs a structure"),
    ],
)
def test_a_structure_that_no_engine_can_run_is_refused(lab: Lab, structure, says: str) -> None:
    before = lab.services.store.count()
    with pytest.raises((StructureError, InputError), match=says):
        lab.submit(structure, engine="mock", task="md", steps=1)
    assert lab.services.store.count() == before


def test_numpys_integers_are_integers(lab: Lab) -> None:
    job = md(lab, priority=np.int64(7), retries=np.int8(2), resources={"ranks": np.int32(1)})
    assert (job.record.priority, job.record.max_attempts) == (7, 2)


@pytest.mark.parametrize("unknown", ["0" * 32, "", 3, None])
def test_an_unknown_id_is_said_in_words(lab: Lab, unknown: Any) -> None:
    with pytest.raises(JobNotFoundError, match="no job"):
        lab.load(unknown)


def test_a_job_that_has_not_failed_is_not_tried_again(lab: Lab) -> None:
    waiting = md(lab, not_before=datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(TransitionError, match="is pending; only a failed one"):
        waiting.retry()
    assert waiting.cancel()
    with pytest.raises(TransitionError, match="is cancelled; only a failed one"):
        waiting.retry()
    with pytest.raises(ParameterError, match="limits"):
        waiting.retry(limits={"soft": -1})
    with pytest.raises(JobNotFoundError, match="no job"):
        lab.retry("0" * 32)


def test_a_cancel_of_an_unknown_job_is_an_error_and_of_an_ended_one_changes_nothing(lab: Lab) -> None:
    with pytest.raises(JobNotFoundError, match="no job"):
        lab.cancel("0" * 32)
    job = md(lab).wait(60)
    assert job.cancel() is False
    assert job.status == "succeeded"


def test_a_failed_job_is_tried_again_with_other_limits(lab: Lab) -> None:
    job = md(lab, duration=2.0, limits={"hard": 0.5})
    assert job.exception(60).reason == "time_limit"
    job.retry(limits={"hard": 60})
    assert job.wait(60).status == "succeeded"
    assert [attempt.outcome for attempt in job.attempts] == ["failed", "succeeded"]


def test_a_job_does_not_start_before_its_time(lab: Lab) -> None:
    due = datetime.now(UTC) + timedelta(seconds=2.5)
    job = md(lab, not_before=due)
    assert job.status == "pending"
    assert job.wait(60).status == "succeeded"
    assert job.record.started >= due


@pytest.mark.parametrize("timeout", ["x", "10", True, float("nan"), 1j, [1]])
def test_a_timeout_is_a_number_also_of_a_job_that_has_ended(lab: Lab, timeout: Any) -> None:
    job = md(lab).wait(60)
    for wait in (job.wait, job.result, job.exception):
        with pytest.raises(ParameterError, match=r"timeout=.* is not allowed: a number of seconds, or None"):
            wait(timeout)


def test_a_timeout_may_be_past_or_without_end(lab: Lab) -> None:
    job = md(lab, duration=0.2)
    with pytest.raises(TimeoutError, match="has not ended within -5 s"):
        md(lab, not_before=datetime.now(UTC) + timedelta(days=1), name="later").wait(-5)
    assert job.wait(float("inf")).status == md(lab).wait(np.int64(60)).status == "succeeded"
    lab.cancel_many(lab.jobs(name="later").index)


def test_a_time_without_a_zone_is_the_users_own(lab: Lab) -> None:
    due = datetime.now(UTC) + timedelta(days=1)
    job = md(lab, not_before=due.astimezone().replace(tzinfo=None))
    assert abs(job.record.run_after - due) < timedelta(seconds=1)
    assert job.cancel()


def test_a_short_hard_limit_takes_the_labs_soft_limit_along(lab: Lab) -> None:
    with Lab(lab.settings.model_copy(update={"soft_limit": 3300.0, "hard_limit": 3600.0})) as limited:
        jobs = [md(limited, not_before=datetime.now(UTC) + timedelta(days=1), limits=given) for given in LIMITS]
        kept = [limited.services.store.assignment(job.id).limits for job in jobs]
        assert [(one.soft, one.hard) for one in kept] == [(3300, 3600), (60, 60), (3300, 7200), (10, 3600)]
        for job in jobs:
            job.cancel()


#: What a user gives where the lab has 55 and 60 minutes.
LIMITS = (None, {"hard": 60}, {"hard": 7200}, {"soft": 10})


def test_equal_requests_have_equal_keys_whatever_their_delivery(lab: Lab) -> None:
    first, second, third = md(lab), md(lab, priority=20, name="again"), md(lab, seed=7)
    assert first.request.key == second.request.key
    assert first.request.key != third.request.key
    for job in (first, second, third):
        assert job.wait(60).status is Status.SUCCEEDED


def test_the_table_of_jobs_filters_and_shows_results(lab: Lab) -> None:
    job = md(lab, name="in the table").wait(60)
    table = lab.jobs(name="in the table", status="succeeded", results=["energy"])
    assert table.index.tolist() == [job.id]
    assert table.loc[job.id, "formula"] == "Cu4"
    assert table.loc[job.id, "progress"] == 1.0
    assert table.loc[job.id, "energy"] == job.results["energy"]
    assert str(table["created"].dt.tz) == "UTC"
    with pytest.raises(UnknownNameError, match="'succeeded'"):
        lab.jobs(status="suceeded")
    for wrong in ({"status": ["failed", 5]}, {"status": 5}, {"queue": ["default"]}):
        with pytest.raises(UnknownNameError, match="Allowed: "):
            lab.jobs(**wrong)


@pytest.mark.parametrize("limit", [-1, 1.5, "10", True, 10**30])
def test_a_limit_of_the_table_of_jobs_is_a_number_of_rows(lab: Lab, limit: object) -> None:
    with pytest.raises(ParameterError, match=r"limit=.* is not allowed: an integer from 0 to .*, or None for all"):
        lab.jobs(limit=limit)
    first, second = md(lab, name="limited", steps=10), md(lab, name="limited", steps=20)
    assert [len(lab.jobs(name="limited", limit=rows)) for rows in (0, np.int64(1))] == [0, 1]
    for job in (first, second):
        job.wait(60)


def test_a_job_that_is_to_repeat_is_told_of_schedules(lab: Lab) -> None:
    with pytest.raises(InputError, match=r"nanoos_lab\.schedule"):
        lab.submit(bulk("Cu"), engine="mock", task="md", steps=10, repeat=60)


def test_a_failure_that_the_engine_knows_a_way_around_is_corrected(lab: Lab) -> None:
    bad = {"engine": "mock", "task": "md", "steps": 20, "every": 5, "fail_at": 10, "fail_reason": "convergence"}
    job = lab.submit(bulk("Cu"), **bad, needed_corrections=2, retries=1).wait(60)
    assert job.status == "succeeded"
    assert [attempt.outcome for attempt in job.attempts] == ["corrected", "corrected", "succeeded"]
    assert job.attempts[0].correction.changes == {"needed_corrections": 1}
    assert job.attempts[-1].provenance["corrected"] == {"needed_corrections": 1, "fail_at": None}
    assert job.request.parameters["fail_at"] == 10
    # It is the request that was submitted, without what was corrected.
    assert job.provenance["request"]["key"] == job.request.key
    assert job.provenance["request"]["parameters"] == job.request.parameters
    # Each began at step 0; what the earlier ones wrote does not count.
    assert job.thermo.index.tolist() == [0, 5, 10, 15, 20]

    plain = lab.submit(bulk("Cu"), **bad, needed_corrections=1, corrections=False).wait(60)
    assert (plain.status, plain.record.reason, len(plain.attempts)) == ("failed", "convergence", 1)
    many = lab.submit(bulk("Cu"), **bad, needed_corrections=9).wait(60)
    assert (many.status, many.record.reason, len(many.attempts)) == ("failed", "convergence", 6)
