"""What every store must keep of jobs whose parameters are changed on their way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from nanoos_lab.core.errors import JobNotFoundError, TransitionError
from nanoos_lab.core.record import Failure, Usage
from nanoos_lab.core.request import Dependency, StructureOf
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.store import Orders
from tests.store.samples import HOLDER, submission

if TYPE_CHECKING:
    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.store import Store

HOT, COLD = {"temperature": 900.0}, {"temperature": 300.0, "temperature_end": None}
LOST = Failure(reason=Reason.LOST, message="the worker is gone")


def add(store: Store, **changes: object) -> JobRecord:
    """Add a job for which the results of an equal one will do."""
    return store.add([submission(**{"cache": True, **changes})])[0]


def beginning_with(store: Store, parent: JobRecord) -> JobRecord:
    """Add a job that begins with the final structure of another."""
    wanted = submission(cache=True, after=(Dependency(parent=parent.id, after_failure="cancel"),))
    origin = StructureOf(job_id=parent.id, key=parent.key)
    request = type(wanted.request)(
        structure=None, engine="mock", task="md", parameters={"steps": 5}, structure_of=origin
    )
    return store.add([type(wanted)(request=request, name="after", cache=True, after=wanted.after)])[0]


def run(store: Store, record: JobRecord) -> JobRecord:
    claimed = store.claim(record.id, store.get(record.id).attempt, HOLDER)
    assert claimed is not None
    return claimed


def succeed(store: Store, record: JobRecord) -> None:
    assert store.succeed(record.id, store.get(record.id).attempt, step=10, scalars={"energy": 1.0}, provenance={})


def beat(store: Store, record: JobRecord, *, known: int = 0, step: int = 1) -> Orders:
    return store.beat(record.id, store.get(record.id).attempt, step=step, total=None, known=known)


def test_a_job_that_was_not_steered_has_no_steerings(store: Store) -> None:
    record = run(store, add(store))
    assert store.steerings(record.id) == ()
    assert store.assignment(record.id).steerings == ()
    assert (record.steerings, record.varied) == (0, False)
    assert beat(store, record) == Orders(current=True, cancel=False)


def test_steerings_are_kept_in_order_with_who_and_when(store: Store) -> None:
    record = run(store, add(store))
    after, number = store.steer(record.id, HOT, who="ada@node7")
    assert (number, after.steerings, after.varied, after.status) == (1, 1, True, Status.RUNNING)
    assert store.steer(record.id, COLD)[1] == 2
    first, second = store.steerings(record.id)
    assert (first.number, first.changes, first.who, first.step, first.attempt) == (1, HOT, "ada@node7", None, None)
    assert (second.number, second.changes, second.who) == (2, COLD, "")
    assert first.asked is not None
    assert abs(datetime.now(UTC) - first.asked) < timedelta(seconds=30)
    assert store.assignment(record.id).steerings == (first, second)
    assert [event.text for event in store.events(record.id) if event.kind == "steering"] == [
        "1 was asked for: temperature=900.0",
        "2 was asked for: temperature=300.0, temperature_end=None",
    ]


def test_a_beat_tells_a_run_of_the_steerings_that_it_does_not_know(store: Store) -> None:
    record = run(store, add(store))
    store.steer(record.id, HOT)
    (first,) = beat(store, record).steerings
    assert first.changes == HOT
    assert beat(store, record, known=1).steerings == ()
    store.steer(record.id, COLD)
    assert [one.number for one in beat(store, record, known=1).steerings] == [2]
    assert [one.number for one in beat(store, record).steerings] == [1, 2]


def test_the_step_at_which_one_was_applied_stays(store: Store) -> None:
    record = run(store, add(store))
    for changes in (HOT, COLD):
        store.steer(record.id, changes)
    assert store.steered(record.id, 1, {1: 40})
    store.lose(record.id, 1, "its worker is gone", counts=False)
    run(store, record)
    assert store.steered(record.id, 2, {1: 60, 2: 80})
    assert [(one.step, one.attempt) for one in store.steerings(record.id)] == [(40, 1), (80, 2)]
    assert [event.text for event in store.events(record.id) if "applied" in event.text] == [
        "1 was applied at step 40",
        "2 was applied at step 80",
    ]


def test_a_stale_attempt_applies_nothing(store: Store) -> None:
    record = run(store, add(store))
    store.steer(record.id, HOT)
    store.lose(record.id, 1, "its worker is gone", counts=False)
    assert not store.steered(record.id, 1, {1: 40})
    run(store, record)
    assert not store.steered(record.id, 1, {1: 40})
    assert store.steerings(record.id)[0].step is None


def test_one_that_came_too_late_is_kept_as_never_applied(store: Store) -> None:
    record = run(store, add(store))
    store.steer(record.id, HOT)
    succeed(store, record)
    assert [one.step for one in store.steerings(record.id)] == [None]
    assert store.get(record.id).status is Status.SUCCEEDED


def test_a_waiting_job_can_be_steered_before_it_begins(store: Store) -> None:
    record = add(store)
    after, _ = store.steer(record.id, HOT)
    assert after.status is Status.QUEUED
    store.pause(record.id)
    assert store.steer(record.id, COLD)[0].status is Status.PENDING
    store.resume(record.id)
    run(store, record)
    assert [one.changes for one in store.assignment(record.id).steerings] == [HOT, COLD]


@pytest.mark.parametrize("end", ["succeeded", "failed", "cancelled"])
def test_a_job_that_has_ended_cannot_be_steered(store: Store, end: str) -> None:
    record = run(store, add(store))
    if end == "succeeded":
        succeed(store, record)
    elif end == "failed":
        store.fail(record.id, 1, Failure(reason=Reason.ENGINE, message="it broke"))
    else:
        store.end_cancelled(record.id, 1, usage=Usage())
    before = store.events(record.id)
    with pytest.raises(TransitionError, match=rf"has ended \({end}, .* UTC\); only one that has not ended"):
        store.steer(record.id, HOT)
    assert store.steerings(record.id) == ()
    assert store.events(record.id) == before


def test_a_job_that_is_being_cancelled_cannot_be_steered(store: Store) -> None:
    record = run(store, add(store))
    store.cancel(record.id)
    with pytest.raises(TransitionError, match="is being cancelled"):
        store.steer(record.id, HOT)


def test_a_job_that_does_not_exist_cannot_be_steered(store: Store) -> None:
    with pytest.raises(JobNotFoundError):
        store.steer("0" * 32, HOT)


def test_equal_jobs_do_not_wait_for_a_steered_one(store: Store) -> None:
    first = run(store, add(store))
    followers = [add(store), add(store)]
    assert [store.get(one.id).cached_from for one in followers] == [first.id, first.id]
    store.steer(first.id, HOT)
    heir, other = (store.get(one.id) for one in followers)
    assert (heir.status, heir.cached_from) == (Status.QUEUED, None)
    assert (other.status, other.cached_from) == (Status.PENDING, heir.id)
    succeed(store, first)
    assert store.get(heir.id).status is Status.QUEUED
    succeed(store, run(store, heir))
    assert store.get(other.id).status is Status.SUCCEEDED


def test_the_results_of_a_steered_job_answer_no_equal_one(store: Store) -> None:
    first = run(store, add(store))
    store.steer(first.id, HOT)
    assert add(store).status is Status.QUEUED
    succeed(store, first)
    second = add(store, cache=False)
    assert (second.status, second.cached_from) == (Status.QUEUED, None)


def test_a_steered_job_waits_for_no_equal_one(store: Store) -> None:
    first = run(store, add(store))
    second = add(store)
    store.cancel(first.id)
    assert not beat(store, first).cancel
    after, _ = store.steer(second.id, HOT)
    assert (after.status, after.cached_from) == (Status.QUEUED, None)
    # Nobody else wants what the first one runs for.
    assert beat(store, first).cancel
    run(store, second)
    assert store.assignment(second.id).steerings[0].changes == HOT


def test_who_else_waits_for_an_equal_job_goes_on_doing_so(store: Store) -> None:
    first, second, third = add(store), add(store), add(store)
    store.steer(second.id, HOT)
    assert store.get(third.id).cached_from == first.id
    assert store.get(first.id).status is Status.QUEUED


def test_what_begins_with_the_structure_of_a_steered_job_is_not_equal_to_others(store: Store) -> None:
    first, twin = run(store, add(store)), run(store, add(store, cache=False))
    child = beginning_with(store, first)
    grandchild = beginning_with(store, child)
    store.steer(first.id, HOT)
    late = beginning_with(store, first)
    assert [store.get(one.id).varied for one in (child, grandchild, late, twin)] == [True, True, True, False]
    for job in (first, twin):
        succeed(store, job)
    succeed(store, run(store, child))
    # Of the same key, but not of the same structure.
    sound = beginning_with(store, twin)
    assert sound.key == child.key
    assert (sound.status, sound.cached_from) == (Status.QUEUED, None)
    assert beginning_with(store, first).cached_from is None


def test_a_job_that_waits_for_an_equal_one_runs_itself_once_that_begins_with_a_steered_structure(store: Store) -> None:
    first, twin = run(store, add(store)), run(store, add(store, cache=False))
    leader = beginning_with(store, first)
    follower = beginning_with(store, twin)
    assert follower.cached_from == leader.id
    store.steer(first.id, HOT)
    found = store.get(follower.id)
    assert (found.status, found.cached_from, found.varied) == (Status.PENDING, None, False)
    succeed(store, twin)
    assert store.get(follower.id).status is Status.QUEUED
