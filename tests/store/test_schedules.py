"""Schedules turn into jobs, each turn once, on SQLite and on PostgreSQL."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from nanoos_lab.core.errors import ParameterError, UnknownNameError
from nanoos_lab.core.resources import Limits, RetryPolicy
from nanoos_lab.core.schedule import Repeat
from nanoos_lab.core.status import Status
from nanoos_lab.store import JobQuery, Store
from nanoos_lab.store.schedules import Schedules
from tests.store.samples import HOLDER, submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoos_lab.core.record import JobRecord

HOURLY = Repeat(interval=3600.0)


@pytest.fixture
def schedules(store: Store) -> Schedules:
    return Schedules(store)


def ago(**span: float) -> datetime:
    return datetime.now(UTC) - timedelta(**span)


def end(store: Store, job: JobRecord) -> None:
    """Let a worker run a job to its end."""
    assert store.claim(job.id, job.attempt, HOLDER)
    assert store.succeed(job.id, job.attempt, step=10, scalars={}, provenance={})


def test_a_due_schedule_submits_what_was_asked_for(store: Store, schedules: Schedules) -> None:
    how = {"retries": RetryPolicy(attempts=5), "limits": Limits(soft=60.0, hard=90.0, memory=2.0)}
    wanted = submission("nightly", queue="high_priority", priority=7, **how)
    record = schedules.add(wanted, HOURLY)

    (job,) = schedules.submit_due()

    assert (job.status, job.name, job.queue, job.priority) == (Status.QUEUED, "nightly", "high_priority", 7)
    assert job.max_attempts == 5
    assert store.assignment(job.id).limits == how["limits"]
    assert store.request(job.id) == wanted.request == record.request
    assert [one.text for one in store.events(job.id)] == ["queued", f"submitted by schedule {record.id}"]
    assert schedules.get(record.id).last_job == job.id
    assert [one.job_id for one in store.undelivered()] == [job.id]


def test_a_schedule_that_is_not_due_waits(store: Store, schedules: Schedules) -> None:
    later = datetime.now(UTC) + timedelta(hours=2)
    record = schedules.add(submission(not_before=later), HOURLY)
    assert abs(record.next - later) < timedelta(milliseconds=2)
    assert schedules.submit_due() == []
    nightly = schedules.add(submission(), Repeat.from_any("0 3 * * *"))
    assert (nightly.next.hour, nightly.next.minute, nightly.next > datetime.now(UTC)) == (3, 0, True)
    assert schedules.submit_due() == []


def test_a_turn_is_submitted_once(store: Store, schedules: Schedules) -> None:
    schedules.add(submission(), HOURLY)
    (job,) = schedules.submit_due()
    end(store, job)
    assert schedules.submit_due() == []


def test_a_lab_that_was_off_for_a_day_submits_once_and_keeps_the_rhythm(store: Store, schedules: Schedules) -> None:
    begin = ago(hours=24.5)
    record = schedules.add(submission(not_before=begin), HOURLY)
    (job,) = schedules.submit_due()
    end(store, job)
    assert schedules.submit_due() == []
    assert abs(schedules.get(record.id).next - (begin + timedelta(hours=25))) < timedelta(milliseconds=2)


def test_while_the_last_turn_s_job_has_not_ended_turns_are_left_out(store: Store, schedules: Schedules) -> None:
    record = schedules.add(submission(not_before=ago(hours=1)), Repeat(interval=1.0), times=2)
    (job,) = schedules.submit_due()
    _wait_for_turn(schedules, record.id)
    assert schedules.submit_due() == []
    left_out = schedules.get(record.id)
    assert (left_out.left, left_out.last_job) == (1, job.id)

    end(store, job)
    _wait_for_turn(schedules, record.id)
    assert [one.name for one in schedules.submit_due()] == [job.name]


def test_equal_turns_are_runs_of_their_own(store: Store, schedules: Schedules) -> None:
    schedules.add(submission(), HOURLY)
    schedules.add(submission(), HOURLY)
    first, second = schedules.submit_due()
    assert first.key == second.key
    assert (first.cached_from, second.cached_from) == (None, None)


def test_after_its_last_turn_a_schedule_is_gone(store: Store, schedules: Schedules) -> None:
    record = schedules.add(submission(), HOURLY, times=1)
    assert len(schedules.submit_due()) == 1
    assert schedules.all() == []
    with pytest.raises(UnknownNameError, match=record.id):
        schedules.get(record.id)


@pytest.mark.parametrize("times", [0, -1, 1.5, True, 2**31])
def test_how_many_turns_is_a_positive_whole_number(schedules: Schedules, times: object) -> None:
    with pytest.raises(ParameterError, match="times"):
        schedules.add(submission(), HOURLY, times=times)
    assert not schedules.any()


def test_schedules_are_listed_and_removed(store: Store, schedules: Schedules) -> None:
    late = schedules.add(submission("late", not_before=datetime.now(UTC) + timedelta(days=2)), HOURLY)
    raw = schedules.add(submission("soon", structure=None, task="script"), HOURLY)
    assert schedules.any()
    assert schedules.all() == [raw, late]
    assert schedules.remove(late.id) is True
    assert schedules.remove(late.id) is False
    assert schedules.all() == [raw]


def test_a_removed_schedule_leaves_its_jobs(store: Store, schedules: Schedules) -> None:
    record = schedules.add(submission(), HOURLY)
    (job,) = schedules.submit_due()
    schedules.remove(record.id)
    assert store.get(job.id).status is Status.QUEUED


def test_reconcilers_that_race_submit_each_turn_once(open_store: Callable[..., Store]) -> None:
    first = Schedules(open_store())
    names = [f"schedule {number}" for number in range(20)]
    for name in names:
        first.add(submission(name), HOURLY)
    racers = [Schedules(open_store()) for _ in range(4)]
    with ThreadPoolExecutor(len(racers)) as pool:
        rounds = list(pool.map(Schedules.submit_due, racers))
    assert sorted(job.name for one in rounds for job in one) == sorted(names)
    assert sorted(job.name for job in open_store().find(JobQuery())) == sorted(names)


def _wait_for_turn(schedules: Schedules, schedule_id: str) -> None:
    """Return when the next turn of a schedule has come."""
    while (rest := (schedules.get(schedule_id).next - datetime.now(UTC)).total_seconds()) >= 0:
        time.sleep(rest + 0.001)
