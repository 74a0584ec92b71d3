"""What the end of a job means for those that wait for it: jobs that depend on it, and equal ones.

It is done in the transaction in which the job ends. Rows are locked in the order of their ids, and jobs wait for older
ones only, so that transactions seldom stand in each other's way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, case, func, null, select, union, union_all, update

from nanoos_lab.core.record import Failure
from nanoos_lab.core.status import FINISHED, Reason, Status
from nanoos_lab.store import moves, sql
from nanoos_lab.store.records import failure_values, job_record, to_json
from nanoos_lab.store.schema import clock, dependencies, jobs
from nanoos_lab.store.terms import RECORD, among, joined, pending, waits_for_nothing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import CompoundSelect, Select, Update

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.store.work import Work

#: The columns of a job that has ended by another one: it waits no more.
_NO_WAITING: dict[str, Any] = {"run_after": None, "waits_for": 0, "paused": None}


def tell(work: Work, ended: JobRecord) -> None:
    """Let the jobs that wait for the end of one go on, or end them too, and then those that wait for them.

    Level by level and not by recursion, since a chain of jobs may be longer than Python's stack is deep.
    """
    level = [ended]
    while level:
        level = [one for parent in _followed(work, level) for one in _tell_those_of(work, parent)]


def has_joiners(work: Work, job_id: str) -> bool:
    """Say whether equal jobs wait for the results of this one."""
    return bool(work.run(_any_joiner, job=job_id))


def unwanted(work: Work, record: JobRecord) -> bool:
    """Say whether a job was to be cancelled, and nobody else wants its results."""
    return record.cancel_requested is not None and not has_joiners(work, record.id)


def unwanted_and_waiting(work: Work, job_id: str) -> JobRecord | None:
    """Lock a job, and return it if it waits for no purpose: it was to be cancelled, and nobody else wants it."""
    record = job_record(work.run(sql.locked_record, job=job_id)[0])
    waiting = record.status in (Status.QUEUED, Status.PENDING)
    return record if waiting and unwanted(work, record) else None


def pass_on(work: Work, leader: str, why: str) -> None:
    """Let one of the equal jobs take the place of the one that they waited for, and the others wait for it."""
    job_id, attempt = work.run(_heir, job=leader)[0]
    work.run(_follow, job=leader, other=job_id)
    place = f"takes the place of the equal job {leader}, which {why}"
    moves.add_event(work, job_id, attempt, "status", f"{Status.PENDING}: {place}")
    moves.queue_if_ready(work, job_id)


def because_of(parent: JobRecord) -> Failure:
    """Say why a job is cancelled that depends on one which has ended without results."""
    if parent.status is Status.CANCELLED and parent.failure is not None:
        # For the same reason: however long the chain, each job names the one that began it.
        return parent.failure
    said = f": {moves.first_line(parent.failure)}" if parent.failure else ""
    return Failure(
        reason=parent.failure.reason if parent.failure else Reason.INPUT,
        message=f"job {parent.id}, which it depends on, {_ended_as(parent.status)}{said}",
        remedy="Mend that job, and submit this one again.",
    )


def _followed(work: Work, ended: Sequence[JobRecord]) -> Sequence[JobRecord]:
    """Return those that somebody may wait for."""
    if len(ended) == 1:
        return ended
    found = {job_id for (job_id,) in work.run_for_all(_having_some, [record.id for record in ended])}
    return [record for record in ended if record.id in found]


def _tell_those_of(work: Work, ended: JobRecord) -> list[JobRecord]:
    """Let those that wait for one job go on, or end them too; return the jobs that have ended thereby."""
    # A job may depend on one that it is equal to as well; that it depends on it then matters more.
    kinds: dict[str, str | None] = dict(sorted(work.run(_those_of, job=ended.id), key=lambda row: row[1] is not None))
    if not kinds:
        return []
    waiting = [job_record(row) for row in work.run_for_all(_locked_if_pending, sorted(kinds))]
    if ended.status is Status.SUCCEEDED:
        over = _share(work, ended) if any(record.cached_from == ended.id for record in waiting) else []
    else:
        over = _end_dependents(work, ended, [record for record in waiting if kinds[record.id] == "cancel"])
    gone = {record.id for record in over}
    left = [record for record in waiting if record.id not in gone]
    # Counted and not diminished: a job that is tried again ends more than once.
    counted = [record.id for record in left if record.waits_for]
    work.run_for_all(_count_waits, counted)
    moves.queue_ready(work, counted)
    if any(record.cached_from == ended.id for record in left):
        pass_on(work, ended.id, _ended_as(ended.status))
    return over


def _share(work: Work, ended: JobRecord) -> list[JobRecord]:
    """Give the results of a job to the equal ones that wait for them."""
    results = {"new_step": ended.step, "new_total": ended.total, "new_scalars": to_json(ended.scalars)}
    return moves.note(work, work.run(_give_results, job=ended.id, **results))


def _end_dependents(work: Work, ended: JobRecord, doomed: Sequence[JobRecord]) -> list[JobRecord]:
    """Cancel those that cannot go on after a job without results, and equal jobs that only they still wanted."""
    values = {f"new_{name}": value for name, value in failure_values(because_of(ended)).items()}
    over = moves.note(work, work.run_for_all(_cancel_pending, [record.id for record in doomed], **values))
    for job_id in sorted({record.cached_from for record in doomed if record.cached_from} - {ended.id}):
        record = unwanted_and_waiting(work, job_id)
        if record is not None:
            move = (record.status, Status.CANCELLED)
            cancelled = moves.move(work, record.id, record.attempt, move, moves.asked_to_end(record))
            over += [] if cancelled is None else [cancelled]
    return over


def _ended_as(status: Status) -> str:
    return "was cancelled" if status is Status.CANCELLED else "failed"


# -- statements -------------------------------------------------------------------------------------------------------


def _those_of() -> CompoundSelect[Any]:
    """Write: ids of the jobs that depend on `job` and what its failure means to them; of those that wait as equal."""
    depending = select(dependencies.c.job_id, dependencies.c.after_failure)
    equal = select(jobs.c.id, null()).where(*joined())
    return union_all(depending.where(dependencies.c.parent_id == bindparam("job")), equal)


def _having_some(count: int) -> CompoundSelect[Any]:
    """Write: those of `count` jobs that others depend on or are equal to."""
    depending = select(dependencies.c.parent_id).where(among(dependencies.c.parent_id, "id", count))
    return union(depending, select(jobs.c.cached_from).where(among(jobs.c.cached_from, "id", count)))


def _locked_if_pending(count: int) -> Select[Any]:
    """Write: the records of those of `count` jobs that are pending, for a change in the same transaction."""
    return select(*RECORD).where(*pending(count)).order_by(jobs.c.id).with_for_update()


def _any_joiner() -> Select[Any]:
    """Write: one job that waits for the results of `job`."""
    return select(jobs.c.id).where(*joined()).limit(1)


def _heir() -> Select[Any]:
    """Write: id and attempt of the job that takes the place of `job` for those that wait for its results.

    One that need not wait comes first, and then the oldest: it waits for none of the others.
    """
    waits = case((and_(*waits_for_nothing(but_an_equal_job=True)), 0), else_=1)
    return select(jobs.c.id, jobs.c.attempt).where(*joined()).order_by(waits, jobs.c.id).limit(1)


def _give_results() -> Update:
    """Write: that the pending jobs which wait for the results of `job` have succeeded with them."""
    results: dict[str, Any] = {name: bindparam(f"new_{name}") for name in ("step", "total", "scalars")}
    values = {**results, **_NO_WAITING, "status": Status.SUCCEEDED.value, "ended": clock()}
    return update(jobs).where(*joined()).values(values).returning(*RECORD)


def _cancel_pending(count: int) -> Update:
    """Write: that those of `count` jobs which are pending are cancelled, and why."""
    why: dict[str, Any] = {name: bindparam(f"new_{name}") for name in ("reason", "message", "remedy")}
    values = {**why, **_NO_WAITING, "status": Status.CANCELLED.value, "ended": clock(), "cached_from": None}
    return update(jobs).where(*pending(count)).values(values).returning(*RECORD)


def _count_waits(count: int) -> Update:
    """Write: for how many others those of `count` jobs wait that are pending."""
    parent = jobs.alias("parent")
    unfinished = (
        select(func.count())
        .select_from(dependencies.join(parent, parent.c.id == dependencies.c.parent_id))
        .where(dependencies.c.job_id == jobs.c.id, *(parent.c.status != status for status in sorted(FINISHED)))
        .correlate(jobs)
        .scalar_subquery()
    )
    return update(jobs).where(*pending(count)).values(waits_for=unfinished)


def _follow() -> Update:
    """Write: that the pending jobs which wait for the results of `job` wait for those of `other`, but for itself."""
    return (
        update(jobs)
        .where(jobs.c.cached_from == bindparam("job"), jobs.c.status == Status.PENDING.value)
        .values(cached_from=case((jobs.c.id == bindparam("other"), None), else_=bindparam("other")))
    )
