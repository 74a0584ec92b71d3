"""Changes of the parameters of jobs on their way, and what follows from them for equal jobs."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Integer, String, Text, bindparam, cast, insert, literal, select, update

from nanoos_lab.core.record import Steering
from nanoos_lab.core.status import Status
from nanoos_lab.store import changes, followers, many, moves, records
from nanoos_lab.store.schema import clock, dependencies, events, jobs, steerings
from nanoos_lab.store.terms import among, pending

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Insert, Select, Update

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.store.work import Work


def of(work: Work, job_id: str, *, after: int = 0) -> tuple[Steering, ...]:
    """Return the steerings of a job in order, from the one after number `after` on."""
    return tuple(records.steering(row) for row in work.run(_those_of, job=job_id, after=after))


def of_many(work: Work, job_ids: Sequence[str]) -> dict[str, tuple[Steering, ...]]:
    """Return the steerings of each of some jobs in order."""
    found: dict[str, tuple[Steering, ...]] = dict.fromkeys(job_ids, ())
    for row in work.run_for_all(_those_of_all, job_ids):
        found[row[0]] += (records.steering(row),)
    return found


def refusal(record: JobRecord) -> str:
    """Return why a job cannot be steered any more; empty if it can."""
    if record.status.finished:
        ended = f"{record.status}, {record.ended:%Y-%m-%d %H:%M:%S} UTC"
        return f"job {record.id} has ended ({ended}); only one that has not ended can be steered"
    if record.cancel_requested is not None:
        return f"job {record.id} is being cancelled, so it cannot be steered"
    return ""


def steer(
    work: Work, takers: Sequence[JobRecord], wanted: Mapping[str, Mapping[str, Any]], who: str
) -> list[JobRecord]:
    """Write down a steering of each of some jobs, which are locked and can be steered; return them afterwards.

    Parameters
    ----------
    work
        In a transaction.
    takers
        The jobs.
    wanted
        Job id → parameters by name, plain values.
    who
        Who asks for it.
    """
    ids = [record.id for record in takers]
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for job_id in ids:
        alike[records.to_json(wanted[job_id]), Steering(number=0, changes=wanted[job_id]).text].append(job_id)
    work.run_for_all(_count, ids)
    for (changed, words), some in alike.items():
        work.run_for_all(_add, some, new_changes=changed, who=records.storable(who))
        work.run_for_all(_tell, some, words=records.storable(f" was asked for: {words}"))
    _set_apart(work, [record.id for record in takers if not record.varied])
    return many.read(work, ids)


def note_applied(work: Work, job_id: str, attempt: int, applied: Mapping[int, int]) -> None:
    """Note at which step each steering, by its number, was applied; the first word counts."""
    for number, step in applied.items():
        if work.run(_set_step, job=job_id, known=number, new_step=step, new_attempt=attempt):
            moves.add_event(work, job_id, attempt, "steering", f"{number} was applied at step {step}")


def _set_apart(work: Work, job_ids: Sequence[str]) -> None:
    """Let jobs, and those that come after them, have their results for themselves: their keys do not tell them.

    Of those after them only the ones that begin with a structure must; to run the others too does no harm.
    """
    known, level = set(job_ids), sorted(job_ids)
    while level:
        work.run_for_all(_set_varied, level)
        _detach(work, level)
        children = {child for (child,) in work.run_for_all(_children, level)} - known
        known |= children
        level = sorted(children)


def _detach(work: Work, job_ids: Sequence[str]) -> None:
    """End the bonds of jobs with equal ones: they wait for none of them, and none of the others for them."""
    bonds: dict[str, str] = dict(work.run_for_all(_bonds, job_ids))
    followed = sorted(bonds)
    work.run_for_all(_leave, followed)
    moves.add_events(work, followed, "status", f"{Status.PENDING}: runs itself, as it was steered")
    moves.queue_ready(work, followed)
    for (leader,) in sorted(work.run_for_all(_doubtful, sorted(set(bonds.values())))):
        changes.cancel_if_unwanted(work, leader)
    # Only now: none of these jobs is to take the place of another one of them.
    for (leader,) in sorted(work.run_for_all(_joined, job_ids)):
        followers.pass_on(work, leader, "was steered")


# -- statements -------------------------------------------------------------------------------------------------------


def _those_of() -> Select[Any]:
    """Write: the steerings of `job` after number `after`."""
    mine = (steerings.c.job_id == bindparam("job"), steerings.c.number > bindparam("after", type_=Integer))
    return select(steerings).where(*mine).order_by(steerings.c.number)


def _those_of_all(count: int) -> Select[Any]:
    """Write: the steerings of `count` jobs."""
    return select(steerings).where(among(steerings.c.job_id, "id", count)).order_by(steerings.c.number)


def _count(count: int) -> Update:
    """Write: that each of `count` jobs has one more steering."""
    return update(jobs).where(among(jobs.c.id, "id", count)).values(steerings=jobs.c.steerings + 1)


def _add(count: int) -> Insert:
    """Write: the newest steering of each of `count` jobs, the same for all."""
    words = (bindparam("new_changes", type_=Text), clock(), bindparam("who", type_=Text))
    lines = select(jobs.c.id, jobs.c.steerings, *words).where(among(jobs.c.id, "id", count))
    return insert(steerings).from_select(["job_id", "number", "changes", "asked", "who"], lines)


def _tell(count: int) -> Insert:
    """Write: a line of history of the newest steering of each of `count` jobs."""
    text = cast(jobs.c.steerings, Text).concat(bindparam("words", type_=Text))
    kind = literal("steering", type_=String)
    lines = select(jobs.c.id, jobs.c.attempt, clock(), kind, text).where(among(jobs.c.id, "id", count))
    return insert(events).from_select(["job_id", "attempt", "time", "kind", "text"], lines)


def _set_step() -> Update:
    """Write: at which step a steering of `job` was applied that was not yet."""
    mine = (steerings.c.job_id == bindparam("job"), steerings.c.number == bindparam("known"))
    values = {"step": bindparam("new_step", type_=BigInteger), "attempt": bindparam("new_attempt", type_=Integer)}
    return update(steerings).where(*mine, steerings.c.step.is_(None)).values(values).returning(steerings.c.number)


def _set_varied(count: int) -> Update:
    """Write: that the results of `count` jobs may be others than their keys say."""
    return update(jobs).where(among(jobs.c.id, "id", count)).values(varied=1)


def _children(count: int) -> Select[Any]:
    """Write: the jobs that depend on some of `count` jobs."""
    return select(dependencies.c.job_id).where(among(dependencies.c.parent_id, "id", count)).distinct()


def _bonds(count: int) -> Select[Any]:
    """Write: those of `count` jobs that wait for the results of equal ones, and for whose."""
    return select(jobs.c.id, jobs.c.cached_from).where(*pending(count), jobs.c.cached_from.is_not(None))


def _leave(count: int) -> Update:
    """Write: that `count` jobs no longer wait for the results of equal ones."""
    return update(jobs).where(among(jobs.c.id, "id", count)).values(cached_from=None)


def _doubtful(count: int) -> Select[Any]:
    """Write: those of `count` jobs that were to be cancelled."""
    return select(jobs.c.id).where(among(jobs.c.id, "id", count), jobs.c.cancel_requested.is_not(None))


def _joined(count: int) -> Select[Any]:
    """Write: those of `count` jobs for whose results others wait."""
    waiting = jobs.c.status == Status.PENDING.value
    return select(jobs.c.cached_from).where(among(jobs.c.cached_from, "id", count), waiting).distinct()
