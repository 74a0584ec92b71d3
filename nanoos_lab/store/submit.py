"""New jobs into the store, one or many thousand at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.core.record import JobRecord
from nanoos_lab.core.status import Status
from nanoos_lab.store import sql
from nanoos_lab.store.ids import new_ids
from nanoos_lab.store.records import moment, storable, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from nanoos_lab.core.request import Submission
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.store.work import Work


def insert_jobs(work: Work, submissions: Sequence[Submission]) -> list[JobRecord]:
    """Record jobs as queued, in the order given, and return them."""
    ((now,),) = work.run(sql.now)
    ids = new_ids(len(submissions))
    _insert_structures(work, [item.request.structure for item in submissions])
    made = [_record(job_id, item, moment(now)) for job_id, item in zip(ids, submissions, strict=True)]
    rows = [_row(record, item, now) for record, item in zip(made, submissions, strict=True)]
    work.run_many(sql.add_job, rows)
    history = {"attempt": 1, "time": now, "kind": "status", "text": Status.QUEUED.value}
    work.run_many(sql.add_first_event, [{"job_id": job_id, **history} for job_id in ids])
    return made


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
        max_attempts=item.attempts,
        step=0,
        total=None,
        worker=None,
        created=now,
        started=None,
        ended=None,
        cancel_requested=None,
        lease_until=None,
    )


def _row(record: JobRecord, item: Submission, now: Any) -> dict[str, Any]:
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
        "queue": record.queue,
        "priority": record.priority,
        "attempt": record.attempt,
        "max_attempts": record.max_attempts,
        "step": record.step,
        "created": now,
        "send_after": now,
        "structure": structure.digest if structure else None,
        "request": to_json(item.request.to_json()),
    }


def _insert_structures(work: Work, wanted: Sequence[Structure | None]) -> None:
    """Store each structure once; one that is there already is equal, since its digest is."""
    different = {structure.digest: structure.data for structure in wanted if structure is not None}
    for digest, data in different.items():
        work.run(sql.add_structure, work.dialect, digest=digest, data=data)
