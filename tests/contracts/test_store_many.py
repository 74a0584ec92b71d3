"""What every store must keep of changes of many jobs at once, by few statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nanoos_lab.core.errors import JobNotFoundError
from nanoos_lab.core.record import Failure
from nanoos_lab.core.request import Dependency
from nanoos_lab.core.resources import Limits, RetryPolicy
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.store import Orders
from nanoos_lab.store.work import Work
from tests.store.samples import HOLDER, submission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.store import Store

NOBODY = "0" * 32
HOT, COLD = {"temperature": 900.0}, {"temperature": 300.0}
BROKEN = Failure(reason=Reason.ENGINE, message="ERROR: Lost atoms\nLast command: run 100")
#: Jobs of a large group, and statements that a change of all of them may take.
MANY, FEW = 1000, 15


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that were run; many alike that are sent together count once."""
    run: list[str] = []

    def noted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Work, prepared: Any, *values: Any) -> Any:
            run.append(str(getattr(prepared, "text", prepared)))
            return method(self, prepared, *values)

        return call

    for name in ("_execute", "run_many"):
        monkeypatch.setattr(Work, name, noted(getattr(Work, name)))
    return run


def add(store: Store, count: int, **changes: object) -> list[JobRecord]:
    return store.add([submission(name=f"job {number}", **changes) for number in range(count)])


def equal(store: Store) -> JobRecord:
    """Add a job that waits for the results of an equal one, if there is one on its way."""
    return store.add([submission(cache=True)])[0]


def run(store: Store, record: JobRecord) -> JobRecord:
    claimed = store.claim(record.id, store.get(record.id).attempt, HOLDER)
    assert claimed is not None
    return claimed


def succeed(store: Store, record: JobRecord) -> None:
    run(store, record)
    assert store.succeed(record.id, 1, step=10, scalars={}, provenance={})


def fail(store: Store, record: JobRecord) -> None:
    run(store, record)
    assert store.fail(record.id, 1, BROKEN) is not None


def ids(records: Iterable[JobRecord]) -> list[str]:
    return [record.id for record in records]


def statuses(store: Store, records: Sequence[JobRecord]) -> list[Status]:
    found = store.get_many(ids(records))
    return [found[record.id].status for record in records]


def texts(store: Store, record: JobRecord, kind: str) -> list[str]:
    return [event.text for event in store.events(record.id) if event.kind == kind]


def test_a_thousand_jobs_rest_and_go_on_by_few_statements(store: Store, statements: list[str]) -> None:
    records = add(store, MANY)
    running = run(store, records[3])
    statements.clear()
    paused = store.pause_many(ids(records))
    assert len(statements) <= FEW
    assert ids(paused) == ids(records)
    assert [one.status for one in paused] == [Status.PENDING] * 3 + [Status.RUNNING] + [Status.PENDING] * (MANY - 4)
    assert all(one.paused is not None for one in paused)
    assert store.undelivered() == []
    assert store.beat(running.id, 1, step=1, total=None).pause

    statements.clear()
    resumed = store.resume_many(ids(records))
    assert len(statements) <= FEW
    assert [one.status for one in resumed] == [Status.QUEUED] * 3 + [Status.RUNNING] + [Status.QUEUED] * (MANY - 4)
    assert all(one.paused is None for one in resumed)
    assert {one.job_id for one in store.undelivered()} == set(ids(records)) - {running.id}
    assert store.beat(running.id, 1, step=1, total=None) == Orders(current=True, cancel=False)
    assert texts(store, records[0], "pause") == ["a pause was asked for", "it is to go on"]
    assert texts(store, records[0], "status") == ["queued", "pending", "queued"]


def test_many_are_returned_in_the_order_in_which_they_were_named(store: Store) -> None:
    first, second, third = add(store, 3)
    for change in (store.pause_many, store.resume_many):
        assert ids(change([third.id, first.id, second.id, first.id])) == ids([third, first, second, first])
    assert store.pause_many([]) == store.resume_many([]) == store.retry_many([]) == store.steer_many({}) == []


def test_what_has_ended_and_what_rests_already_stays_as_it_is(store: Store) -> None:
    ended, resting, other = add(store, 3)
    succeed(store, ended)
    before = [store.get(ended.id), store.pause(resting.id)]
    assert store.pause_many(ids([ended, resting, other]))[:2] == before
    assert texts(store, resting, "pause") == ["a pause was asked for"]
    assert texts(store, ended, "pause") == []
    store.resume_many(ids([ended, resting, other]))
    store.resume_many(ids([ended, resting, other]))
    assert texts(store, resting, "pause") == ["a pause was asked for", "it is to go on"]
    assert store.get(ended.id) == before[0]


