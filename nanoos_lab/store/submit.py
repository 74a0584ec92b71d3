"""New jobs into the store, one or many thousand at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, and_, bindparam, func, literal, or_, select

from nanoos_lab.core.errors import InputError, JobNotFoundError
from nanoos_lab.core.record import JobRecord
from nanoos_lab.core.status import Status
from nanoos_lab.store import sql
from nanoos_lab.store.followers import because_of
from nanoos_lab.store.ids import new_ids, require_possible
from nanoos_lab.store.moves import told
from nanoos_lab.store.records import failure_values, job_record, moment, storable, stored, to_json
from nanoos_lab.store.schema import dependencies, events, jobs
from nanoos_lab.store.terms import BATCH, RECORD, among, named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Select

    from nanoos_lab.core.request import Submission
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.store.work import Work

#: In which order jobs come to their results.
_SOONEST_FIRST = (Status.SUCCEEDED, Status.RUNNING, Status.QUEUED, Status.PENDING)
#: Names the locks of those who add jobs.
_KEYS = 0x6E616E
#: Locks that those who add equal jobs wait for.
_BUCKETS = 64


@dataclass(frozen=True, kw_only=True)
class _New:
    """A job that is about to be stored."""

    record: JobRecord
    item: Submission
    #: Ids of the jobs that it waits or waited for, and what happens if they fail.
    parents: Mapping[str, str]


def insert_jobs(work: Work, submissions: Sequence[Submission]) -> list[JobRecord]:
    """Record jobs in the order given, and return them.

    A job is queued unless it waits for others or for its time; one that is equal to a job whose results will do has
    succeeded, one that is equal to a job on its way waits for its results.

    Raises
    ------
    InputError
        If they depend on each other in a circle, or on a place in the batch that there is not.
    JobNotFoundError
        If they depend on a job that does not exist.
    """
    ((clock,),) = work.run(sql.now)
    now = moment(clock)
    order = _parents_first(submissions)
    # A job is younger than those that it waits for, also within a batch.
    ids = dict(zip(order, new_ids(len(order)), strict=True))
    submissions = [_with_origin(item, ids) for item in submissions]
    _insert_structures(work, [item.request.structure for item in submissions])
    known, equal = _lock(work, submissions)
    made: dict[int, _New] = {}
    for place in order:
        item = submissions[place]
        parents = {_id_of(one.parent, ids): one.after_failure for one in item.after}
        begin = item.not_before and moment(stored(item.not_before, clock))
        record = _judged(_record(ids[place], item, now), begin, parents, known)
        if _begins_with_varied(item, known):
            record = replace(record, varied=True)
        elif item.cache and not record.status.finished:
            record = _joined(record, equal, now)
        known[record.id] = record
        made[place] = _New(record=record, item=item, parents=parents)
    _insert(work, [made[place] for place in order], clock)
    return [made[place].record for place in range(len(submissions))]


def _insert(work: Work, news: Sequence[_New], clock: Any) -> None:
    work.insert(jobs, [_row(new, clock) for new in news])
    lines = [{"job_id": new.record.id, "text": told(new.record)} for new in news]
    history = {"attempt": 1, "time": clock, "kind": "status"}
    work.insert(events, [{**history, **line} for line in lines])
    bonds = [
        {"job_id": new.record.id, "parent_id": parent, "after_failure": kind}
        for new in news
        for parent, kind in new.parents.items()
    ]
    if bonds:
        work.insert(dependencies, bonds)


# -- on whom it depends -----------------------------------------------------------------------------------------------


def _parents_first(submissions: Sequence[Submission]) -> list[int]:
    """Return the places of a batch so that each comes after those of the same batch that it depends on."""
    count = len(submissions)
    inside = [[one.parent for one in item.after if isinstance(one.parent, int)] for item in submissions]
    for place, parents in enumerate(inside):
        for parent in parents:
            if not 0 <= parent < count:
                raise InputError(f"submission {place} depends on place {parent}, but there are {count} submissions")
    children: list[list[int]] = [[] for _ in range(count)]
    for place, parents in enumerate(inside):
        for parent in set(parents):
            children[parent].append(place)
    left = [len(set(parents)) for parents in inside]
    free = [place for place in range(count) if left[place] == 0]
    for place in free:
        for child in children[place]:
            left[child] -= 1
            if left[child] == 0:
                free.append(child)
    if len(free) < count:
        circle = sorted(set(range(count)) - set(free))
        names = ", ".join(repr(submissions[place].name) for place in circle[:5])
        raise InputError(f"these submissions depend on each other in a circle: {names}")
    return free


def _with_origin(item: Submission, ids: Mapping[int, str]) -> Submission:
    """Name the job of the same batch whose final structure is meant."""
    of, place = item.request.structure_of, item.structure_from
    if of is None or place is None:
        return item
    return replace(item, request=replace(item.request, structure_of=replace(of, job_id=ids[place])))


def _id_of(parent: str | int, ids: Mapping[int, str]) -> str:
    return ids[parent] if isinstance(parent, int) else parent


def _judged(
    record: JobRecord, begin: datetime | None, parents: Mapping[str, str], known: Mapping[str, JobRecord]
) -> JobRecord:
    """Say where a new job stands by those that it depends on, and by its time."""
    for parent, after_failure in parents.items():
        if known[parent].status in (Status.FAILED, Status.CANCELLED) and after_failure == "cancel":
            failure = because_of(known[parent])
            return replace(record, status=Status.CANCELLED, failure=failure, ended=record.created)
    waits_for = sum(not known[parent].status.finished for parent in parents)
    if waits_for or (begin is not None and begin > record.created):
        return replace(record, status=Status.PENDING, waits_for=waits_for, run_after=begin)
    return record


def _begins_with_varied(item: Submission, known: Mapping[str, JobRecord]) -> bool:
    """Say whether a job begins with the structure of one that was steered, which is another than its key says."""
    origin = item.request.structure_of
    return origin is not None and origin.job_id in known and known[origin.job_id].varied


# -- other jobs that matter -------------------------------------------------------------------------------------------


def _lock(work: Work, submissions: Sequence[Submission]) -> tuple[dict[str, JobRecord], dict[str, JobRecord]]:
    """Return the jobs of the store that new ones depend on, by id, and those that are equal to new ones, by key.

    None of them ends before the new ones are stored, and nobody else adds equal ones meanwhile.
    """
    wanted = sorted({one.parent for item in submissions for one in item.after if isinstance(one.parent, str)})
    for job_id in wanted:
        require_possible(job_id)
    keys = sorted({item.request.key for item in submissions if item.cache})
    if work.dialect == "postgresql":
        for bucket in sorted({int(key[:8], 16) % _BUCKETS for key in keys}):
            work.run(_lock_keys, bucket=bucket)
    found: dict[str, JobRecord] = {}
    for start in range(0, max(len(wanted), len(keys)), BATCH):
        part = slice(start, start + BATCH)
        some = named("id", wanted[part]), named("key", keys[part])
        rows = work.run(_parents_and_equal, *map(len, some), **some[0], **some[1])
        found.update((row[0], job_record(row)) for row in rows)
    for job_id in wanted:
        if job_id not in found:
            raise JobNotFoundError(job_id)
    equal: dict[str, JobRecord] = {}
    for record in found.values():
        if _leads(record) and _sooner(record, equal.get(record.key)):
            equal[record.key] = record
    return found, equal


def _leads(record: JobRecord) -> bool:
    """Say whether the results of a job will do for equal ones: one that is wanted, and has not failed."""
    return (
        record.status in _SOONEST_FIRST
        and record.cached_from is None
        and record.cancel_requested is None
        and record.paused is None
        and not record.varied
    )


def _sooner(record: JobRecord, other: JobRecord | None) -> bool:
    return other is None or _SOONEST_FIRST.index(record.status) <= _SOONEST_FIRST.index(other.status)


def _joined(record: JobRecord, equal: dict[str, JobRecord], now: datetime) -> JobRecord:
    """Say where a new job stands by the ones that are equal; it is one for those that follow."""
    twin = equal.get(record.key)
    if twin is None or _waits_longer(twin, record):
        equal[record.key] = record
        return record
    if twin.status is not Status.SUCCEEDED:
        return replace(record, status=Status.PENDING, cached_from=twin.id)
    return replace(
        record,
        status=Status.SUCCEEDED,
        cached_from=twin.id,
        ended=now,
        waits_for=0,
        run_after=None,
        step=twin.step,
        total=twin.total,
        scalars=twin.scalars,
    )


def _waits_longer(twin: JobRecord, record: JobRecord) -> bool:
    """Say whether an equal job may wait for what the new one need not wait for."""
    if twin.status is not Status.PENDING:
        return False
    if record.status is not Status.PENDING or (twin.waits_for and not record.waits_for):
        return True
    return twin.run_after is not None and (record.run_after is None or record.run_after < twin.run_after)


# -- values -----------------------------------------------------------------------------------------------------------


def _record(job_id: str, item: Submission, now: datetime) -> JobRecord:
    structure = item.request.structure
    return JobRecord(
        id=job_id,
        key=item.request.key,
        name=storable(item.name),
        formula=structure.formula if structure else "",
        atoms=structure.natoms if structure else 0,
        engine=item.request.engine,
        task=item.request.task,
        status=Status.QUEUED,
        failure=None,
        queue=item.queue,
        priority=item.priority,
        attempt=1,
        max_attempts=item.retries.attempts,
        step=0,
        total=None,
        worker=None,
        created=now,
        started=None,
        ended=None,
        cancel_requested=None,
        lease_until=None,
    )


def _row(new: _New, clock: Any) -> dict[str, Any]:
    record, item = new.record, new.item
    structure = item.request.structure
    return {
        "id": record.id,
        "key": record.key,
        "name": record.name,
        "formula": record.formula,
        "atoms": record.atoms,
        "engine": record.engine,
        "task": record.task,
        "status": record.status.value,
        **failure_values(record.failure),
        "queue": record.queue,
        "priority": record.priority,
        "attempt": record.attempt,
        "max_attempts": record.max_attempts,
        "step": record.step,
        "total": record.total,
        "created": clock,
        "ended": clock if record.ended else None,
        "send_after": clock if record.status is Status.QUEUED else None,
        "scalars": to_json(record.scalars) if record.scalars else None,
        "structure": structure.digest if structure else None,
        "request": to_json(item.request.to_json()),
        "run_after": stored(record.run_after, clock) if record.run_after else None,
        "waits_for": record.waits_for,
        "delay": item.retries.delay,
        "longest_delay": item.retries.longest,
        "limits": to_json(item.limits.to_json()) if item.limits.to_json() else None,
        "cached_from": record.cached_from,
        "corrections": item.corrections,
        "varied": int(record.varied),
    }


def _insert_structures(work: Work, wanted: Sequence[Structure | None]) -> None:
    """Store each structure once; one that is there already is equal, since its digest is."""
    different = {structure.digest: structure.data for structure in wanted if structure is not None}
    # In one order, so that two who add the same ones do not wait for each other.
    rows = [{"digest": digest, "data": different[digest]} for digest in sorted(different)]
    add = sql.add_structures_to_sqlite if work.dialect == "sqlite" else sql.add_structures_to_postgresql
    if rows:
        work.run_many(add, rows)


# -- statements -------------------------------------------------------------------------------------------------------


def _lock_keys() -> Select[Any]:
    """Write: wait until nobody else adds jobs whose keys fall into `bucket`, on PostgreSQL."""
    return select(func.pg_advisory_xact_lock(literal(_KEYS, Integer), bindparam("bucket", type_=Integer)))


def _parents_and_equal(ids: int, keys: int) -> Select[Any]:
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
        among(jobs.c.key, "key", keys),
        or_(*(jobs.c.status == status.value for status in usable)),
        jobs.c.cached_from.is_(None),
        jobs.c.cancel_requested.is_(None),
        jobs.c.paused.is_(None),
        jobs.c.varied == 0,
    )
    wanted = [*([among(jobs.c.id, "id", ids)] if ids else []), *([equal] if keys else [])]
    return select(*RECORD).where(or_(*wanted)).order_by(jobs.c.id).with_for_update(read=True)
