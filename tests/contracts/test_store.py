"""What every store must keep, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import multiprocessing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nanoos_lab.core.errors import JobNotFoundError, ParameterError, TransitionError
from nanoos_lab.core.record import Failure
from nanoos_lab.core.resources import Resources
from nanoos_lab.core.status import MOVES, Reason, Status
from nanoos_lab.store import Holder, JobQuery, Orders, Store, delivery
from tests.store.samples import HOLDER, submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoos_lab.core.record import JobRecord

    OpenStore = Callable[..., Store]

NOBODY = "0" * 32
BROKEN = Failure(reason=Reason.ENGINE, message="ERROR: Lost atoms", remedy="use a smaller timestep")
#: A lease that is over as soon as it begins.
OVER = -1.0


def add(store: Store, **changes: object) -> JobRecord:
    return store.add([submission(**changes)])[0]


def add_running(store: Store, **changes: object) -> JobRecord:
    record = store.claim(add(store, **changes).id, 1, HOLDER)
    assert record is not None
    return record


def succeed(store: Store, job_id: str, attempt: int = 1) -> bool:
    return store.succeed(job_id, attempt, step=10, scalars={}, provenance={})


class TestAdding:
    def test_a_new_job_is_queued_with_its_first_attempt(self, store: Store) -> None:
        record = add(store, name="melt", queue="high_priority", priority=20, attempts=5)
        assert (record.status, record.attempt, record.max_attempts) == (Status.QUEUED, 1, 5)
        assert (record.name, record.formula, record.atoms) == ("melt", "Cu4", 4)
        assert (record.engine, record.task, record.queue, record.priority) == ("mock", "md", "high_priority", 20)
        assert abs(datetime.now(UTC) - record.created) < timedelta(seconds=30)
        assert store.get(record.id) == record

    def test_the_request_comes_back_as_it_was(self, store: Store) -> None:
        wanted = submission(parameters={"steps": 7, "temperature": 300.5, "seed": None, "potential": "Å"})
        (record,) = store.add([wanted])
        assert store.request(record.id) == wanted.request
        assert store.request(record.id).structure == wanted.request.structure
        assert record.key == wanted.request.key

    def test_resources_are_part_of_the_request(self, store: Store) -> None:
        wanted = submission()
        request = type(wanted.request)(
            structure=None, engine="lammps", task="script", parameters={}, resources=Resources(ranks=4)
        )
        (record,) = store.add([type(wanted)(request=request, name="raw")])
        assert store.request(record.id).resources == store.resources(record.id) == Resources(ranks=4)
        with pytest.raises(JobNotFoundError):
            store.resources(NOBODY)
        assert store.request(record.id).structure is None
        assert (record.formula, record.atoms) == ("", 0)

    def test_many_jobs_share_one_structure_and_keep_their_order(self, store: Store) -> None:
        records = store.add([submission(name=f"job {number}") for number in range(300)])
        assert [record.name for record in records] == [f"job {number}" for number in range(300)]
        assert [record.id for record in records] == sorted(record.id for record in records)
        again = add(store)
        assert store.request(again.id).structure == store.request(records[0].id).structure

    def test_adding_nothing_is_nothing(self, store: Store) -> None:
        assert store.add([]) == []

    def test_jobs_are_added_all_or_none(self, store: Store) -> None:
        with pytest.raises(JobNotFoundError):
            store.get(NOBODY)
        with pytest.raises(Exception, match=r"NOT NULL|not-null"):
            store.add([submission(), submission(queue=None)])
        assert store.find(JobQuery()) == []

    def test_texts_that_databases_refuse_are_cleaned(self, store: Store) -> None:
        assert add(store, name="a\0b\ud800c").name == "ab?c"


class TestReading:
    def test_a_job_that_does_not_exist_is_not_found(self, store: Store) -> None:
        for look in (store.get, store.request, store.cancel):
            with pytest.raises(JobNotFoundError, match=NOBODY):
                look(NOBODY)
        with pytest.raises(JobNotFoundError):
            store.add_event(NOBODY, 1, "warning", "who?")
        assert store.get_many([NOBODY]) == {}
        assert store.attempts(NOBODY) == []
        assert store.events(NOBODY) == []

    def test_many_are_read_at_once(self, store: Store) -> None:
        records = store.add([submission() for _ in range(3)])
        found = store.get_many([record.id for record in records] + [NOBODY])
        assert found == {record.id: record for record in records}

    def test_the_newest_are_found_first_page_by_page(self, store: Store) -> None:
        names = [f"job {number}" for number in range(7)]
        store.add([submission(name=name) for name in names])
        first = store.find(JobQuery(limit=4))
        rest = store.find(JobQuery(limit=4, before=first[-1].id))
        assert [record.name for record in first + rest] == names[::-1]
        assert len(store.find(JobQuery(limit=None))) == 7

    def test_jobs_are_found_by_what_is_known_of_them(self, store: Store) -> None:
        melt = add(store, name="melt", engine="lammps")
        eos = add(store, name="eos", task="static", queue="default")
        store.cancel(eos.id)
        found = {
            "engine": store.find(JobQuery(engine="lammps")),
            "name": store.find(JobQuery(name="melt")),
            "status": store.find(JobQuery(status="queued")),
            "task": store.find(JobQuery(task="md")),
            "queue": store.find(JobQuery(queue="simulations")),
            "key": store.find(JobQuery(key=melt.key)),
            "ids": store.find(JobQuery(ids=[melt.id, NOBODY])),
        }
        assert all(jobs == [melt] for jobs in found.values()), found
        both = store.find(JobQuery(status=[Status.QUEUED, Status.CANCELLED], formula="Cu4"))
        assert [record.id for record in both] == [eos.id, melt.id]
        assert store.find(JobQuery(ids=[])) == []

    def test_jobs_are_counted_by_status(self, store: Store) -> None:
        add(store)
        add_running(store)
        store.cancel(add(store).id)
        counts = {status: number for status, number in store.count().items() if number}
        assert counts == {Status.QUEUED: 1, Status.RUNNING: 1, Status.CANCELLED: 1}


class TestRunning:
    def test_a_claim_makes_the_attempt_its_holders(self, store: Store) -> None:
        record = add_running(store)
        assert (record.status, record.worker, record.step) == (Status.RUNNING, "worker-1", 0)
        assert record.started is not None
        assert record.lease_until is not None
        assert record.lease_until - record.started == pytest.approx(timedelta(seconds=60), abs=timedelta(seconds=1))
        (attempt,) = store.attempts(record.id)
        assert (attempt.number, attempt.worker, attempt.host, attempt.pid) == (1, "worker-1", "node7", 4711)
        assert (attempt.started, attempt.ended, attempt.outcome) == (record.started, None, None)

    def test_an_attempt_is_claimed_once(self, store: Store) -> None:
        job = add_running(store)
        assert store.claim(job.id, 1, Holder(worker="late", host="node8", pid=1)) is None
        assert store.get(job.id).worker == "worker-1"

    def test_only_the_attempt_that_is_offered_can_be_claimed(self, store: Store) -> None:
        job = add(store)
        assert store.claim(job.id, 2, HOLDER) is None
        assert store.claim(NOBODY, 1, HOLDER) is None
        store.cancel(job.id)
        assert store.claim(job.id, 1, HOLDER) is None

    def test_racing_processes_claim_each_job_once(self, open_store: OpenStore, database_url: str) -> None:
        jobs = [record.id for record in open_store().add([submission() for _ in range(20)])]
        fork = multiprocessing.get_context("fork")
        with fork.Pool(4) as pool:
            won = pool.map(claim_all, [(database_url, jobs, f"racer {number}") for number in range(4)], chunksize=1)
            # Left to the end of the block, they are killed, and one that holds the lock of the others hangs them all.
            pool.close()
            pool.join()
        assert sorted(itertools.chain(*won)) == sorted(jobs)

    def test_a_beat_renews_the_lease_and_tells_the_progress(self, store: Store) -> None:
        job = add_running(store)
        assert store.beat(job.id, 1, step=3, total=12) == Orders(current=True, cancel=False)
        beaten = store.get(job.id)
        assert (beaten.step, beaten.total, beaten.progress) == (3, 12, 0.25)
        assert beaten.lease_until > job.lease_until
        store.beat(job.id, 1, step=6, total=None)
        assert store.get(job.id).progress == 0.5

    def test_a_beat_brings_the_wish_to_cancel(self, store: Store) -> None:
        job = add_running(store)
        store.cancel(job.id)
        assert store.beat(job.id, 1, step=1, total=None) == Orders(current=True, cancel=True)

    def test_a_success_is_kept_with_its_scalars_and_provenance(self, store: Store) -> None:
        job = add_running(store)
        scalars = {"energy": -3.5, "converged": True, "steps": 7, "phase": "fcc"}
        provenance = {"engine": "mock 1.0", "seed": np.int64(3)}
        assert store.succeed(job.id, 1, step=10, scalars=scalars, provenance=provenance)
        record = store.get(job.id)
        assert (record.status, record.step, record.progress) == (Status.SUCCEEDED, 10, 1.0)
        assert record.scalars == scalars
        assert (record.lease_until, record.failure) == (None, None)
        assert record.ended >= record.started
        (attempt,) = store.attempts(job.id)
        assert (attempt.outcome, attempt.provenance) == ("succeeded", {"engine": "mock 1.0", "seed": 3})
        assert attempt.ended is not None

    def test_a_failure_is_kept_with_its_reason(self, store: Store) -> None:
        job = add_running(store)
        assert store.fail(job.id, 1, BROKEN)
        record = store.get(job.id)
        assert (record.status, record.failure, record.reason) == (Status.FAILED, BROKEN, Reason.ENGINE)
        assert store.attempts(job.id)[0].failure == BROKEN

    def test_what_has_ended_cannot_end_again(self, store: Store) -> None:
        job = add_running(store)
        assert succeed(store, job.id)
        finished = store.get(job.id)
        assert not succeed(store, job.id)
        assert not store.fail(job.id, 1, BROKEN)
        assert not store.end_cancelled(job.id, 1)
        assert store.beat(job.id, 1, step=99, total=None) == Orders(current=False, cancel=False)
        assert store.cancel(job.id) == finished
        assert store.get(job.id) == finished

    def test_a_stale_attempt_changes_nothing(self, open_store: OpenStore) -> None:
        store = open_store(lease=OVER)
        job = add_running(store)
        store.expire()
        current = store.claim(job.id, 2, Holder(worker="worker-2", host="node8", pid=1))
        assert store.beat(job.id, 1, step=50, total=None) == Orders(current=False, cancel=False)
        assert not succeed(store, job.id, attempt=1)
        assert not store.fail(job.id, 1, BROKEN)
        assert not store.end_cancelled(job.id, 1)
        assert store.lose(job.id, 1, "gone") is None
        assert store.get(job.id) == current
        assert succeed(store, job.id, attempt=2)
        assert [attempt.outcome for attempt in store.attempts(job.id)] == ["lost", "succeeded"]

    def test_the_history_tells_the_story_in_order(self, store: Store) -> None:
        job = add_running(store)
        store.add_event(job.id, 1, "warning", "the potential is old")
        store.fail(job.id, 1, BROKEN)
        events = store.events(job.id)
        assert [(event.kind, event.text) for event in events] == [
            ("status", "queued"),
            ("status", "running on worker-1"),
            ("warning", "the potential is old"),
            ("status", "failed (engine): ERROR: Lost atoms"),
        ]
        assert [event.number for event in events] == sorted({event.number for event in events})
        assert store.events(job.id, after=events[1].number) == events[2:]
        assert {event.attempt for event in events} == {1}


class TestCancelling:
    def test_a_waiting_job_is_cancelled_at_once(self, store: Store) -> None:
        record = store.cancel(add(store).id)
        assert record.status is Status.CANCELLED
        assert record.ended is not None
        assert record.cancel_requested is not None
        assert store.undelivered() == []

    def test_a_running_job_is_asked_to_stop(self, store: Store) -> None:
        job = add_running(store)
        asked = store.cancel(job.id)
        assert asked.status is Status.RUNNING
        assert asked.cancel_requested is not None
        assert store.cancel(job.id) == asked
        assert store.end_cancelled(job.id, 1)
        assert store.get(job.id).status is Status.CANCELLED
        assert store.attempts(job.id)[0].outcome == "cancelled"

    def test_a_run_that_ends_before_it_hears_of_the_cancel_keeps_its_result(self, store: Store) -> None:
        job = add_running(store)
        store.cancel(job.id)
        assert succeed(store, job.id)
        assert store.get(job.id).status is Status.SUCCEEDED


class TestLosing:
    def test_a_running_lease_is_left_alone(self, store: Store) -> None:
        job = add_running(store)
        assert store.expire() == []
        assert store.get(job.id) == job

    def test_a_job_without_its_worker_is_offered_again(self, open_store: OpenStore) -> None:
        store = open_store(lease=OVER)
        job = add_running(store)
        store.mark_sent([delivery(job)])
        (record,) = store.expire()
        assert (record.status, record.attempt, record.worker) == (Status.QUEUED, 2, None)
        assert (record.lease_until, record.started, record.failure) == (None, None, None)
        assert store.undelivered() == [delivery(record)]
        (attempt,) = store.attempts(job.id)
        assert (attempt.outcome, attempt.failure.reason) == ("lost", Reason.LOST)
        assert store.expire() == []

    def test_a_job_that_lost_its_last_worker_has_failed(self, open_store: OpenStore) -> None:
        store = open_store(lease=OVER)
        job = add(store, attempts=2)
        for attempt in (1, 2):
            store.claim(job.id, attempt, HOLDER)
            (record,) = store.expire()
        assert (record.status, record.reason, record.attempt) == (Status.FAILED, Reason.LOST, 2)
        assert record.failure.remedy
        assert [attempt.outcome for attempt in store.attempts(job.id)] == ["lost", "failed"]

    def test_a_job_that_was_to_be_cancelled_is_cancelled_when_its_worker_is_lost(self, open_store: OpenStore) -> None:
        store = open_store(lease=OVER)
        job = add_running(store)
        store.cancel(job.id)
        (record,) = store.expire()
        assert record.status is Status.CANCELLED

    def test_a_worker_that_is_known_to_be_gone_is_not_waited_for(self, store: Store) -> None:
        job = add_running(store)
        record = store.lose(job.id, 1, "its process was killed by signal 9")
        assert (record.status, record.attempt) == (Status.QUEUED, 2)
        assert store.attempts(job.id)[0].failure.message == "its process was killed by signal 9"


class TestDelivering:
    def test_a_new_job_waits_for_its_message(self, store: Store) -> None:
        job = add(store, queue="default", priority=9)
        (waiting,) = store.undelivered()
        assert waiting == delivery(job)
        assert (waiting.message_id, waiting.queue, waiting.priority) == (f"{job.id}_1", "default", 9)
        assert waiting.description == "mock Cu4 md"

    def test_a_sent_message_is_due_again_only_after_a_while(self, open_store: OpenStore) -> None:
        store = open_store()
        add(store)
        store.mark_sent(store.undelivered())
        assert store.undelivered() == []
        impatient = open_store(resend=OVER)
        job = add(impatient)
        impatient.mark_sent([delivery(job)])
        assert impatient.undelivered() == [delivery(job)]

    def test_a_message_that_comes_too_early_can_be_put_off(self, open_store: OpenStore) -> None:
        store = open_store(resend=OVER)
        job = add(store)
        store.mark_sent([delivery(job)], again=3600.0)
        assert store.undelivered() == []
        store.mark_sent([delivery(job)], again=OVER)
        assert store.undelivered() == [delivery(job)]

    def test_what_runs_or_has_ended_needs_no_message(self, store: Store) -> None:
        running = add_running(store)
        store.mark_sent([delivery(running)])
        store.cancel(add(store).id)
        assert store.undelivered() == []

    def test_the_longest_due_come_first_and_no_more_than_asked_for(self, store: Store) -> None:
        jobs = store.add([submission() for _ in range(5)])
        assert store.undelivered(limit=2) == [delivery(job) for job in jobs[:2]]
        store.mark_sent(store.undelivered(limit=2))
        assert store.undelivered(limit=2) == [delivery(job) for job in jobs[2:4]]


class TestMovingByHand:
    def test_only_legal_moves_are_made(self, store: Store) -> None:
        for make in (add, add_running, add_succeeded, add_failed, add_cancelled):
            for to in Status:
                job = make(store)
                if to in MOVES[job.status]:
                    continue
                with pytest.raises(TransitionError, match=f"from {job.status} to {to}"):
                    store.move(job.id, to=to, expected=job.status, attempt=job.attempt, failure=BROKEN)
                assert store.get(job.id) == job

    def test_a_failed_job_is_tried_again(self, store: Store) -> None:
        job = add_failed(store, attempts=1)
        record = store.move(job.id, to=Status.QUEUED, expected=Status.FAILED, attempt=1)
        assert (record.status, record.attempt, record.failures) == (Status.QUEUED, 2, 0)
        assert (record.failure, record.ended) == (None, None)
        assert store.undelivered() == [delivery(record)]

    def test_a_queued_job_is_failed_with_a_reason(self, store: Store) -> None:
        job = add(store)
        with pytest.raises(ParameterError, match="failure"):
            store.move(job.id, to=Status.FAILED, expected=Status.QUEUED, attempt=1)
        record = store.move(job.id, to=Status.FAILED, expected=Status.QUEUED, attempt=1, failure=BROKEN)
        assert (record.status, record.failure) == (Status.FAILED, BROKEN)

    def test_a_job_that_is_elsewhere_is_not_moved(self, store: Store) -> None:
        job = add(store)
        with pytest.raises(TransitionError, match=r"is queued \(attempt 1\), not failed"):
            store.move(job.id, to=Status.QUEUED, expected=Status.FAILED, attempt=1)
        with pytest.raises(TransitionError, match=r"not queued \(attempt 2\)"):
            store.move(job.id, to=Status.CANCELLED, expected=Status.QUEUED, attempt=2)
        with pytest.raises(JobNotFoundError):
            store.move(NOBODY, to=Status.CANCELLED, expected=Status.QUEUED, attempt=1)

    def test_only_a_claim_makes_a_job_running(self, store: Store) -> None:
        with pytest.raises(TransitionError, match="claim"):
            store.move(add(store).id, to=Status.RUNNING, expected=Status.QUEUED, attempt=1)

    def test_a_lease_protects_its_attempt(self, store: Store) -> None:
        job = add_running(store)
        for to in MOVES[Status.RUNNING]:
            with pytest.raises(TransitionError, match="worker-1"):
                store.move(job.id, to=to, expected=Status.RUNNING, attempt=1, failure=BROKEN)
        assert store.get(job.id) == job

    def test_an_attempt_whose_lease_is_over_can_be_ended(self, open_store: OpenStore) -> None:
        store = open_store(lease=OVER)
        job = add_running(store)
        record = store.move(job.id, to=Status.FAILED, expected=Status.RUNNING, attempt=1, failure=BROKEN)
        assert record.status is Status.FAILED
        assert store.attempts(job.id)[0].outcome == "failed"


def add_succeeded(store: Store) -> JobRecord:
    job = add_running(store)
    assert succeed(store, job.id)
    return store.get(job.id)


def add_failed(store: Store, **changes: object) -> JobRecord:
    job = add_running(store, **changes)
    assert store.fail(job.id, 1, BROKEN) is not None
    return store.get(job.id)


def add_cancelled(store: Store) -> JobRecord:
    return store.cancel(add(store).id)


def claim_all(race: tuple[str, list[str], str]) -> list[str]:
    """Try to claim every job; return those that were won."""
    url, jobs, name = race
    store = Store(url)
    won = [job_id for job_id in jobs if store.claim(job_id, 1, Holder(worker=name, host="here", pid=1))]
    store.close()
    return won
