"""What every store must keep of trying again: how often, when, and what of each attempt counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nanoos_lab.core.errors import TransitionError
from nanoos_lab.core.record import Assignment, Correction, Failure, Segment, Usage
from nanoos_lab.core.resources import Limits, RetryPolicy
from nanoos_lab.core.status import RETRIED, Reason, Status
from tests.store.samples import HOLDER, come_due, submission
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoos_lab.core.record import Attempt, JobRecord
    from nanoos_lab.store import Store

    OpenStore = Callable[..., Store]

#: A lease that is over as soon as it begins.
OVER = -1.0
USED = Usage(ran=12.5, cpu=11.0, peak_memory=3_000_000)


def because(reason: Reason) -> Failure:
    return Failure(reason=reason, message=f"it ended for {reason}", remedy="look")


def add(store: Store, **changes: object) -> JobRecord:
    return store.add([submission(**changes)])[0]


def run(store: Store, record: JobRecord) -> JobRecord:
    """Claim a queued job."""
    claimed = store.claim(record.id, record.attempt, HOLDER)
    assert claimed is not None
    return claimed


def fail(store: Store, record: JobRecord, reason: Reason) -> JobRecord:
    """Let the attempt of a running job fail."""
    failed = store.fail(record.id, record.attempt, because(reason))
    assert failed is not None
    return failed


class TestWhatIsTriedAgain:
    @pytest.mark.parametrize("reason", sorted(RETRIED))
    def test_what_was_wrong_with_the_machine_is_tried_again(self, store: Store, reason: Reason) -> None:
        record = fail(store, run(store, add(store, attempts=2)), reason)
        assert (record.status, record.attempt, record.failures) == (Status.QUEUED, 2, 1)
        assert record.failure is None

    @pytest.mark.parametrize("reason", sorted(set(Reason) - RETRIED))
    def test_what_was_wrong_with_the_calculation_is_not(self, store: Store, reason: Reason) -> None:
        record = fail(store, run(store, add(store, attempts=100)), reason)
        assert (record.status, record.attempt, record.failures) == (Status.FAILED, 1, 1)
        assert record.failure == because(reason)

    @pytest.mark.parametrize("reason", sorted(RETRIED))
    def test_what_another_attempt_would_meet_again_is_not(self, store: Store, reason: Reason) -> None:
        claimed = run(store, add(store, attempts=100))
        record = store.fail(claimed.id, claimed.attempt, because(reason), final=True)
        assert record is not None
        assert (record.status, record.attempt, record.failures) == (Status.FAILED, 1, 1)
        assert record.failure == because(reason)
        assert store.retry(record.id).status is Status.QUEUED

    def test_the_last_attempt_fails_for_good(self, store: Store) -> None:
        record = add(store, attempts=3)
        for _ in range(3):
            record = fail(store, run(store, record), Reason.RESOURCE)
        assert (record.status, record.attempt, record.failures) == (Status.FAILED, 3, 3)
        outcomes = [(attempt.outcome, attempt.failure) for attempt in store.attempts(record.id)]
        why = because(Reason.RESOURCE)
        assert outcomes == [("retried", why), ("retried", why), ("failed", why)]

    def test_one_attempt_is_no_second_one(self, store: Store) -> None:
        assert fail(store, run(store, add(store, attempts=1)), Reason.LOST).status is Status.FAILED

    def test_a_job_that_cost_three_workers_is_poison(self, store: Store) -> None:
        record = add(store, attempts=100)
        for _ in range(3):
            claimed = run(store, record)
            record = store.lose(claimed.id, claimed.attempt, "killed by signal 9")
            assert record is not None
        assert (record.status, record.reason, record.lost) == (Status.FAILED, Reason.LOST, 3)
        assert "3 times" in record.failure.message
        assert "killed by signal 9" in record.failure.message

    def test_workers_that_were_stopped_on_purpose_do_not_count(self, store: Store) -> None:
        record = add(store, attempts=2)
        for number in range(1, 6):
            claimed = run(store, record)
            record = store.lose(claimed.id, claimed.attempt, "the lab was stopped", counts=False)
            assert (record.status, record.attempt, record.failures, record.lost) == (Status.QUEUED, number + 1, 0, 0)

    def test_a_worker_that_is_stopped_on_purpose_ends_a_job_that_was_to_be_cancelled(self, store: Store) -> None:
        job = run(store, add(store))
        store.cancel(job.id)
        record = store.lose(job.id, 1, "the lab was stopped", counts=False)
        assert (record.status, record.failure) == (Status.CANCELLED, None)


class TestPausesBetweenAttempts:
    def test_the_first_lost_worker_is_made_good_at_once(self, store: Store) -> None:
        record = fail(store, run(store, add(store, retries=RetryPolicy(attempts=5, delay=1000.0))), Reason.LOST)
        assert (record.status, record.run_after) == (Status.QUEUED, None)
        assert [waiting.job_id for waiting in store.undelivered()] == [record.id]

    def test_pauses_double_and_have_an_end(self, store: Store) -> None:
        record = add(store, retries=RetryPolicy(attempts=100, delay=1000.0, longest=3000.0))
        for longest in (1000.0, 2000.0, 3000.0, 3000.0):
            record = fail(store, run(store, record), Reason.RESOURCE)
            assert record.status is Status.PENDING
            assert longest / 2 - 10.0 < self.pause(store, record) <= longest + 0.002
            come_due(store, record)
            assert store.promote()
            record = store.get(record.id)
            assert (record.status, record.run_after) == (Status.QUEUED, None)

    def test_a_lost_worker_counts_one_doubling_less(self, store: Store) -> None:
        record = add(store, retries=RetryPolicy(attempts=100, delay=1000.0))
        record = fail(store, run(store, record), Reason.LOST)
        record = fail(store, run(store, record), Reason.LOST)
        assert record.status is Status.PENDING
        assert 490 < self.pause(store, record) <= 1000.01

    def test_jobs_that_failed_together_are_not_tried_again_together(self, store: Store) -> None:
        policy = RetryPolicy(attempts=2, delay=1000.0)
        pauses = set()
        for _ in range(5):
            record = fail(store, run(store, add(store, retries=policy)), Reason.RESOURCE)
            pauses.add(round(self.pause(store, record)))
        assert len(pauses) > 1

    def test_a_pause_is_over_when_the_clock_of_the_database_says_so(self, store: Store) -> None:
        policy = RetryPolicy(attempts=2, delay=0.1)
        record = fail(store, run(store, add(store, retries=policy)), Reason.RESOURCE)
        (promoted,) = until_promoted(store)
        assert (promoted.id, promoted.status, promoted.attempt) == (record.id, Status.QUEUED, 2)
        assert [waiting.attempt for waiting in store.undelivered()] == [2]
        assert store.promote() == []

    def pause(self, store: Store, record: JobRecord) -> float:
        """Seconds between the end of the last attempt and the next one."""
        assert record.run_after is not None
        return (record.run_after - store.events(record.id)[-1].time).total_seconds()


class TestByHand:
    def test_a_failed_job_is_retried_with_a_clean_slate(self, store: Store) -> None:
        failed = fail(store, run(store, add(store)), Reason.ENGINE)
        record = store.retry(failed.id)
        assert (record.status, record.attempt, record.failures, record.lost) == (Status.QUEUED, 2, 0, 0)
        assert (record.failure, record.ended, record.worker, record.started) == (None, None, None, None)
        assert [waiting.attempt for waiting in store.undelivered()] == [2]

    @pytest.mark.parametrize("make", ["queued", "running", "succeeded", "cancelled"])
    def test_only_a_failed_job_can_be_retried(self, store: Store, make: str) -> None:
        record = add(store)
        if make in ("running", "succeeded"):
            run(store, record)
        if make == "succeeded":
            store.succeed(record.id, 1, step=1, scalars={}, provenance={})
        if make == "cancelled":
            store.cancel(record.id)
        before = store.get(record.id)
        with pytest.raises(TransitionError, match=make):
            store.retry(record.id)
        assert store.get(record.id) == before

    def test_new_limits_and_retries_take_the_place_of_the_old_ones(self, store: Store) -> None:
        old = Limits(soft=10.0, hard=20.0)
        failed = fail(store, run(store, add(store, limits=old, attempts=1)), Reason.TIME_LIMIT)
        assert store.assignment(failed.id).limits == old
        store.retry(failed.id, limits=Limits(soft=100.0, memory=2.0), retries=RetryPolicy(attempts=7))
        assert store.assignment(failed.id).limits == Limits(soft=100.0, memory=2.0)
        assert store.get(failed.id).max_attempts == 7

    def test_without_new_ones_the_old_limits_stay(self, store: Store) -> None:
        old = Limits(soft=10.0, hard=20.0)
        failed = fail(store, run(store, add(store, limits=old, attempts=4)), Reason.TIME_LIMIT)
        store.retry(failed.id)
        assert (store.assignment(failed.id).limits, store.get(failed.id).max_attempts) == (old, 4)

    def test_running_time_counts_anew(self, store: Store) -> None:
        record = add(store)
        run(store, record)
        store.pause(record.id)
        assert store.release(record.id, 1, usage=USED) is not None
        resumed = store.resume(record.id)
        assert store.assignment(record.id).ran == USED.ran
        fail(store, run(store, resumed), Reason.TIME_LIMIT)
        store.retry(record.id)
        assert store.assignment(record.id).ran == 0.0


class TestWhatCounts:
    def test_what_is_wanted_comes_with_its_limits(self, store: Store) -> None:
        wanted = submission(limits=Limits(hard=60.0))
        (record,) = store.add([wanted])
        assert store.assignment(record.id) == Assignment(request=wanted.request, limits=Limits(hard=60.0), ran=0.0)

    def test_a_lost_attempt_counts_up_to_its_last_beat(self, open_store: OpenStore) -> None:
        store = open_store(lease=OVER)
        job = run(store, add(store))
        store.beat(job.id, 1, step=40, total=100)
        (record,) = store.expire()
        run(store, record)
        assert store.segments(job.id) == [Segment(attempt=1, last_step=40), Segment(attempt=2, last_step=None)]

    def test_an_attempt_that_never_beat_counts_up_to_its_beginning(self, open_store: OpenStore) -> None:
        store = open_store(lease=OVER)
        job = run(store, add(store))
        store.expire()
        assert store.segments(job.id) == [Segment(attempt=1, last_step=0)]

    def test_adopted_results_make_all_count(self, open_store: OpenStore) -> None:
        store = open_store(lease=OVER)
        job = run(store, add(store))
        store.beat(job.id, 1, step=40, total=100)
        (record,) = store.expire()
        run(store, record)
        assert not store.count_all(job.id, 1, 100)
        assert store.segments(job.id)[0] == Segment(attempt=1, last_step=40)
        assert store.count_all(job.id, 2, 100)
        assert store.segments(job.id) == [Segment(attempt=1, last_step=100), Segment(attempt=2, last_step=None)]

    @pytest.mark.parametrize("ending", ["succeeded", "failed", "retried", "cancelled", "paused"])
    def test_every_end_says_what_was_used(self, store: Store, ending: str) -> None:
        job = run(store, add(store, attempts=3))
        store.beat(job.id, 1, step=7, total=10)
        if ending == "succeeded":
            store.succeed(job.id, 1, step=7, scalars={}, provenance={}, usage=USED)
        elif ending == "cancelled":
            store.cancel(job.id)
            store.end_cancelled(job.id, 1, usage=USED)
        elif ending == "paused":
            store.pause(job.id)
            store.release(job.id, 1, usage=USED)
        else:
            reason = Reason.ENGINE if ending == "failed" else Reason.RESOURCE
            store.fail(job.id, 1, because(reason), usage=USED)
        (attempt,) = store.attempts(job.id)
        assert (attempt.outcome, attempt.last_step) == (ending, 7)
        assert Usage(ran=attempt.ran, cpu=attempt.cpu, peak_memory=attempt.peak_memory) == USED
        assert attempt.ended is not None

    def test_a_job_is_its_own_holder(self, store: Store) -> None:
        record = add(store)
        assert store.holder(record.id) == record


class TestSparing:
    def test_an_attempt_that_is_spared_goes_on(self, open_store: OpenStore) -> None:
        store = open_store(lease=OVER)
        spared, other = run(store, add(store)), run(store, add(store))
        asked = []

        def spare(attempt: Attempt, overdue: float) -> bool:
            asked.append((attempt.job_id, attempt.number, attempt.host, overdue > 0.9))
            return attempt.job_id == spared.id

        (record,) = store.expire(spare=spare)
        assert record.id == other.id
        assert sorted(asked) == sorted((job.id, 1, HOLDER.host, True) for job in (spared, other))
        assert store.get(spared.id) == spared

    def test_no_more_are_taken_than_asked_for(self, open_store: OpenStore) -> None:
        store = open_store(lease=OVER)
        for _ in range(3):
            run(store, add(store))
        assert [len(store.expire(limit=2)) for _ in range(3)] == [2, 1, 0]


def until_promoted(store: Store) -> list[JobRecord]:
    """Wait for the next jobs whose time has come."""
    found: list[JobRecord] = []
    until(lambda: found.extend(store.promote()) or found)
    return found


SMALLER = Correction(changes={"timestep": 0.5}, why="a smaller timestep", from_start=True)


class TestCorrections:
    def correct(self, store: Store, record: JobRecord, correction: Correction = SMALLER) -> JobRecord:
        claimed = run(store, record)
        after = store.fail(claimed.id, claimed.attempt, because(Reason.CONVERGENCE), usage=USED, correction=correction)
        assert after is not None
        return after

    def test_the_job_is_offered_again_with_other_parameters(self, store: Store) -> None:
        record = self.correct(store, add(store, attempts=1))
        assert (record.status, record.attempt, record.failures, record.failure) == (Status.QUEUED, 2, 0, None)
        assignment = store.assignment(record.id)
        assert assignment.corrected_request.parameters == {"steps": 10, "timestep": 0.5}
        assert assignment.corrected == {"timestep": 0.5}
        # What the user asked for stays what it was.
        assert store.request(record.id).parameters == {"steps": 10}

    def test_the_attempt_says_what_went_wrong_and_what_is_changed(self, store: Store) -> None:
        record = self.correct(store, add(store))
        [attempt] = store.attempts(record.id)
        assert attempt.outcome == "corrected"
        assert attempt.failure == because(Reason.CONVERGENCE)
        assert attempt.correction == SMALLER
        assert attempt.cpu == USED.cpu
        assert [event.text for event in store.events(record.id) if event.kind == "correction"] == [SMALLER.why]
        assert store.segments(record.id) == [Segment(attempt=1, last_step=0, abandoned=True)]

    def test_later_corrections_go_on_from_the_earlier(self, store: Store) -> None:
        record = self.correct(store, add(store))
        record = self.correct(store, record, Correction(changes={"steps": 20}, why="more steps"))
        assert store.assignment(record.id).corrected == {"timestep": 0.5, "steps": 20}
        assert [segment.abandoned for segment in store.segments(record.id)] == [True, False]

    def test_five_are_enough(self, store: Store) -> None:
        record = add(store)
        for _ in range(5):
            record = self.correct(store, record)
        record = self.correct(store, record)
        assert (record.status, record.attempt, record.reason) == (Status.FAILED, 6, Reason.CONVERGENCE)
        assert store.attempts(record.id)[-1].correction is None

    def test_none_are_made_that_nobody_wants(self, store: Store) -> None:
        assert self.correct(store, add(store, corrections=0)).status is Status.FAILED

    def test_a_cancel_goes_before(self, store: Store) -> None:
        claimed = run(store, add(store))
        store.cancel(claimed.id)
        after = store.fail(claimed.id, 1, because(Reason.CONVERGENCE), correction=SMALLER)
        assert after is not None
        assert after.status is Status.CANCELLED

    def test_a_stale_attempt_corrects_nothing(self, store: Store) -> None:
        claimed = run(store, add(store))
        store.fail(claimed.id, 1, because(Reason.LOST))
        assert store.fail(claimed.id, 1, because(Reason.CONVERGENCE), correction=SMALLER) is None
        assert store.assignment(claimed.id).corrected == {}
