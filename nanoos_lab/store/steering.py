"""Changes of the parameters of jobs on their way, and what follows from them for equal jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Integer, Text, bindparam, insert, select, update

from nanoos_lab.core.errors import TransitionError
from nanoos_lab.core.record import Steering
from nanoos_lab.core.status import Status
from nanoos_lab.store import changes, followers, moves, records, sql
from nanoos_lab.store.records import job_record
from nanoos_lab.store.schema import clock, dependencies, jobs, steerings
from nanoos_lab.store.terms import among, this_job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Insert, Select, Update

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.store.work import Work


def of(work: Work, job_id: str, *, after: int = 0) -> tuple[Steering, ...]:
    """Return the steerings of a job in order, from the one after number `after` on."""
    return tuple(records.steering(row) for row in work.run(_those_of, job=job_id, after=after))


def require_on_its_way(record: JobRecord) -> None:
    """Raise if a job is too late to be steered.

    Raises
    ------
    TransitionError
        If it has ended, or is being cancelled.
    """
    if record.status.finished:
        raise TransitionError(
            f"job {record.id} has ended ({record.status}, {record.ended:%Y-%m-%d %H:%M:%S} UTC); only one that has not "
            "ended can be steered"
        )
    if record.cancel_requested is not None:
        raise TransitionError(f"job {record.id} is being cancelled, so it cannot be steered")


def steer(work: Work, record: JobRecord, wanted: Mapping[str, Any], who: str) -> JobRecord:
    """Write down a steering of a job, which is locked; return the job afterwards.

    Raises
    ------
    TransitionError
        If it has ended, or is being cancelled.
    """
    require_on_its_way(record)
    steering = Steering(number=record.steerings + 1, changes=wanted)
    work.run(
        _add, job=record.id, new_number=steering.number, new_changes=records.to_json(wanted), who=records.storable(who)
    )
    work.run(_count, job=record.id)
    moves.add_event(work, record.id, record.attempt, "steering", f"{steering.number} was asked for: {steering.text}")
    if not record.varied:
        _set_apart(work, record.id)
    return job_record(work.run(sql.record, job=record.id)[0])


def note_applied(work: Work, job_id: str, attempt: int, applied: Mapping[int, int]) -> None:
    """Note at which step each steering, by its number, was applied; the first word counts."""
    for number, step in applied.items():
        if work.run(_set_step, job=job_id, known=number, new_step=step, new_attempt=attempt):
            moves.add_event(work, job_id, attempt, "steering", f"{number} was applied at step {step}")


def _set_apart(work: Work, job_id: str) -> None:
    """Let a job, and those that come after it, have their results for themselves: their keys do not tell them.

    Of those after it only the ones that begin with a structure must; to run the others too does no harm.
    """
    known, level = {job_id}, [job_id]
    while level:
        work.run_for_all(_set_varied, level)
        for one in level:
            _detach(work, one)
        children = {child for (child,) in work.run_for_all(_children, level)} - known
        known |= children
        level = sorted(children)


def _detach(work: Work, job_id: str) -> None:
    """End the bonds of a job with equal ones: it waits for none of them, and none of them for it."""
    if followers.has_joiners(work, job_id):
        followers.pass_on(work, job_id, "was steered")
    record = job_record(work.run(sql.record, job=job_id)[0])
    if record.status is Status.PENDING and record.cached_from is not None:
        work.run(_leave, job=job_id)
        moves.add_event(work, job_id, record.attempt, "status", f"{Status.PENDING}: runs itself, as it was steered")
        moves.queue_if_ready(work, job_id)
        changes.cancel_if_unwanted(work, record.cached_from)


# -- statements -------------------------------------------------------------------------------------------------------


def _those_of() -> Select[Any]:
    """Write: the steerings of `job` after number `after`."""
    mine = (steerings.c.job_id == bindparam("job"), steerings.c.number > bindparam("after", type_=Integer))
    return select(steerings).where(*mine).order_by(steerings.c.number)


def _add() -> Insert:
    """Write: a new steering of `job`."""
    names = ["job_id", "number", "changes", "asked", "who"]
    line = select(
        jobs.c.id,
        bindparam("new_number", type_=Integer),
        bindparam("new_changes", type_=Text),
        clock(),
        bindparam("who", type_=Text),
    ).where(this_job())
    return insert(steerings).from_select(names, line)


def _count() -> Update:
    """Write: that `job` has one more steering."""
    return update(jobs).where(this_job()).values(steerings=jobs.c.steerings + 1)


def _set_step() -> Update:
    """Write: at which step a steering of `job` was applied that was not yet."""
    mine = (steerings.c.job_id == bindparam("job"), steerings.c.number == bindparam("known"))
    values = {"step": bindparam("new_step", type_=BigInteger), "attempt": bindparam("new_attempt", type_=Integer)}
    return update(steerings).where(*mine, steerings.c.step.is_(None)).values(values).returning(steerings.c.number)


def _set_varied(count: int) -> Update:
    """Write: that the results of `count` jobs may be others than their keys say."""
    return update(jobs).where(among(jobs.c.id, "id", count)).values(varied=1).returning(jobs.c.id)


def _children(count: int) -> Select[Any]:
    """Write: the jobs that depend on some of `count` jobs."""
    return select(dependencies.c.job_id).where(among(dependencies.c.parent_id, "id", count)).distinct()


def _leave() -> Update:
    """Write: that `job` no longer waits for the results of an equal one."""
    return update(jobs).where(this_job()).values(cached_from=None).returning(jobs.c.id)
