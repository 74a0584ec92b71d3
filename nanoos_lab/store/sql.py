"""Every fixed statement of the store. Each function writes one; `work.Statements` compiles it once.

Values are parameters named here; moments are always the database's clock, so many seconds from now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Float, Integer, String, Text, bindparam, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite

from nanoos_lab.core.status import Status
from nanoos_lab.store.schema import attempts, clock, events, jobs, structures

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Insert, Select, Update

#: The columns that make a JobRecord, in the order in which `records.job_record` reads them.
RECORD = (
    jobs.c.id,
    jobs.c.key,
    jobs.c.name,
    jobs.c.formula,
    jobs.c.atoms,
    jobs.c.engine,
    jobs.c.task,
    jobs.c.status,
    jobs.c.reason,
    jobs.c.message,
    jobs.c.remedy,
    jobs.c.queue,
    jobs.c.priority,
    jobs.c.attempt,
    jobs.c.max_attempts,
    jobs.c.step,
    jobs.c.total,
    jobs.c.worker,
    jobs.c.created,
    jobs.c.started,
    jobs.c.ended,
    jobs.c.cancel_requested,
    jobs.c.lease_until,
    jobs.c.scalars,
)


# -- reading ----------------------------------------------------------------------------------------------------


def record() -> Select[Any]:
    """Write: the record of `job`."""
    return select(*RECORD).where(_this_job())


def locked_record() -> Select[Any]:
    """Write: the record of `job` and whether its lease is running, for a change in the same transaction."""
    held = func.coalesce(jobs.c.lease_until > clock(), False)
    return select(*RECORD, held).where(_this_job()).with_for_update()


def request() -> Select[Any]:
    """Write: the request of `job` as JSON, and the bytes of its structure."""
    return select(jobs.c.request, structures.c.data).select_from(jobs.outerjoin(structures)).where(_this_job())


def counts() -> Select[Any]:
    """Write: how many jobs there are in each status."""
    return select(jobs.c.status, func.count()).group_by(jobs.c.status)


def attempts_of() -> Select[Any]:
    """Write: the attempts at `job`."""
    return select(attempts).where(attempts.c.job_id == bindparam("job")).order_by(attempts.c.number)


def events_of() -> Select[Any]:
    """Write: the history of `job` since event number `after`."""
    return (
        select(events)
        .where(events.c.job_id == bindparam("job"), events.c.number > bindparam("after"))
        .order_by(events.c.number)
    )


def undelivered() -> Select[Any]:
    """Write: up to `most` queued jobs whose message is due, the longest due first."""
    return (
        select(*RECORD)
        .where(jobs.c.status == Status.QUEUED.value, jobs.c.send_after <= clock())
        .order_by(jobs.c.send_after, jobs.c.id)
        .limit(bindparam("most", type_=Integer))
    )


def any_expired() -> Select[Any]:
    """Write: one running job whose lease is over."""
    return select(jobs.c.id).where(*_expired()).limit(1)


def expired() -> Select[Any]:
    """Write: the records of up to `most` running jobs whose lease is over, for a change that nobody else makes."""
    most = bindparam("most", type_=Integer)
    return select(*RECORD).where(*_expired()).limit(most).with_for_update(skip_locked=True)


# -- changing ---------------------------------------------------------------------------------------------------


def move(columns: tuple[str, ...], moments: tuple[str, ...]) -> Update:
    """Write: the compare-and-set of `job` from status `before` and attempt `known`, returning the record.

    Parameters
    ----------
    columns
        Columns that are set to the parameter ``new_<column>``.
    moments
        Columns that are set to ``in_<column>`` seconds from now.
    """
    plain: dict[str, Any] = {name: bindparam(f"new_{name}") for name in columns}
    timed = {name: clock(bindparam(f"in_{name}", type_=Float)) for name in moments}
    return update(jobs).where(*_this_attempt(bindparam("before"))).values({**plain, **timed}).returning(*RECORD)


def beat() -> Update:
    """Write: the lease of a running attempt for `lease` more seconds, with its progress."""
    total = func.coalesce(bindparam("new_total", type_=jobs.c.total.type), jobs.c.total)
    return (
        update(jobs)
        .where(*_this_attempt(literal(Status.RUNNING.value)))
        .values(lease_until=clock(bindparam("lease", type_=Float)), step=bindparam("new_step"), total=total)
        .returning(jobs.c.cancel_requested)
    )


def request_cancel() -> Update:
    """Write: that a cancel of `job` was asked for; the first request counts."""
    asked = func.coalesce(jobs.c.cancel_requested, clock())
    return update(jobs).where(_this_job()).values(cancel_requested=asked).returning(*RECORD)


def mark_sent() -> Update:
    """Write: that the message of a queued attempt is due again in `resend` seconds."""
    return (
        update(jobs)
        .where(*_this_attempt(literal(Status.QUEUED.value)))
        .values(send_after=clock(bindparam("resend", type_=Float)))
    )


def begin_attempt() -> Insert:
    """Write: the attempt that `job` has just been claimed for, on `host` by process `pid`."""
    names = ["job_id", "number", "worker", "host", "pid", "started"]
    claimed = select(
        jobs.c.id,
        jobs.c.attempt,
        jobs.c.worker,
        bindparam("host", type_=Text),
        bindparam("pid", type_=Integer),
        jobs.c.started,
    ).where(_this_job())
    return insert(attempts).from_select(names, claimed)


def end_attempt() -> Update:
    """Write: how attempt `known` at `job` ended."""
    names = ("outcome", "reason", "message", "remedy", "provenance")
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    return (
        update(attempts)
        .where(attempts.c.job_id == bindparam("job"), attempts.c.number == bindparam("known"))
        .values({**values, "ended": clock()})
    )


def add_event() -> Insert:
    """Write: a line of history, if `job` exists; returns its number."""
    line = select(
        jobs.c.id,
        bindparam("number", type_=Integer),
        clock(),
        bindparam("kind", type_=String),
        bindparam("text", type_=Text),
    ).where(_this_job())
    names = ["job_id", "attempt", "time", "kind", "text"]
    return insert(events).from_select(names, line).returning(events.c.number)


# -- adding -----------------------------------------------------------------------------------------------------


def now() -> Select[Any]:
    """Write: the database's clock, in the form in which it is stored."""
    return select(clock())


def add_structure(dialect: str) -> Insert:
    """Write: a structure, unless an equal one is there."""
    made: Any = {"sqlite": sqlite, "postgresql": postgresql}[dialect]
    statement: Insert = made.insert(structures).on_conflict_do_nothing()
    return statement


def add_job() -> Insert:
    """Write: a new job."""
    unset = {"reason", "message", "remedy", "started", "ended", "lease_until", "cancel_requested", "scalars"}
    names = [column.name for column in jobs.c if column.name not in unset | {"total", "worker"}]
    return insert(jobs).values({name: bindparam(name) for name in names})


def add_first_event() -> Insert:
    """Write: the first line of a new job's history."""
    names = [column.name for column in events.c if column.name != "number"]
    return insert(events).values({name: bindparam(name) for name in names})


def _this_job() -> ColumnElement[bool]:
    return jobs.c.id == bindparam("job")


def _this_attempt(status: ColumnElement[Any]) -> tuple[ColumnElement[bool], ...]:
    return _this_job(), jobs.c.status == status, jobs.c.attempt == bindparam("known")


def _expired() -> tuple[ColumnElement[bool], ...]:
    return jobs.c.status == Status.RUNNING.value, jobs.c.lease_until < clock()
