"""Schedules: rows that a reconciler turns into jobs when their time has come, each turn once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, String, bindparam, delete, insert, select, update

from nanoos_lab.core.errors import ParameterError, UnknownNameError
from nanoos_lab.core.request import JobRequest, Submission
from nanoos_lab.core.resources import Limits, RetryPolicy
from nanoos_lab.core.schedule import Repeat, ScheduleRecord
from nanoos_lab.core.status import Status
from nanoos_lab.core.structures import Structure
from nanoos_lab.store import moves, sql
from nanoos_lab.store.connect import persistent
from nanoos_lab.store.ids import new_ids
from nanoos_lab.store.records import moment, storable, stored, to_json
from nanoos_lab.store.schema import clock, jobs, schedules, structures
from nanoos_lab.store.submit import insert_jobs

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Insert, Select, Update
    from sqlalchemy.sql.dml import ReturningDelete

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.store.reading import StoreReader
    from nanoos_lab.store.work import Row, Work


class Schedules:
    """The schedules of a store.

    Parameters
    ----------
    store
        Theirs, whose errors every method raises.
    """

    def __init__(self, store: StoreReader) -> None:
        self._store = store

    def add(self, submission: Submission, repeat: Repeat, *, times: int | None = None) -> ScheduleRecord:
        """Record a schedule.

        Parameters
        ----------
        submission
            What to submit each time. Its `not_before` is the moment from which the schedule counts; it depends on no
            other job, and equal jobs do not matter: each turn is a run.
        repeat
            When.
        times
            How many submissions; None for ever.

        Raises
        ------
        ParameterError
            If `times` is no positive whole number.
        """
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or not 0 < times < 2**31):
            raise ParameterError("times", times, "a whole number from 1 on, or None for ever")
        structure = submission.request.structure
        with self._store._writing() as work:
            ((now,),) = work.run(sql.now)
            begin = submission.not_before or moment(now)
            row = {
                "id": new_ids(1)[0],
                "name": storable(submission.name),
                "structure": structure.digest if structure else None,
                "request": to_json(submission.request.to_json()),
                "options": to_json(_options(submission)),
                "interval": repeat.interval,
                "cron": repeat.cron,
                "next": stored(repeat.first(begin), now),
                "left": times,
                "last_job": None,
                "created": now,
            }
            if structure is not None:
                work.run(sql.add_structure, work.dialect, digest=structure.digest, data=structure.data)
            work.run(_add, **row)
            return _record(work.run(_one, schedule=row["id"])[0])

    def all(self) -> list[ScheduleRecord]:
        """Return the schedules, the next due first."""
        with self._store._reading() as work:
            return [_record(row) for row in work.run(_all)]

    def get(self, schedule_id: str) -> ScheduleRecord:
        """Return one schedule.

        Raises
        ------
        UnknownNameError
            If there is none of that id.
        """
        with self._store._reading() as work:
            rows = work.run(_one, schedule=schedule_id)
        if not rows:
            raise UnknownNameError("schedule", schedule_id, [record.id for record in self.all()])
        return _record(rows[0])

    def any(self) -> bool:
        """Say whether there is a schedule."""
        with self._store._reading() as work:
            return bool(work.run(_any))

    def remove(self, schedule_id: str) -> bool:
        """Forget a schedule; its jobs stay. False if it was not there (any more)."""
        with self._store._writing() as work:
            return bool(work.run(_remove, schedule=schedule_id))

    def submit_due(self, *, limit: int = 1000) -> list[JobRecord]:
        """Submit a job of each schedule whose time has come.

        Turns that were missed are not made up for: a lab that was off for a day submits once. While the job of a
        schedule's last turn has not ended, its turns are left out.
        """
        with self._store._reading() as work:
            due = [row[0] for row in work.run(_due, most=limit)]
        # A transaction each: what is wrong with one schedule does not hold back the others.
        submitted = [self._submit(schedule_id) for schedule_id in due]
        return [record for record in submitted if record is not None]

    @persistent
    def _submit(self, schedule_id: str) -> JobRecord | None:
        with self._store._writing() as work:
            rows = work.run(_one, schedule=schedule_id)
            if not rows:
                return None
            record, options, next_turn = _record(rows[0]), json.loads(rows[0][-1]), rows[0][3]
            if _waits(work, record.last_job):
                _take_turn(work, record, next_turn, counts=False)
                return None
            if not _take_turn(work, record, next_turn, counts=True):
                return None
            (job,) = insert_jobs(work, [_submission(record, options)])
            work.run(_note_job, schedule=schedule_id, job=job.id)
            moves.add_event(work, job.id, job.attempt, "schedule", f"submitted by schedule {schedule_id}")
            return job


def _take_turn(work: Work, record: ScheduleRecord, known: Any, *, counts: bool) -> bool:
    """Set the next moment of a schedule, or end it; False if it is not due, or somebody else was faster."""
    ((text,),) = work.run(sql.now)
    now = moment(text)
    if record.next > now:
        return False
    if counts and record.left == 1:
        return bool(work.run(_end, schedule=record.id, known=known))
    left = None if record.left is None else record.left - counts
    following = stored(_following(record, now), text)
    return bool(work.run(_advance, schedule=record.id, known=known, new_next=following, new_left=left))


def _following(record: ScheduleRecord, now: datetime) -> datetime:
    return record.repeat.after(record.next, now)


def _waits(work: Work, job_id: str | None) -> bool:
    """Say whether a job has not ended; one that is gone has."""
    rows = work.query(select(jobs.c.status).where(jobs.c.id == job_id)) if job_id else []
    return bool(rows) and not Status(rows[0][0]).finished


# -- values -----------------------------------------------------------------------------------------------------------


def _record(row: Row) -> ScheduleRecord:
    schedule_id, name, request, next_turn, interval, cron, left, last_job, created, data, _ = row
    structure = None if data is None else Structure(bytes(data))
    return ScheduleRecord(
        id=schedule_id,
        name=name,
        request=JobRequest.from_json(json.loads(request), structure),
        repeat=Repeat(interval=interval, cron=cron),
        next=moment(next_turn),
        left=left,
        last_job=last_job,
        created=moment(created),
    )


def _options(submission: Submission) -> dict[str, Any]:
    return {
        "queue": submission.queue,
        "priority": submission.priority,
        "retries": submission.retries.to_json(),
        "limits": submission.limits.to_json(),
    }


def _submission(record: ScheduleRecord, options: dict[str, Any]) -> Submission:
    return Submission(
        request=record.request,
        name=record.name,
        queue=options["queue"],
        priority=options["priority"],
        retries=RetryPolicy(**options["retries"]),
        limits=Limits(**options["limits"]),
        cache=False,
    )


# -- statements -------------------------------------------------------------------------------------------------------


def _select() -> Select[Any]:
    columns = ("id", "name", "request", "next", "interval", "cron", "left", "last_job", "created")
    chosen = [schedules.c[name] for name in columns]
    return select(*chosen, structures.c.data, schedules.c.options).select_from(schedules.outerjoin(structures))


def _all() -> Select[Any]:
    """Write: every schedule."""
    return _select().order_by(schedules.c.next, schedules.c.id)


def _one() -> Select[Any]:
    """Write: one schedule."""
    return _select().where(schedules.c.id == bindparam("schedule"))


def _any() -> Select[Any]:
    """Write: the id of one schedule."""
    return select(schedules.c.id).limit(1)


def _due() -> Select[Any]:
    """Write: the ids of up to `most` schedules whose time has come."""
    most = bindparam("most", type_=Integer)
    return select(schedules.c.id).where(schedules.c.next <= clock()).order_by(schedules.c.next).limit(most)


def _add() -> Insert:
    """Write: a new schedule."""
    return insert(schedules).values({column.name: bindparam(column.name) for column in schedules.c})


def _advance() -> Update:
    """Write: the next moment of a schedule, if it is still `known`."""
    return (
        update(schedules)
        .where(schedules.c.id == bindparam("schedule"), schedules.c.next == bindparam("known"))
        .values(next=bindparam("new_next"), left=bindparam("new_left", type_=Integer))
        .returning(schedules.c.id)
    )


def _end() -> ReturningDelete[Any]:
    """Write: that a schedule has had its last turn, if its next moment is still `known`."""
    return (
        delete(schedules)
        .where(schedules.c.id == bindparam("schedule"), schedules.c.next == bindparam("known"))
        .returning(schedules.c.id)
    )


def _note_job() -> Update:
    """Write: which job a schedule submitted last."""
    return (
        update(schedules).where(schedules.c.id == bindparam("schedule")).values(last_job=bindparam("job", type_=String))
    )


def _remove() -> ReturningDelete[Any]:
    """Write: that a schedule is no more."""
    return delete(schedules).where(schedules.c.id == bindparam("schedule")).returning(schedules.c.id)