def test_of_those_that_go_on_only_what_waits_for_nothing_is_offered(store: Store) -> None:
    (parent,) = add(store, 1)
    (child,) = add(store, 1, after=(Dependency(parent=parent.id),))
    store.pause_many(ids([parent, child]))
    assert [one.status for one in store.resume_many(ids([parent, child]))] == [Status.QUEUED, Status.PENDING]
    store.pause_many(ids([child]))
    succeed(store, parent)
    assert store.get(child.id).status is Status.PENDING
    assert store.resume_many(ids([child]))[0].status is Status.QUEUED


def test_none_is_changed_if_one_does_not_exist(store: Store) -> None:
    queued, failed = add(store, 2)
    fail(store, failed)
    names = [*ids([queued, failed]), NOBODY]
    before = [store.events(job_id) for job_id in names]
    for change in (
        store.pause_many,
        store.resume_many,
        store.retry_many,
        lambda some: store.steer_many(dict.fromkeys(some, HOT)),
        store.assignments,
    ):
        for unknown in (NOBODY, "no\0 id"):
            with pytest.raises(JobNotFoundError):
                change([*names[:2], unknown])
    assert [store.events(job_id) for job_id in names] == before
    assert statuses(store, [queued, failed]) == [Status.QUEUED, Status.FAILED]


def test_a_thousand_jobs_are_steered_by_few_statements(store: Store, statements: list[str]) -> None:
    records = add(store, MANY)
    run(store, records[3])
    store.steer(records[0].id, COLD)
    statements.clear()
    steered = store.steer_many(dict.fromkeys(ids(records), HOT), who="ada@node7")
    assert len(statements) <= FEW
    assert ids(steered) == ids(records)
    assert [one.steerings for one in steered] == [2] + [1] * (MANY - 1)
    assert all(one.varied for one in steered)
    (last,) = store.steerings(records[3].id)
    assert (last.number, last.changes, last.who, last.step) == (1, HOT, "ada@node7", None)
    assert [(one.number, one.changes) for one in store.steerings(records[0].id)] == [(1, COLD), (2, HOT)]
    assert store.beat(records[3].id, 1, step=1, total=None).steerings == (last,)
    assert texts(store, records[0], "steering") == [
        "1 was asked for: temperature=300.0",
        "2 was asked for: temperature=900.0",
    ]
    assert texts(store, records[3], "steering") == ["1 was asked for: temperature=900.0"]

    statements.clear()
    assignments = store.assignments(ids(records))
    assert len(statements) <= 2
    assert list(assignments) == ids(records)
    assert [one.changes for one in assignments[records[0].id].steerings] == [COLD, HOT]
    assert assignments[records[3].id].corrected_request.parameters == store.request(records[3].id).parameters


def test_each_job_has_its_own_changes(store: Store) -> None:
    first, second = add(store, 2)
    store.steer_many({first.id: HOT, second.id: COLD})
    assert [store.steerings(one.id)[0].changes for one in (first, second)] == [HOT, COLD]
    assert texts(store, second, "steering") == ["1 was asked for: temperature=300.0"]


def test_what_has_ended_or_is_being_cancelled_is_not_steered(store: Store) -> None:
    ended, ending, going = add(store, 3)
    succeed(store, ended)
    run(store, ending)
    store.cancel(ending.id)
    before = [store.get(ended.id), store.get(ending.id)]
    (steered,) = store.steer_many(dict.fromkeys(ids([ended, ending, going]), HOT))
    assert (steered.id, steered.steerings) == (going.id, 1)
    assert [store.get(ended.id), store.get(ending.id)] == before
    assert store.steerings(ended.id) == store.steerings(ending.id) == ()


def test_equal_jobs_that_are_steered_together_have_their_results_each_for_itself(store: Store) -> None:
    leader, inside, also_inside, outside = (equal(store) for _ in range(4))
    run(store, leader)
    assert [store.get(one.id).cached_from for one in (inside, also_inside, outside)] == [leader.id] * 3
    store.steer_many(dict.fromkeys(ids([leader, inside, also_inside]), HOT))
    found = [store.get(one.id) for one in (leader, inside, also_inside, outside)]
    assert [one.status for one in found] == [Status.RUNNING, Status.QUEUED, Status.QUEUED, Status.QUEUED]
    assert [(one.cached_from, one.varied) for one in found] == [(None, True)] * 3 + [(None, False)]
    assert {one.job_id for one in store.undelivered()} == set(ids([inside, also_inside, outside]))


