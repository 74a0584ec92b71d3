"""Between rows and the frozen values that the rest of nanoos_lab sees."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.record import Attempt, Event, Failure, JobRecord
from nanoos_lab.core.request import Delivery
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.store.schema import attempts, events, jobs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who claims an attempt."""

    #: Name of the worker.
    worker: str
    #: Host that it runs on.
    host: str
    #: Process id of the work-horse there.
    pid: int


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What a running attempt is told when it renews its lease."""

    #: Whether the attempt is still the job's current one; if not, it must stop and write no more.
    current: bool
    #: Whether a cancel was asked for.
    cancel: bool


#: The columns that make a JobRecord.
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


def job_record(row: Row[Any]) -> JobRecord:
    """Make a record of a row of the `RECORD` columns."""
    values = dict(row._mapping)
    return JobRecord(
        failure=_failure(values),
        status=Status(values.pop("status")),
        scalars=_json(values.pop("scalars")),
        **values,
    )


def attempt(row: Row[Any]) -> Attempt:
    """Make an attempt of a whole row of its table."""
    values = dict(row._mapping)
    return Attempt(failure=_failure(values), provenance=_json(values.pop("provenance")), **values)


def event(row: Row[Any]) -> Event:
    """Make an event of a whole row of its table."""
    return Event(**row._mapping)


def delivery(record: JobRecord) -> Delivery:
    """Return the message that offers a queued job's current attempt to workers."""
    return Delivery(
        job_id=record.id,
        attempt=record.attempt,
        queue=record.queue,
        priority=record.priority,
        description=" ".join(filter(None, (record.engine, record.formula, record.task))),
    )


def failure_values(failure: Failure | None) -> dict[str, str | None]:
    """Return the three columns of a failure."""
    if failure is None:
        return {"reason": None, "message": None, "remedy": None}
    return {
        "reason": failure.reason.value,
        "message": storable(failure.message),
        "remedy": storable(failure.remedy),
    }


def to_json(values: Mapping[str, Any]) -> str:
    """Return plain values as JSON; numpy's numbers and arrays become Python's."""
    return json.dumps(dict(values), default=_plain)


def storable(text: str) -> str:
    """Return a text without what databases refuse: NUL characters and half surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _failure(values: dict[str, Any]) -> Failure | None:
    reason, message, remedy = values.pop("reason"), values.pop("message"), values.pop("remedy")
    return Failure(reason=Reason(reason), message=message, remedy=remedy) if reason else None


def _json(text: str | None) -> dict[str, Any]:
    return json.loads(text) if text else {}


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


__all__ = [
    "RECORD",
    "Holder",
    "Orders",
    "attempt",
    "attempts",
    "delivery",
    "event",
    "events",
    "failure_values",
    "job_record",
    "storable",
    "to_json",
]
