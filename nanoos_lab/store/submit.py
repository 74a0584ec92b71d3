"""New jobs into the store, one or many thousand at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select
from sqlalchemy.dialects import postgresql, sqlite

from nanoos_lab.core.record import JobRecord
from nanoos_lab.core.status import Status
from nanoos_lab.store.ids import new_ids
from nanoos_lab.store.records import storable, to_json
from nanoos_lab.store.schema import clock, events, jobs, structures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from nanoos_lab.core.request import Submission
    from nanoos_lab.core.structures import Structure


def insert_jobs(connection: Connection, submissions: Sequence[Submission]) -> list[JobRecord]:
    """Record jobs as queued, in the order given, and return them."""
    now = connection.execute(select(clock())).scalar_one()
    ids = new_ids(len(submissions))
    made = [_record(job_id, item, now) for job_id, item in zip(ids, submissions, strict=True)]
    _insert_structures(connection, [item.request.structure for item in submissions])
    connection.execute(
        insert(jobs), [_row(record, item) for record, item in zip(made, submissions, strict=True)]
    )
    history = {"attempt": 1, "time": now, "kind": "status", "text": Status.QUEUED.value}
    connection.execute(insert(events), [{"job_id": job_id, **history} for job_id in ids])
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


def _row(record: JobRecord, item: Submission) -> dict[str, Any]:
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
        "created": record.created,
        "send_after": record.created,
        "structure": structure.digest if structure else None,
        "request": to_json(item.request.to_json()),
    }


def _insert_structures(connection: Connection, wanted: Sequence[Structure | None]) -> None:
    """Store each structure once; one that is there already is equal, since its digest is."""
    different = {structure.digest: structure.data for structure in wanted if structure is not None}
    if not different:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(
        dialect.insert(structures).on_conflict_do_nothing(),
        [{"digest": digest, "data": data} for digest, data in different.items()],
    )
