"""The statements on a job, its attempts and its history. Each function writes one; `work.Statements` compiles it once.

Those that only one other module runs stand at its end. Values are parameters named here; moments are always the
database's clock, so many seconds from now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Float,
    Integer,
    String,
    Text,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from nanoos_lab.core.status import Status
from nanoos_lab.store.schema import attempts, clock, dependencies, events, jobs, structures
from nanoos_lab.store.terms import FOREMOST, RECORD, among, this_attempt, this_job, waits_for_nothing

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Insert, Select, Table, Update


# -- reading ----------------------------------------------------------------------------------------------------


def record() -> Select[Any]:
    """Write: the record of `job`."""
    return select(*RECORD).where(this_job())


def locked_record() -> Select[Any]:
    """Write: the record of `job` and whether its lease is running, for a change in the same transaction."""
    held = func.coalesce(jobs.c.lease_until > clock(), False)
    return select(*RECORD, held).where(this_job()).with_for_update()


def request() -> Select[Any]:
    """Write: what is known of `job`.

    Its request as JSON, the bytes of its structure, its limits as JSON, how long it ran, what was corrected as JSON,
    how often it was steered.
    """
    columns = (jobs.c.request, structures.c.data, jobs.c.limits, jobs.c.ran, jobs.c.corrected, jobs.c.steerings)
    return select(*columns).select_from(jobs.outerjoin(structures)).where(this_job())


def requests(count: int) -> Select[Any]:
    """Write: what is known of `count` jobs, as of one by `request`, with their ids instead of their structures."""
    columns = (jobs.c.id, jobs.c.request, jobs.c.limits, jobs.c.ran, jobs.c.corrected, jobs.c.steerings)
    return select(*columns).where(among(jobs.c.id, "id", count))


def tally(count: int) -> Select[Any]:
    """Write: how many of `count` jobs are in each status, and the sum of what fraction of each is done."""
    part = cast(jobs.c.step, Float) / jobs.c.total
    done = case((jobs.c.step < jobs.c.total, part), (jobs.c.total > 0, 1.0), else_=0.0)
    counted = select(jobs.c.status, func.count(), func.sum(done))
    return counted.where(among(jobs.c.id, "id", count)).group_by(jobs.c.status)


def foremost(count: int) -> Select[Any]:
    """Write: the records of up to `most` of `count` jobs, in the order of `FOREMOST` and of their ids."""
    rank = case(*((jobs.c.status == status.value, place) for place, status in enumerate(FOREMOST)))
    most = bindparam("most", type_=Integer)
    return select(*RECORD).where(among(jobs.c.id, "id", count)).order_by(rank, jobs.c.id).limit(most)


def asked() -> Select[Any]:
    """Write: the request of `job` as JSON."""
    return select(jobs.c.request).where(this_job())


def delays() -> Select[Any]:
    """Write: how long `job` waits before another attempt, in s, and at most."""
    return select(jobs.c.delay, jobs.c.longest_delay).where(this_job())


def corrections() -> Select[Any]:
    """Write: how many more corrections of `job` there may be, and what was corrected, as JSON."""
    return select(jobs.c.corrections, jobs.c.corrected).where(this_job())


def segments_of() -> Select[Any]:
    """Write: numbers, last steps and corrections of the attempts at `job`."""
    return (
        select(attempts.c.number, attempts.c.last_step, attempts.c.correction)
        .where(attempts.c.job_id == bindparam("job"))
        .order_by(attempts.c.number)
    )


def ready() -> Select[Any]:
    """Write: up to `most` pending jobs that wait for nothing any more, for a change that nobody else makes."""
    most = bindparam("most", type_=Integer)
    query = select(*RECORD).where(*waits_for_nothing()).order_by(jobs.c.id).limit(most)
    return query.with_for_update(skip_locked=True)


def any_ready() -> Select[Any]:
    """Write: one pending job that waits for nothing any more."""
    return select(jobs.c.id).where(*waits_for_nothing()).limit(1)


def this_ready() -> Select[Any]:
    """Write: the record of `job` if it is pending and waits for nothing any more."""
    return select(*RECORD).where(this_job(), *waits_for_nothing())


def parents_of() -> Select[Any]:
    """Write: the jobs that `job` waits or waited for, and what happens if they fail."""
    return (
        select(dependencies.c.parent_id, dependencies.c.after_failure)
        .where(dependencies.c.job_id == bindparam("job"))
        .order_by(dependencies.c.parent_id)
    )


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


def freed() -> Select[Any]:
    """Write: the queued jobs that depended on `job` and whose message is due."""
    bonds = jobs.join(dependencies, dependencies.c.job_id == jobs.c.id)
    due = (jobs.c.status == Status.QUEUED.value, jobs.c.send_after <= clock())
    return select(*RECORD).select_from(bonds).where(dependencies.c.parent_id == bindparam("job"), *due)


def any_expired() -> Select[Any]:
    """Write: one running job whose lease is over."""
    return select(jobs.c.id).where(*_expired()).limit(1)


def expired() -> Select[Any]:
    """Write: the records of up to `most` running jobs whose lease is over, for a change that nobody else makes."""
    most = bindparam("most", type_=Integer)
    return select(*RECORD).where(*_expired()).order_by(jobs.c.id).limit(most).with_for_update(skip_locked=True)


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
    return update(jobs).where(*this_attempt(bindparam("before"))).values({**plain, **timed}).returning(*RECORD)


def beat() -> Update:
    """Write: the lease of a running attempt for `lease` more seconds, and its progress; returns what is asked of it."""
    total = func.coalesce(bindparam("new_total", type_=jobs.c.total.type), jobs.c.total)
    return (
        update(jobs)
        .where(*this_attempt(literal(Status.RUNNING.value)))
        .values(lease_until=clock(bindparam("lease", type_=Float)), step=bindparam("new_step"), total=total)
        .returning(jobs.c.cancel_requested, jobs.c.paused, jobs.c.steerings)
    )


def request_cancel() -> Update:
    """Write: that a cancel of `job` was asked for; the first request counts."""
    asked = func.coalesce(jobs.c.cancel_requested, clock())
    return update(jobs).where(this_job()).values(cancel_requested=asked).returning(*RECORD)


def hold(count: int) -> Update:
    """Write: that those of `count` jobs which are queued are held back."""
    queued = jobs.c.status == Status.QUEUED.value
    values = {"status": Status.PENDING.value, "send_after": None}
    return update(jobs).where(among(jobs.c.id, "id", count), queued).values(values).returning(*RECORD)


def queue_ready(count: int) -> Update:
    """Write: that those of `count` jobs are queued which wait for nothing any more."""
    values = {"status": Status.QUEUED.value, "send_after": clock(), "run_after": None}
    return update(jobs).where(among(jobs.c.id, "id", count), *waits_for_nothing()).values(values).returning(*RECORD)


def mark_sent() -> Update:
    """Write: that the message of a queued attempt is due again in `resend` seconds."""
    return (
        update(jobs)
        .where(*this_attempt(literal(Status.QUEUED.value)))
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
    ).where(this_job())
    return insert(attempts).from_select(names, claimed)


def end_attempt() -> Update:
    """Write: how attempt `known` at `job` ended."""
    names = (
        "outcome",
        "reason",
        "message",
        "remedy",
        "provenance",
        "last_step",
        "ran",
        "cpu",
        "peak_memory",
        "correction",
    )
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    return (
        update(attempts)
        .where(attempts.c.job_id == bindparam("job"), attempts.c.number == bindparam("known"))
        .values({**values, "ended": clock()})
    )


def count_all() -> Update:
    """Write: that the samples of the attempts at `job` before `known` count up to `step`."""
    return (
        update(attempts)
        .where(attempts.c.job_id == bindparam("job"), attempts.c.number < bindparam("known"))
        .values(last_step=bindparam("step"))
    )


def add_event() -> Insert:
    """Write: a line of history, if `job` exists; returns its number."""
    line = select(
        jobs.c.id,
        bindparam("number", type_=Integer),
        clock(),
        bindparam("kind", type_=String),
        bindparam("text", type_=Text),
    ).where(this_job())
    names = ["job_id", "attempt", "time", "kind", "text"]
    return insert(events).from_select(names, line).returning(events.c.number)


def add_events(count: int) -> Insert:
    """Write: the same line of history for each of `count` jobs."""
    words = (bindparam("kind", type_=String), bindparam("text", type_=Text))
    lines = select(jobs.c.id, jobs.c.attempt, clock(), *words).where(among(jobs.c.id, "id", count))
    return insert(events).from_select(["job_id", "attempt", "time", "kind", "text"], lines)


# -- adding -----------------------------------------------------------------------------------------------------


def now() -> Select[Any]:
    """Write: the database's clock, in the form in which it is stored."""
    return select(clock())


def add_structures_to_sqlite() -> Insert:
    """Write: a structure, unless an equal one is there, on SQLite."""
    return add_structure("sqlite")


def add_structures_to_postgresql() -> Insert:
    """Write: a structure, unless an equal one is there, on PostgreSQL."""
    return add_structure("postgresql")


def add_structure(dialect: str) -> Insert:
    """Write: a structure, unless an equal one is there."""
    made: Any = {"sqlite": sqlite, "postgresql": postgresql}[dialect]
    statement: Insert = made.insert(structures).on_conflict_do_nothing()
    return statement


def add(table: Table, *columns: str) -> Insert:
    """Write: a new row of a table."""
    return insert(table).values({name: bindparam(name) for name in columns})


def note() -> Insert:
    """Write: a line of history on the status of a job that exists."""
    names = ("job_id", "attempt", "text")
    return insert(events).values({**{name: bindparam(name) for name in names}, "time": clock(), "kind": "status"})


def _expired() -> tuple[ColumnElement[bool], ...]:
    return jobs.c.status == Status.RUNNING.value, jobs.c.lease_until < clock()
