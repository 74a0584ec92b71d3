"""Every fixed statement of the store. Each function writes one; `work.Statements` compiles it once.

Values are parameters named here; moments are always the database's clock, so many seconds from now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Float,
    Integer,
    String,
    Text,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    union,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from nanoos_lab.core.status import FINISHED, Status
from nanoos_lab.store.schema import attempts, clock, dependencies, events, jobs, structures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, CompoundSelect, Insert, Select, Table, Update

#: Names the locks of those who add jobs.
_KEYS = 0x6E616E
#: The columns of a job that has ended by another one: it waits no more.
_NO_WAITING: dict[str, Any] = {"run_after": None, "waits_for": 0, "paused": None}
#: Most values in one IN list; the compiling of a longer one costs more than it saves.
BATCH = 1024
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
    jobs.c.paused,
    jobs.c.run_after,
    jobs.c.waits_for,
    jobs.c.failures,
    jobs.c.lost,
    jobs.c.cached_from,
    jobs.c.steerings,
    jobs.c.varied,
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
    """Write: what is known of `job`.

    Its request as JSON, the bytes of its structure, its limits as JSON, how long it ran, what was corrected as JSON,
    how often it was steered.
    """
    columns = (jobs.c.request, structures.c.data, jobs.c.limits, jobs.c.ran, jobs.c.corrected, jobs.c.steerings)
    return select(*columns).select_from(jobs.outerjoin(structures)).where(_this_job())


def asked() -> Select[Any]:
    """Write: the request of `job` as JSON."""
    return select(jobs.c.request).where(_this_job())


def delays() -> Select[Any]:
    """Write: how long `job` waits before another attempt, in s, and at most."""
    return select(jobs.c.delay, jobs.c.longest_delay).where(_this_job())


def corrections() -> Select[Any]:
    """Write: how many more corrections of `job` there may be, and what was corrected, as JSON."""
    return select(jobs.c.corrections, jobs.c.corrected).where(_this_job())


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
    query = select(*RECORD).where(*_ready()).order_by(jobs.c.id).limit(most)
    return query.with_for_update(skip_locked=True)


def any_ready() -> Select[Any]:
    """Write: one pending job that waits for nothing any more."""
    return select(jobs.c.id).where(*_ready()).limit(1)


def this_ready() -> Select[Any]:
    """Write: the record of `job` if it is pending and waits for nothing any more."""
    return select(*RECORD).where(_this_job(), *_ready())


def followers() -> CompoundSelect[Any]:
    """Write: ids of the jobs that depend on `job` and what its failure means to them; of those that wait as equal."""
    depending = select(dependencies.c.job_id, dependencies.c.after_failure)
    equal = select(jobs.c.id, null()).where(*_joined())
    return union_all(depending.where(dependencies.c.parent_id == bindparam("job")), equal)


def lock_pending(count: int) -> Select[Any]:
    """Write: the records of those of `count` jobs that are pending, for a change in the same transaction."""
    return select(*RECORD).where(*_pending(count)).order_by(jobs.c.id).with_for_update()


def followed(count: int) -> CompoundSelect[Any]:
    """Write: those of `count` jobs that others depend on or are equal to."""
    depending = select(dependencies.c.parent_id).where(_among(dependencies.c.parent_id, "id", count))
    return union(depending, select(jobs.c.cached_from).where(_among(jobs.c.cached_from, "id", count)))


def any_joiner() -> Select[Any]:
    """Write: one job that waits for the results of `job`."""
    return select(jobs.c.id).where(*_joined()).limit(1)


def heir() -> Select[Any]:
    """Write: id and attempt of the job that takes the place of `job` for those that wait for its results.

    One that need not wait comes first, and then the oldest: it waits for none of the others.
    """
    waits = case((and_(*_ready(joined=True)), 0), else_=1)
    return select(jobs.c.id, jobs.c.attempt).where(*_joined()).order_by(waits, jobs.c.id).limit(1)


def parents_of() -> Select[Any]:
    """Write: the jobs that `job` waits or waited for, and what happens if they fail."""
    return (
        select(dependencies.c.parent_id, dependencies.c.after_failure)
        .where(dependencies.c.job_id == bindparam("job"))
        .order_by(dependencies.c.parent_id)
    )


def lock_keys() -> Select[Any]:
    """Write: wait until nobody else adds jobs whose keys fall into `bucket`, on PostgreSQL."""
    return select(func.pg_advisory_xact_lock(literal(_KEYS, Integer), bindparam("bucket", type_=Integer)))


def parents_and_equal(ids: int, keys: int) -> Select[Any]:
    """Write: the records of some jobs, and of those that are equal to new ones and do or will have results.

    They do not change meanwhile. The jobs that are equal come with the newest last.

    Parameters
    ----------
    ids
        How many parameters ``id_<number>`` there are.
    keys
        How many parameters ``key_<number>`` there are.
    """
    usable = (Status.SUCCEEDED, Status.RUNNING, Status.QUEUED, Status.PENDING)
    equal = and_(
        _among(jobs.c.key, "key", keys),
        or_(*(jobs.c.status == status.value for status in usable)),
        jobs.c.cached_from.is_(None),
        jobs.c.cancel_requested.is_(None),
        jobs.c.paused.is_(None),
        jobs.c.varied == 0,
    )
    wanted = [*([_among(jobs.c.id, "id", ids)] if ids else []), *([equal] if keys else [])]
    return select(*RECORD).where(or_(*wanted)).order_by(jobs.c.id).with_for_update(read=True)


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
    return update(jobs).where(*_this_attempt(bindparam("before"))).values({**plain, **timed}).returning(*RECORD)


def beat() -> Update:
    """Write: the lease of a running attempt for `lease` more seconds, and its progress; returns what is asked of it."""
    total = func.coalesce(bindparam("new_total", type_=jobs.c.total.type), jobs.c.total)
    return (
        update(jobs)
        .where(*_this_attempt(literal(Status.RUNNING.value)))
        .values(lease_until=clock(bindparam("lease", type_=Float)), step=bindparam("new_step"), total=total)
        .returning(jobs.c.cancel_requested, jobs.c.paused, jobs.c.steerings)
    )


def request_cancel() -> Update:
    """Write: that a cancel of `job` was asked for; the first request counts."""
    asked = func.coalesce(jobs.c.cancel_requested, clock())
    return update(jobs).where(_this_job()).values(cancel_requested=asked).returning(*RECORD)


def set_paused(on: bool) -> Update:
    """Write: that `job` is to pause, or no longer; the first wish counts."""
    value = func.coalesce(jobs.c.paused, clock()) if on else None
    return update(jobs).where(_this_job()).values(paused=value).returning(*RECORD)


def share() -> Update:
    """Write: that the pending jobs which wait for the results of `job` have succeeded with them."""
    results: dict[str, Any] = {name: bindparam(f"new_{name}") for name in ("step", "total", "scalars")}
    values = {**results, **_NO_WAITING, "status": Status.SUCCEEDED.value, "ended": clock()}
    return update(jobs).where(*_joined()).values(values).returning(*RECORD)


def cancel_pending(count: int) -> Update:
    """Write: that those of `count` jobs which are pending are cancelled, and why."""
    why: dict[str, Any] = {name: bindparam(f"new_{name}") for name in ("reason", "message", "remedy")}
    values = {**why, **_NO_WAITING, "status": Status.CANCELLED.value, "ended": clock(), "cached_from": None}
    return update(jobs).where(*_pending(count)).values(values).returning(*RECORD)


def count_waits(count: int) -> Update:
    """Write: for how many others those of `count` jobs wait that are pending."""
    parent = jobs.alias("parent")
    unfinished = (
        select(func.count())
        .select_from(dependencies.join(parent, parent.c.id == dependencies.c.parent_id))
        .where(dependencies.c.job_id == jobs.c.id, *(parent.c.status != status for status in sorted(FINISHED)))
        .correlate(jobs)
        .scalar_subquery()
    )
    return update(jobs).where(*_pending(count)).values(waits_for=unfinished)


def queue_ready(count: int) -> Update:
    """Write: that those of `count` jobs are queued which wait for nothing any more."""
    values = {"status": Status.QUEUED.value, "send_after": clock(), "run_after": None}
    return update(jobs).where(_among(jobs.c.id, "id", count), *_ready()).values(values).returning(*RECORD)


def follow() -> Update:
    """Write: that the pending jobs which wait for the results of `job` wait for those of `other`, but for itself."""
    return (
        update(jobs)
        .where(jobs.c.cached_from == bindparam("job"), jobs.c.status == Status.PENDING.value)
        .values(cached_from=case((jobs.c.id == bindparam("other"), None), else_=bindparam("other")))
    )


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
    ).where(_this_job())
    names = ["job_id", "attempt", "time", "kind", "text"]
    return insert(events).from_select(names, line).returning(events.c.number)


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


def _this_job() -> ColumnElement[bool]:
    return jobs.c.id == bindparam("job")


def _this_attempt(status: ColumnElement[Any]) -> tuple[ColumnElement[bool], ...]:
    return _this_job(), jobs.c.status == status, jobs.c.attempt == bindparam("known")


def _ready(*, joined: bool = False) -> tuple[ColumnElement[bool], ...]:
    """Return what holds for a pending job that waits for nothing but, where it has joined one, an equal job."""
    return (
        jobs.c.status == Status.PENDING.value,
        jobs.c.waits_for == 0,
        *(() if joined else (jobs.c.cached_from.is_(None),)),
        jobs.c.paused.is_(None),
        or_(jobs.c.run_after.is_(None), jobs.c.run_after <= clock()),
    )


def _joined() -> tuple[ColumnElement[bool], ...]:
    return jobs.c.cached_from == bindparam("job"), jobs.c.status == Status.PENDING.value


def named(name: str, values: Sequence[str]) -> dict[str, str]:
    """Return values as parameters ``<name>_<number>``, from 0.

    The last one is repeated up to a power of two, so that few statements serve for every number of values.
    """
    count = 1 << (len(values) - 1).bit_length() if values else 0
    return {f"{name}_{number}": values[min(number, len(values) - 1)] for number in range(count)}


def _among(column: ColumnElement[Any], name: str, count: int) -> ColumnElement[bool]:
    """Return whether a column holds one of the values that `named` has made parameters of."""
    return column.in_([bindparam(f"{name}_{number}", type_=String) for number in range(count)])


def _pending(count: int) -> tuple[ColumnElement[bool], ...]:
    return _among(jobs.c.id, "id", count), jobs.c.status == Status.PENDING.value


def _expired() -> tuple[ColumnElement[bool], ...]:
    return jobs.c.status == Status.RUNNING.value, jobs.c.lease_until < clock()