def test_a_run_that_only_steered_jobs_still_wanted_is_cancelled(store: Store) -> None:
    leader, *others = (equal(store) for _ in range(3))
    run(store, leader)
    store.cancel(leader.id)
    assert not store.beat(leader.id, 1, step=1, total=None).cancel
    store.steer_many({others[0].id: HOT})
    assert not store.beat(leader.id, 1, step=1, total=None).cancel
    store.steer_many({others[1].id: HOT})
    assert store.beat(leader.id, 1, step=1, total=None).cancel


def test_the_failed_ones_of_many_are_tried_again(store: Store, statements: list[str]) -> None:
    records = add(store, 40)
    for record in records[:30]:
        fail(store, record)
    succeed(store, records[30])
    statements.clear()
    again = store.retry_many(ids(records), limits=Limits(soft=100.0, memory=2.0), retries=RetryPolicy(attempts=7))
    assert len(statements) <= FEW
    assert ids(again) == ids(records[:30])
    assert {(one.status, one.attempt, one.failures, one.max_attempts, one.failure) for one in again} == {
        (Status.QUEUED, 2, 0, 7, None)
    }
    assert statuses(store, records[30:]) == [Status.SUCCEEDED] + [Status.QUEUED] * 9
    assert store.assignment(records[0].id).limits == Limits(soft=100.0, memory=2.0)
    assert texts(store, records[0], "status")[-2:] == ["failed (engine): ERROR: Lost atoms", "queued"]
    fail_again = store.claim(records[0].id, 2, HOLDER)
    assert fail_again is not None
    store.fail(records[0].id, 2, BROKEN)
    (third,) = store.retry_many(ids(records[:1]))
    assert (third.attempt, third.max_attempts) == (3, 7)
    assert store.assignment(records[0].id).limits == Limits(soft=100.0, memory=2.0)


def test_many_jobs_are_counted_by_one_question(store: Store, statements: list[str]) -> None:
    records = add(store, MANY)
    for record, (step, total) in zip(records, [(10, 40), (30, 40), (50, 40), (7, None), (7, 0)], strict=False):
        run(store, record)
        store.beat(record.id, 1, step=step, total=total)
    fail(store, records[5])
    statements.clear()
    tally = store.tally([*ids(records), records[0].id, NOBODY])
    assert len(statements) == 1
    assert {status: count for status, (count, _) in tally.items() if count} == {
        Status.RUNNING: 5,
        Status.FAILED: 1,
        Status.QUEUED: MANY - 6,
    }
    found = store.get_many(ids(records))
    assert tally[Status.RUNNING][1] == pytest.approx(2.0)
    assert tally[Status.RUNNING][1] == pytest.approx(sum(found[one.id].progress for one in records[:5]))
    assert store.tally([]) == dict.fromkeys(Status, (0, 0.0))


def test_more_jobs_than_one_question_takes_are_counted_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanoos_lab.store.terms.BATCH", 4)
    records = add(store, 10)
    run(store, records[9])
    fail(store, records[0])
    counts = {status: count for status, (count, _) in store.tally(ids(records)).items() if count}
    assert counts == {Status.RUNNING: 1, Status.FAILED: 1, Status.QUEUED: 8}
    assert ids(store.foremost(ids(records), 3)) == ids([records[9], records[0], records[1]])
    assert len(store.pause_many(ids(records))) == 10
    assert store.undelivered() == []


def test_the_foremost_are_those_that_run_then_the_failed_then_those_that_wait(
    store: Store, statements: list[str]
) -> None:
    done, queued, failed, running, held, cancelled = records = add(store, 6)
    succeed(store, done)
    fail(store, failed)
    run(store, running)
    store.pause(held.id)
    store.cancel(cancelled.id)
    statements.clear()
    assert ids(store.foremost(ids(records), 10)) == ids([running, failed, queued, held, cancelled, done])
    assert len(statements) == 1
    assert store.foremost(ids(records), 2) == [store.get(running.id), store.get(failed.id)]
    assert store.foremost([NOBODY], 2) == []
