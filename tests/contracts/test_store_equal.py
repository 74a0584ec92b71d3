"""What every store must keep of equal jobs: one of them runs, and the others have its results."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from nanoos_lab.core.record import Failure, Usage
from nanoos_lab.core.request import Dependency
from nanoos_lab.core.resources import RetryPolicy
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.store import Orders
from tests.store.samples import HOLDER, come_due, submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.store import Store

    OpenStore = Callable[..., Store]

BROKEN = Failure(reason=Reason.ENGINE, message="ERROR: Lost atoms")
NO_DISK = Failure(reason=Reason.RESOURCE, message="no space left")
SCALARS = {"energy": -3.5, "converged": True}


def add(store: Store, *parents: JobRecord, after_failure: str = "cancel", **changes: object) -> JobRecord:
    """Add a job for which the results of an equal one will do."""
    after = tuple(Dependency(parent=one.id, after_failure=after_failure) for one in parents)
    return store.add([submission(after=after, **{"cache": True, **changes})])[0]


def other(store: Store, *parents: JobRecord, **changes: object) -> JobRecord:
    """Add a job that is equal to none of the others."""
    return add(store, *parents, cache=False, parameters={"steps": 999}, **changes)


def run(store: Store, record: JobRecord) -> JobRecord:
    """Claim a queued job as it is now."""
    claimed = store.claim(record.id, store.get(record.id).attempt, HOLDER)
    assert claimed is not None
    return claimed


def succeed(store: Store, record: JobRecord) -> None:
    """Let a running job succeed."""
    attempt = store.get(record.id).attempt
    assert store.succeed(record.id, attempt, step=10, total=10, scalars=SCALARS, provenance={"engine": "mock"})


def fail(store: Store, record: JobRecord, failure: Failure = BROKEN) -> JobRecord:
    """Let a running job fail."""
    failed = store.fail(record.id, store.get(record.id).attempt, failure)
    assert failed is not None
    return failed


def orders(store: Store, record: JobRecord) -> Orders:
    return store.beat(record.id, store.get(record.id).attempt, step=1, total=None)


def status(store: Store, *records: JobRecord) -> list[Status]:
    return [store.get(record.id).status for record in records]


def leaders(store: Store, *records: JobRecord) -> list[str | None]:
    """Whose results these jobs have or wait for."""
    return [store.get(record.id).cached_from for record in records]


class TestResultsAtOnce:
    def test_a_job_that_is_equal_to_a_finished_one_has_its_results(self, store: Store) -> None:
        first = run(store, add(store))
        succeed(store, first)
        record = add(store)
        assert (record.status, record.cached_from) == (Status.SUCCEEDED, first.id)
        assert (record.scalars, record.step, record.total, record.progress) == (SCALARS, 10, 10, 1.0)
        assert record.ended is not None
        assert store.get(record.id) == record
        assert store.holder(record.id) == store.get(first.id)
        assert store.attempts(record.id) == []
        assert [event.text for event in store.events(record.id)] == [f"succeeded, with the results of job {first.id}"]
        assert store.undelivered() == []

    def test_a_third_job_has_them_from_the_first_too(self, store: Store) -> None:
        first = run(store, add(store))
        succeed(store, first)
        assert leaders(store, add(store), add(store)) == [first.id, first.id]

    def test_results_of_a_job_that_would_not_take_others_will_do(self, store: Store) -> None:
        first = run(store, add(store, cache=False))
        succeed(store, first)
        assert add(store).cached_from == first.id

    def test_who_does_not_want_them_runs(self, store: Store) -> None:
        succeed(store, run(store, add(store)))
        record = add(store, cache=False)
        assert (record.status, record.cached_from) == (Status.QUEUED, None)

    def test_what_is_different_runs(self, store: Store) -> None:
        succeed(store, run(store, add(store)))
        assert add(store, parameters={"steps": 11}).status is Status.QUEUED

    @pytest.mark.parametrize("end", ["failed", "cancelled"])
    def test_there_are_none_of_a_job_that_did_not_succeed(self, store: Store, end: str) -> None:
        first = run(store, add(store))
        if end == "failed":
            fail(store, first)
        else:
            store.cancel(first.id)
            store.end_cancelled(first.id, 1)
        assert add(store).status is Status.QUEUED

    def test_who_depends_on_such_a_job_need_not_wait(self, store: Store) -> None:
        succeed(store, run(store, add(store)))
        cached, child = store.add(
            [submission(cache=True), submission(parameters={"steps": 7}, after=(Dependency(parent=0),))]
        )
        assert (cached.status, child.status) == (Status.SUCCEEDED, Status.QUEUED)


class TestJoining:
    @pytest.mark.parametrize("where", ["queued", "running"])
    def test_a_job_joins_an_equal_one_on_its_way(self, store: Store, where: str) -> None:
        first = add(store)
        if where == "running":
            run(store, first)
        record = add(store)
        assert (record.status, record.cached_from, record.attempt) == (Status.PENDING, first.id, 1)
        assert store.get(record.id) == record
        assert store.promote() == []
        assert store.holder(record.id).id == first.id
        assert store.events(record.id)[0].text == f"pending: waits for the results of the equal job {first.id}"

    def test_all_that_have_joined_get_the_results(self, store: Store) -> None:
        first = run(store, add(store))
        joined = [add(store) for _ in range(3)]
        succeed(store, first)
        for record in (store.get(one.id) for one in joined):
            assert (record.status, record.cached_from, record.scalars) == (Status.SUCCEEDED, first.id, SCALARS)
            assert (record.step, record.total, record.started, record.worker) == (10, 10, None, None)
            assert record.ended is not None
        assert store.attempts(joined[0].id) == []

    def test_equal_jobs_of_a_batch_run_once(self, store: Store) -> None:
        first, second, third = store.add([submission(str(number), cache=True) for number in range(3)])
        assert [job.status for job in (first, second, third)] == [Status.QUEUED, Status.PENDING, Status.PENDING]
        assert second.cached_from == third.cached_from == first.id

    def test_who_depends_on_a_joined_job_goes_on_with_its_results(self, store: Store) -> None:
        first = run(store, add(store))
        child = other(store, add(store))
        succeed(store, first)
        assert status(store, child) == [Status.QUEUED]

    def test_a_workflow_that_is_submitted_twice_runs_once(self, store: Store) -> None:
        workflow = [
            submission(cache=True),
            submission(cache=True, parameters={"steps": 7}, after=(Dependency(parent=0),)),
        ]
        one, two = store.add(workflow), store.add(workflow)
        assert [job.cached_from for job in two] == [job.id for job in one]
        succeed(store, run(store, one[0]))
        assert status(store, *one, *two) == [Status.SUCCEEDED, Status.QUEUED, Status.SUCCEEDED, Status.PENDING]
        succeed(store, run(store, one[1]))
        assert status(store, *two) == [Status.SUCCEEDED, Status.SUCCEEDED]

    def test_a_paused_job_or_one_that_is_to_be_cancelled_is_not_joined(self, store: Store) -> None:
        paused = add(store)
        store.pause(paused.id)
        leader = add(store)
        assert leader.status is Status.QUEUED
        run(store, leader)
        store.cancel(leader.id)
        assert add(store).status is Status.QUEUED

    def test_nobody_waits_for_the_time_of_another_job(self, store: Store) -> None:
        later, sooner = (datetime.now(UTC) + timedelta(hours=hours) for hours in (9, 1))
        late = add(store, not_before=later)
        soon = add(store, not_before=sooner)
        assert (soon.status, soon.cached_from) == (Status.PENDING, None)
        assert add(store, not_before=later).cached_from == soon.id
        now = add(store)
        assert now.status is Status.QUEUED
        assert leaders(store, add(store), late) == [now.id, None]

    def test_nobody_waits_for_the_parents_of_another_job(self, store: Store) -> None:
        waiting = add(store, other(store))
        ready = add(store)
        assert (waiting.cached_from, ready.status) == (None, Status.QUEUED)


class TestTakingOver:
    def test_after_a_failure_the_next_one_takes_the_place(self, store: Store) -> None:
        first = run(store, add(store))
        second, third, fourth = (add(store) for _ in range(3))
        fail(store, first)
        assert status(store, second, third, fourth) == [Status.QUEUED, Status.PENDING, Status.PENDING]
        assert leaders(store, second, third, fourth) == [None, second.id, second.id]
        assert store.events(second.id)[-2].text.startswith("pending: takes the place of")
        succeed(store, run(store, second))
        assert status(store, third, fourth) == [Status.SUCCEEDED, Status.SUCCEEDED]
        assert store.holder(fourth.id).id == second.id

    def test_a_failure_that_is_tried_again_is_waited_for(self, store: Store) -> None:
        first = run(store, add(store, retries=RetryPolicy(attempts=2, delay=0.0)))
        joined = add(store)
        assert fail(store, first, NO_DISK).status is Status.QUEUED
        assert leaders(store, joined) == [first.id]
        succeed(store, run(store, first))
        assert status(store, joined) == [Status.SUCCEEDED]

    def test_a_job_that_is_cancelled_before_it_runs_is_replaced_at_once(self, store: Store) -> None:
        first = add(store)
        second, third = add(store), add(store)
        assert store.cancel(first.id).status is Status.CANCELLED
        assert status(store, second, third) == [Status.QUEUED, Status.PENDING]

    def test_who_may_run_now_takes_the_place_before_one_that_waits(self, store: Store) -> None:
        parent = other(store)
        first = run(store, add(store))
        waits, paused, late, ready = (
            add(store, parent),
            add(store),
            add(store, not_before=datetime.now(UTC) + timedelta(hours=1)),
            add(store),
        )
        store.pause(paused.id)
        assert leaders(store, waits, paused, late, ready) == [first.id] * 4
        fail(store, first)
        assert leaders(store, waits, paused, late, ready) == [ready.id, ready.id, ready.id, None]
        assert status(store, ready) == [Status.QUEUED]

    def test_who_takes_the_place_waits_for_its_own_parents_and_its_own_time(self, store: Store) -> None:
        parent = other(store)
        first = run(store, add(store))
        heir = add(store, parent, not_before=datetime.now(UTC) + timedelta(hours=1))
        fail(store, first)
        record = store.get(heir.id)
        assert (record.status, record.waits_for, record.cached_from) == (Status.PENDING, 1, None)
        succeed(store, run(store, parent))
        assert status(store, heir) == [Status.PENDING]
        come_due(store, heir)
        assert [one.id for one in store.promote()] == [heir.id]

    def test_parents_that_end_meanwhile_are_not_waited_for(self, store: Store) -> None:
        parent = other(store)
        first = run(store, add(store))
        joined = add(store, parent)
        succeed(store, run(store, parent))
        assert status(store, joined) == [Status.PENDING]
        fail(store, first)
        assert status(store, joined) == [Status.QUEUED]

    def test_a_joined_job_ends_with_its_parent(self, store: Store) -> None:
        parent = other(store)
        first = run(store, add(store))
        joined = add(store, parent)
        fail(store, run(store, parent))
        record = store.get(joined.id)
        assert (record.status, record.cached_from) == (Status.CANCELLED, None)
        succeed(store, first)
        assert store.get(joined.id) == record

    def test_a_job_may_be_equal_to_the_one_that_it_depends_on(self, store: Store) -> None:
        first = run(store, add(store))
        ends, runs = add(store, first), add(store, first, after_failure="run")
        fail(store, first)
        assert status(store, ends, runs) == [Status.CANCELLED, Status.QUEUED]
        second = run(store, runs)
        follows = add(store, second)
        succeed(store, second)
        assert status(store, follows) == [Status.SUCCEEDED]

    def test_a_failed_job_that_is_retried_leaves_the_others_alone(self, store: Store) -> None:
        first = run(store, add(store))
        second, third = add(store), add(store)
        fail(store, first)
        store.retry(first.id)
        succeed(store, run(store, first))
        assert status(store, second, third) == [Status.QUEUED, Status.PENDING]
        succeed(store, run(store, second))
        assert status(store, third) == [Status.SUCCEEDED]

    def test_a_joined_job_that_is_queued_by_hand_runs_by_itself(self, store: Store) -> None:
        first = run(store, add(store))
        joined = add(store)
        record = store.move(joined.id, to=Status.QUEUED, expected=Status.PENDING, attempt=1)
        assert (record.status, record.cached_from) == (Status.QUEUED, None)
        succeed(store, first)
        assert status(store, joined) == [Status.QUEUED]

    def test_a_joined_job_that_is_paused_has_the_results_all_the_same(self, store: Store) -> None:
        first = run(store, add(store))
        joined = add(store)
        store.pause(joined.id)
        succeed(store, first)
        assert (store.get(joined.id).status, store.get(joined.id).paused) == (Status.SUCCEEDED, None)

    def test_a_joined_job_that_is_resumed_goes_on_waiting(self, store: Store) -> None:
        run(store, add(store))
        joined = add(store)
        store.pause(joined.id)
        assert store.resume(joined.id).status is Status.PENDING


class TestCancelling:
    def test_a_joined_job_is_cancelled_alone(self, store: Store) -> None:
        first = run(store, add(store))
        joined, left = add(store), add(store)
        record = store.cancel(joined.id)
        assert (record.status, record.cached_from) == (Status.CANCELLED, None)
        assert orders(store, first) == Orders(current=True, cancel=False)
        succeed(store, first)
        assert status(store, joined, left) == [Status.CANCELLED, Status.SUCCEEDED]

    def test_a_run_goes_on_until_the_last_one_that_wants_it_cancels(self, store: Store) -> None:
        first = run(store, add(store))
        joined = [add(store) for _ in range(2)]
        store.cancel(first.id)
        for one in joined:
            assert orders(store, first) == Orders(current=True, cancel=False)
            store.cancel(one.id)
        assert orders(store, first) == Orders(current=True, cancel=True)
        assert store.end_cancelled(first.id, 1)
        assert status(store, first, *joined) == [Status.CANCELLED] * 3

    def test_the_wish_to_cancel_outlives_another_attempt(self, store: Store) -> None:
        first = run(store, add(store, retries=RetryPolicy(attempts=3, delay=0.0)))
        joined = add(store)
        store.cancel(first.id)
        again = fail(store, first, NO_DISK)
        assert (again.status, again.cancel_requested is not None) == (Status.QUEUED, True)
        assert orders(store, run(store, first)) == Orders(current=True, cancel=False)
        store.cancel(joined.id)
        assert orders(store, first) == Orders(current=True, cancel=True)
        assert store.lose(first.id, 2, "killed").status is Status.CANCELLED

    @pytest.mark.parametrize("how", ["cancelled", "failed by hand", "cancelled after its parent"])
    def test_a_next_attempt_that_nobody_wants_any_more_is_cancelled(self, store: Store, how: str) -> None:
        parent = other(store)
        first = run(store, add(store, retries=RetryPolicy(attempts=3, delay=1000.0)))
        joined = add(store, parent)
        store.cancel(first.id)
        assert fail(store, first, NO_DISK).status is Status.PENDING
        asked = store.get(first.id).cancel_requested
        if how == "cancelled":
            store.cancel(joined.id)
        elif how == "failed by hand":
            store.move(joined.id, to=Status.FAILED, expected=Status.PENDING, attempt=1, failure=BROKEN)
        else:
            store.cancel(parent.id)
        record = store.get(first.id)
        assert (record.status, record.cancel_requested) == (Status.CANCELLED, asked)

    def test_a_released_run_that_others_want_goes_on_when_it_is_resumed(self, store: Store) -> None:
        first = run(store, add(store))
        add(store)
        store.pause(first.id)
        store.cancel(first.id)
        assert store.release(first.id, 1, usage=Usage()).status is Status.PENDING
        assert store.resume(first.id).status is Status.QUEUED

    def test_a_worker_that_is_stopped_on_purpose_does_not_count_for_those_who_joined(self, store: Store) -> None:
        first = run(store, add(store, attempts=1))
        add(store)
        store.cancel(first.id)
        record = store.lose(first.id, 1, "the lab was stopped", counts=False)
        assert (record.status, record.failures) == (Status.QUEUED, 0)

    def test_a_run_that_fails_though_it_was_to_be_cancelled_is_taken_over(self, store: Store) -> None:
        first = run(store, add(store))
        joined = add(store)
        store.cancel(first.id)
        assert fail(store, first).status is Status.FAILED
        assert status(store, joined) == [Status.QUEUED]
