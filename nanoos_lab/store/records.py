"""Between what drivers return and the frozen values that the rest of nanoos_lab sees."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.record import Attempt, Correction, Event, Failure, JobRecord, Steering
from nanoos_lab.core.request import Delivery
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.store.terms import RECORD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoos_lab.store.work import Row

_NAMES = [column.name for column in RECORD]
_MOMENTS = ("created", "started", "ended", "cancel_requested", "lease_until", "paused", "run_after")
_STATUSES = {status.value: status for status in Status}


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
    #: Whether a cancel was asked for, and nobody else waits for the results.
    cancel: bool
    #: Whether the run is to pause.
    pause: bool = False
    #: Changes of its parameters of which the attempt does not know yet, in order.
    steerings: tuple[Steering, ...] = ()


def job_record(row: Row) -> JobRecord:
    """Make a record of the `sql.RECORD` columns; further columns are left out."""
    values = dict(zip(_NAMES, row, strict=False))
    values["status"] = _STATUSES[values["status"]]
    values["failure"] = _failure(values.pop("reason"), values.pop("message"), values.pop("remedy"))
    values["scalars"] = from_json(values["scalars"])
    values["varied"] = bool(values["varied"])
    for name in _MOMENTS:
        if values[name] is not None:
            values[name] = moment(values[name])
    # The constructor of a frozen dataclass takes half of the time of a table of 10⁵ jobs.
    record = object.__new__(JobRecord)
    record.__dict__.update(values)
    return record


def attempt(row: Row) -> Attempt:
    """Make an attempt of a whole row of its table."""
    job_id, number, worker, host, pid, started, ended, outcome, *more = row
    *failure, provenance, last_step, ran, cpu, peak, correction = more
    return Attempt(
        job_id=job_id,
        number=number,
        worker=worker,
        host=host,
        pid=pid,
        started=moment(started),
        ended=_moment_or_none(ended),
        outcome=outcome,
        failure=_failure(*failure),
        provenance=from_json(provenance),
        last_step=last_step,
        ran=ran,
        cpu=cpu,
        peak_memory=peak,
        correction=Correction(**from_json(correction)) if correction else None,
    )


def event(row: Row) -> Event:
    """Make an event of a whole row of its table."""
    number, job_id, attempt_number, time, kind, text = row
    return Event(number=number, job_id=job_id, attempt=attempt_number, time=moment(time), kind=kind, text=text)


def steering(row: Row) -> Steering:
    """Make a steering of a whole row of its table."""
    _, number, changes, asked, who, step, attempt_number = row
    return Steering(
        number=number,
        changes=from_json(changes),
        asked=moment(asked),
        who=who,
        step=step,
        attempt=attempt_number,
    )


def delivery(record: JobRecord) -> Delivery:
    """Return the message that offers a queued job's current attempt to workers."""
    return Delivery(
        job_id=record.id,
        attempt=record.attempt,
        queue=record.queue,
        priority=record.priority,
        description=" ".join(filter(None, (record.engine, record.formula, record.task))),
    )


def moment(value: Any) -> datetime:
    """Read a moment as SQLite (ISO text) or PostgreSQL (aware, in the session's zone) returns it."""
    if isinstance(value, str):
        return datetime.fromisoformat(value + "+00:00")
    when: datetime = value.astimezone(UTC)
    return when


def stored(value: datetime, like: Any) -> Any:
    """Return a moment in the form in which a database stores it, which is that of `like`."""
    utc = value.astimezone(UTC)
    return utc.strftime("%Y-%m-%d %H:%M:%S.") + f"{utc.microsecond // 1000:03d}" if isinstance(like, str) else utc


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
    """Return plain values as JSON; numpy's numbers and arrays become Python's, anything else its text."""
    return storable(json.dumps(dict(values), default=_plain, ensure_ascii=False))


def from_json(text: str | None) -> dict[str, Any]:
    """Read what `to_json` wrote; nothing stored is an empty mapping."""
    return json.loads(text) if text else {}


def storable(text: str) -> str:
    """Return a text without what databases refuse: NUL characters and half surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _failure(reason: str | None, message: str | None, remedy: str | None) -> Failure | None:
    if reason is None:
        return None
    return Failure(reason=Reason(reason), message=message or "", remedy=remedy or "")


def _moment_or_none(value: Any) -> datetime | None:
    return None if value is None else moment(value)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
