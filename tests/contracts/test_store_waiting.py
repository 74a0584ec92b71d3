"""What every store must keep of jobs that wait: for a pause to end, for their time, for other jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from nanoos_lab.core.errors import InputError, JobNotFoundError, TransitionError
from nanoos_lab.core.record import Failure, Usage
from nanoos_lab.core.request import Dependency, StructureOf
from nanoos_lab.core.resources import RetryPolicy
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.store import JobQuery, Orders
from tests.store.samples import HOLDER, come_due, submission

if TYPE_CHECKING:
    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.store import Store

NOBODY = "0" * 32
BROKEN = Failure(reason=Reason.ENGINE, message="ERROR: Lost atoms\nLast command: run 100", remedy="look")
NO_DISK = Failure(reason=Reason.RESOURCE, message="no space left")
USED = Usage(ran=3.0)


def add(store: Store, *parents: JobRecord, after_failure: str = "cancel", **changes: object) -> JobRecord:
    """Add a job that depends on others."""
    after = tuple(Dependency(parent=one.id, after_failure=after_failure) for one in parents)
    return store.add([submission(after=after, **changes)])[0]


def run(store: Store, record: JobRecord) -> JobRecord:
    """Claim a queued job as it is now."""
    claimed = store.claim(record.id, store.get(record.id).attempt, HOLDER)
    assert claimed is not None
    return claimed


def succeed(store: Store, record: JobRecord) -> None:
    """Take a queued job to its success."""
    claimed = run(store, record)
    assert store.succeed(claimed.id, claimed.attempt, step=10, scalars={}, provenance={})


def fail(store: Store, record: JobRecord, failure: Failure = BROKEN) -> JobRecord:
    """Take a queued job to its failure."""
    claimed = run(store, record)
    failed = store.fail(claimed.id, claimed.attempt, failure)
    assert failed is not None
    return failed


def status(store: Store, *records: JobRecord) -> list[Status]:
    return [store.get(record.id).status for record in records]


class TestPauses:
    def test_a_queued_job_is_held_back(self, store: Store) -> None:
        job = add(store)
        record = store.pause(job.id)
        assert (record.status, record.attempt) == (Status.PENDING, 1)
        assert record.paused is not None
        assert store.claim(job.id, 1, HOLDER) is None
        assert store.undelivered() == []
        assert store.promote() == []

    def test_a_job_that_is_resumed_is_offered_again(self, store: Store) -> None:
        job = add(store)
        store.pause(job.id)
        record = store.resume(job.id)
        assert (record.status, record.attempt, record.paused) == (Status.QUEUED, 1, None)
        assert [waiting.job_id for waiting in store.undelivered()] == [job.id]

    def test_a_run_is_asked_to_pause_and_to_go_on(self, store: Store) -> None:
        job = run(store, add(store))
        assert store.pause(job.id).status is Status.RUNNING
        assert store.beat(job.id, 1, step=1, total=None) == Orders(current=True, cancel=False, pause=True)
        assert store.resume(job.id).status is Status.RUNNING
        assert store.beat(job.id, 1, step=1, total=None) == Orders(current=True, cancel=False, pause=False)

    def test_a_long_pause_frees_the_worker(self, store: Store) -> None:
        job = run(store, add(store))
        store.pause(job.id)
        store.beat(job.id, 1, step=5, total=10)
        record = store.release(job.id, 1, usage=USED)
        assert (record.status, record.attempt, record.worker, record.failures) == (Status.PENDING, 2, None, 0)
        assert store.promote() == []
        (attempt,) = store.attempts(job.id)
        assert (attempt.outcome, attempt.last_step, attempt.ran) == ("paused", 5, 3.0)
        resumed = store.resume(job.id)
        assert (resumed.status, resumed.attempt) == (Status.QUEUED, 2)
        assert store.assignment(job.id).ran == 3.0

    def test_a_pause_that_is_withdrawn_first_offers_the_job_at_once(self, store: Store) -> None:
        job = run(store, add(store))
        store.pause(job.id)
        store.resume(job.id)
        record = store.release(job.id, 1, usage=USED)
        assert (record.status, record.attempt) == (Status.QUEUED, 2)

    def test_a_cancel_goes_before_a_pause(self, store: Store) -> None:
        job = run(store, add(store))
        store.pause(job.id)
        store.cancel(job.id)
        assert store.beat(job.id, 1, step=1, total=None) == Orders(current=True, cancel=True, pause=True)
        record = store.release(job.id, 1, usage=USED)
        assert (record.status, record.paused) == (Status.CANCELLED, None)
        assert store.attempts(job.id)[0].outcome == "cancelled"

    def test_a_paused_job_is_cancelled_at_once(self, store: Store) -> None:
        job = add(store)
        store.pause(job.id)
        record = store.cancel(job.id)
        assert (record.status, record.paused) == (Status.CANCELLED, None)

    def test_a_lost_run_that_was_paused_waits_for_the_end_of_the_pause(self, store: Store) -> None:
        job = run(store, add(store))
        store.pause(job.id)
        record = store.lose(job.id, 1, "killed")
        assert (record.status, record.attempt) == (Status.PENDING, 2)
        assert store.promote() == []
        assert store.resume(job.id).status is Status.QUEUED

    def test_a_run_that_ends_in_its_pause_is_not_paused_any_more(self, store: Store) -> None:
        job = run(store, add(store))
        store.pause(job.id)
        assert store.succeed(job.id, 1, step=1, scalars={}, provenance={})
        assert (store.get(job.id).status, store.get(job.id).paused) == (Status.SUCCEEDED, None)

    def test_pausing_twice_and_resuming_twice_is_doing_it_once(self, store: Store) -> None:
        job = add(store)
        first = store.pause(job.id)
        assert store.pause(job.id) == first
        resumed = store.resume(job.id)
        assert store.resume(job.id) == resumed
        assert [event.text for event in store.events(job.id) if event.kind == "pause"] == [
            "a pause was asked for",
            "it is to go on",
        ]

    def test_what_has_ended_does_not_pause(self, store: Store) -> None:
        job = add(store)
        cancelled = store.cancel(job.id)
        assert store.pause(job.id) == store.resume(job.id) == cancelled
        with pytest.raises(JobNotFoundError):
            store.pause(NOBODY)

    def test_a_job_that_is_moved_to_pending_by_hand_is_paused(self, store: Store) -> None:
        job = add(store)
        record = store.move(job.id, to=Status.PENDING, expected=Status.QUEUED, attempt=1)
        assert record.paused is not None
        assert store.promote() == []
        assert store.resume(job.id).status is Status.QUEUED

    def test_only_the_current_attempt_is_released(self, store: Store) -> None:
        job = run(store, add(store))
        store.lose(job.id, 1, "killed")
        assert store.release(job.id, 1, usage=USED) is None


class TestTimes:
    def test_a_job_waits_for_its_time(self, store: Store) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)
        record = add(store, not_before=later)
        assert record.status is Status.PENDING
        assert abs(record.run_after - later) < timedelta(seconds=0.01)
        assert store.get(record.id) == record
        assert store.promote() == []
        assert store.undelivered() == []

    def test_a_time_that_has_passed_is_now(self, store: Store) -> None:
        record = add(store, not_before=datetime.now(UTC) - timedelta(hours=1))
        assert (record.status, record.run_after) == (Status.QUEUED, None)

    def test_a_job_whose_time_has_come_is_queued(self, store: Store) -> None:
        record, later = (add(store, not_before=datetime.now(UTC) + timedelta(hours=1)) for _ in range(2))
        assert record.status is Status.PENDING
        come_due(store, record)
        assert [one.id for one in store.promote()] == [record.id]
        assert status(store, record, later) == [Status.QUEUED, Status.PENDING]

    def test_no_more_are_queued_than_asked_for_the_oldest_first(self, store: Store) -> None:
        soon = datetime.now(UTC) + timedelta(hours=1)
        jobs = store.add([submission(not_before=soon) for _ in range(5)])
        come_due(store, *jobs)
        found = [[record.id for record in store.promote(limit=3)] for _ in range(3)]
        ids = [job.id for job in jobs]
        assert found == [ids[:3], ids[3:], []]

    def test_a_job_with_a_time_and_a_parent_waits_for_both(self, store: Store) -> None:
        parent = add(store)
        late = add(store, parent, not_before=datetime.now(UTC) + timedelta(hours=1))
        soon = add(store, parent, not_before=datetime.now(UTC) + timedelta(hours=1))
        come_due(store, soon)
        assert store.promote() == []
        succeed(store, parent)
        assert status(store, late, soon) == [Status.PENDING, Status.QUEUED]
        assert (store.get(late.id).waits_for, store.get(late.id).run_after) == (0, late.run_after)
        assert store.promote() == []


class TestDependencies:
    def test_a_job_waits_for_its_parent(self, store: Store) -> None:
        parent = add(store)
        child = add(store, parent)
        assert (child.status, child.waits_for) == (Status.PENDING, 1)
        assert store.get(child.id) == child
        assert store.parents(child.id) == [Dependency(parent=parent.id, after_failure="cancel")]
        assert store.claim(child.id, 1, HOLDER) is None
        succeed(store, parent)
        record = store.get(child.id)
        assert (record.status, record.waits_for, record.attempt) == (Status.QUEUED, 0, 1)
        assert [waiting.job_id for waiting in store.undelivered()] == [child.id]

    def test_a_job_waits_for_all_its_parents(self, store: Store) -> None:
        parents = [add(store) for _ in range(3)]
        child = add(store, *parents)
        for left, parent in zip((2, 1), parents, strict=False):
            succeed(store, parent)
            assert (store.get(child.id).status, store.get(child.id).waits_for) == (Status.PENDING, left)
        succeed(store, parents[2])
        assert status(store, child) == [Status.QUEUED]

    def test_all_children_of_a_job_are_queued(self, store: Store) -> None:
        parent = add(store)
        children = [add(store, parent) for _ in range(5)]
        succeed(store, parent)
        assert status(store, *children) == [Status.QUEUED] * 5
        assert [event.text for event in store.events(children[0].id)] == ["pending", "queued"]

    def test_a_parent_that_is_named_twice_is_waited_for_once(self, store: Store) -> None:
        parent = add(store)
        child = add(store, parent, parent)
        assert child.waits_for == 1
        succeed(store, parent)
        assert status(store, child) == [Status.QUEUED]

    def test_parents_that_have_succeeded_are_not_waited_for(self, store: Store) -> None:
        done, other = add(store), add(store)
        succeed(store, done)
        assert add(store, done).status is Status.QUEUED
        child = add(store, done, other)
        assert (child.status, child.waits_for) == (Status.PENDING, 1)
        assert [one.parent for one in store.parents(child.id)] == sorted([done.id, other.id])

    def test_a_parent_that_is_tried_again_has_not_ended(self, store: Store) -> None:
        parent = add(store, retries=RetryPolicy(attempts=2, delay=0.0))
        child = add(store, parent)
        assert fail(store, parent, NO_DISK).status is Status.QUEUED
        assert status(store, child) == [Status.PENDING]
        succeed(store, parent)
        assert status(store, child) == [Status.QUEUED]

    def test_a_pause_of_a_job_outlasts_the_end_of_its_parent(self, store: Store) -> None:
        parent = add(store)
        child = add(store, parent)
        store.pause(child.id)
        succeed(store, parent)
        assert status(store, child) == [Status.PENDING]
        assert store.resume(child.id).status is Status.QUEUED

    def test_a_resumed_job_still_waits_for_its_parent(self, store: Store) -> None:
        child = add(store, add(store))
        store.pause(child.id)
        assert store.resume(child.id).status is Status.PENDING

    def test_a_delay_before_the_next_attempt_outlasts_the_end_of_a_parent(self, store: Store) -> None:
        parent, policy = add(store), RetryPolicy(attempts=2, delay=1000.0)
        child = add(store, parent, retries=policy)
        store.move(child.id, to=Status.QUEUED, expected=Status.PENDING, attempt=1)
        waiting = fail(store, child, NO_DISK)
        succeed(store, parent)
        assert store.get(child.id) == waiting
        assert waiting.run_after is not None

    def test_the_final_structure_of_another_job_is_asked_for_by_its_id(self, store: Store) -> None:
        parent = add(store)
        wanted = StructureOf(job_id=parent.id, key=parent.key)
        item = submission(after=(Dependency(parent=parent.id),))
        request = type(item.request)(structure=None, engine="mock", task="md", parameters={}, structure_of=wanted)
        (child,) = store.add([type(item)(request=request, name="next", after=item.after)])
        assert child.status is Status.PENDING
        assert store.assignment(child.id).request.structure_of == wanted
        assert store.holder(wanted.job_id).id == parent.id


class TestAfterFailure:
    @pytest.mark.parametrize("how", ["failed", "cancelled"])
    def test_a_job_is_cancelled_after_a_parent_that_does_not_succeed(self, store: Store, how: str) -> None:
        parent, other = add(store), add(store)
        child = add(store, parent, other)
        if how == "failed":
            fail(store, parent)
        else:
            store.cancel(parent.id)
        record = store.get(child.id)
        assert (record.status, record.waits_for, record.cancel_requested) == (Status.CANCELLED, 0, None)
        assert record.ended is not None
        assert record.reason is (Reason.ENGINE if how == "failed" else Reason.INPUT)
        assert parent.id in record.failure.message
        assert ("Lost atoms" in record.failure.message) == (how == "failed")
        succeed(store, other)
        assert store.get(child.id) == record

    @pytest.mark.parametrize("how", ["failed", "cancelled"])
    def test_a_job_may_run_all_the_same(self, store: Store, how: str) -> None:
        parent = add(store)
        child = add(store, parent, after_failure="run")
        if how == "failed":
            fail(store, parent)
        else:
            store.cancel(parent.id)
        assert status(store, child) == [Status.QUEUED]

    def test_each_child_goes_its_own_way(self, store: Store) -> None:
        parent, other = add(store), add(store)
        ends, runs, waits = (
            add(store, parent),
            add(store, parent, after_failure="run"),
            add(store, parent, other, after_failure="run"),
        )
        fail(store, parent)
        assert status(store, ends, runs, waits) == [Status.CANCELLED, Status.QUEUED, Status.PENDING]
        assert store.get(waits.id).waits_for == 1

    @pytest.mark.parametrize("how", ["failed", "cancelled"])
    def test_after_a_parent_that_has_ended_badly_a_job_is_cancelled_at_once(self, store: Store, how: str) -> None:
        parent = add(store)
        waiting = add(store, parent)
        if how == "failed":
            fail(store, parent)
        else:
            store.cancel(parent.id)
        child = add(store, parent)
        assert (child.status, child.failure) == (Status.CANCELLED, store.get(waiting.id).failure)
        assert store.get(child.id) == child
        assert add(store, parent, after_failure="run").status is Status.QUEUED
        assert [one.job_id for one in store.undelivered() if one.job_id == child.id] == []

    def test_the_reason_goes_down_the_chain_and_names_the_first_job(self, store: Store) -> None:
        first = add(store)
        second = add(store, first)
        third = add(store, second)
        beside = add(store, second, after_failure="run")
        fail(store, first)
        assert status(store, second, third, beside) == [Status.CANCELLED, Status.CANCELLED, Status.QUEUED]
        assert store.get(third.id).failure == store.get(second.id).failure
        assert first.id in store.get(third.id).failure.message

    def test_a_parent_that_fails_again_counts_once(self, store: Store) -> None:
        parent, other = add(store), add(store)
        child = add(store, parent, other, after_failure="run")
        fail(store, parent)
        store.retry(parent.id)
        fail(store, parent)
        assert (store.get(child.id).status, store.get(child.id).waits_for) == (Status.PENDING, 1)
        succeed(store, other)
        assert status(store, child) == [Status.QUEUED]

    def test_a_job_that_ran_before_its_parents_waits_for_its_next_attempt_only(self, store: Store) -> None:
        parents = [add(store), add(store)]
        child = add(store, *parents, retries=RetryPolicy(attempts=3, delay=1000.0))
        store.move(child.id, to=Status.QUEUED, expected=Status.PENDING, attempt=1)
        assert fail(store, child, NO_DISK).status is Status.PENDING
        for parent in parents:
            succeed(store, parent)
        assert store.promote() == []
        come_due(store, child)
        assert [one.id for one in store.promote()] == [child.id]

    def test_a_failed_job_whose_parents_failed_is_retried(self, store: Store) -> None:
        parent = add(store)
        child = add(store, parent, after_failure="run")
        fail(store, parent)
        fail(store, child)
        assert store.retry(child.id).status is Status.QUEUED
        succeed(store, child)
        assert status(store, child) == [Status.SUCCEEDED]

    def test_a_job_that_waits_may_be_failed_by_hand_but_not_made_succeeded(self, store: Store) -> None:
        child = add(store, add(store))
        with pytest.raises(TransitionError, match="results"):
            store.move(child.id, to=Status.SUCCEEDED, expected=Status.PENDING, attempt=1)
        record = store.move(child.id, to=Status.FAILED, expected=Status.PENDING, attempt=1, failure=BROKEN)
        assert (record.status, record.waits_for) == (Status.FAILED, 0)
        assert store.retry(child.id).status is Status.QUEUED


class TestBatches:
    def test_jobs_of_a_batch_depend_on_each_other_by_their_places(self, store: Store) -> None:
        wanted = [
            submission("last", after=(Dependency(parent=1), Dependency(parent=2))),
            submission("middle", after=(Dependency(parent=2),)),
            submission("first"),
        ]
        last, middle, first = store.add(wanted)
        assert [job.name for job in (last, middle, first)] == ["last", "middle", "first"]
        assert [job.status for job in (last, middle, first)] == [Status.PENDING, Status.PENDING, Status.QUEUED]
        assert [one.parent for one in store.parents(last.id)] == sorted([middle.id, first.id])
        succeed(store, first)
        succeed(store, middle)
        assert status(store, last) == [Status.QUEUED]

    def test_a_job_is_younger_than_those_that_it_waits_for(self, store: Store) -> None:
        wanted = [submission(after=(Dependency(parent=place + 1),)) for place in range(4)] + [submission()]
        records = store.add(wanted)
        assert [record.id for record in reversed(records)] == sorted(record.id for record in records)

    def test_a_job_of_a_batch_may_depend_on_a_stored_one_as_well(self, store: Store) -> None:
        stored = add(store)
        _, child = store.add([submission(), submission(after=(Dependency(parent=0), Dependency(parent=stored.id)))])
        assert child.waits_for == 2

    def test_a_bad_parent_ends_all_of_a_batch_that_follow(self, store: Store) -> None:
        parent = add(store)
        fail(store, parent)
        chain = [
            submission(after=(Dependency(parent=parent.id),)),
            submission(after=(Dependency(parent=0),)),
            submission(after=(Dependency(parent=0, after_failure="run"),)),
        ]
        records = store.add(chain)
        assert [job.status for job in records] == [Status.CANCELLED, Status.CANCELLED, Status.QUEUED]
        assert records[1].failure == records[0].failure

    def test_a_circle_is_refused_with_the_names_in_it(self, store: Store) -> None:
        circle = [
            submission("free"),
            submission("a", after=(Dependency(parent=2),)),
            submission("b", after=(Dependency(parent=1), Dependency(parent=0))),
        ]
        with pytest.raises(InputError, match="circle: 'a', 'b'"):
            store.add(circle)
        with pytest.raises(InputError, match="circle"):
            store.add([submission("itself", after=(Dependency(parent=0),))])
        assert store.find(JobQuery()) == []

    def test_a_place_that_is_not_there_is_refused(self, store: Store) -> None:
        for place in (-1, 2):
            with pytest.raises(InputError, match=f"place {place}"):
                store.add([submission(), submission(after=(Dependency(parent=place),))])

    def test_a_job_that_does_not_exist_is_not_found(self, store: Store) -> None:
        with pytest.raises(JobNotFoundError, match=NOBODY):
            store.add([submission(), submission(after=(Dependency(parent=NOBODY),))])
        assert store.find(JobQuery()) == []


class TestSize:
    def test_a_chain_may_be_longer_than_pythons_stack_is_deep(self, store: Store) -> None:
        chain = store.add([submission(), *(submission(after=(Dependency(parent=n),)) for n in range(1200))])
        fail(store, chain[0])
        assert store.count()[Status.CANCELLED] == 1200
        last = store.get(chain[-1].id)
        assert chain[0].id in last.failure.message
        assert len(last.failure.message) < 200

    def test_a_thousand_children_are_told_at_once(self, store: Store) -> None:
        good, bad = store.add([submission(), submission()])
        store.add([submission(after=(Dependency(parent=good.id),)) for _ in range(1000)])
        store.add([submission(after=(Dependency(parent=bad.id),)) for _ in range(1000)])
        succeed(store, good)
        fail(store, bad)
        counts = store.count()
        assert (counts[Status.QUEUED], counts[Status.CANCELLED], counts[Status.PENDING]) == (1000, 1000, 0)

    def test_five_thousand_jobs_are_added_in_one_call(self, store: Store) -> None:
        records = store.add(
            [submission(name=str(number), cache=True, parameters={"n": number}) for number in range(5000)]
        )
        assert store.count()[Status.QUEUED] == 5000
        assert [record.name for record in store.find(JobQuery(limit=None))] == [str(n) for n in reversed(range(5000))]
        assert store.request(records[4321].id).parameters == {"n": 4321}
