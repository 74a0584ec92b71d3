"""A job's moves from one status to another: each is one compare-and-set, with its line of history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import JobNotFoundError, TransitionError
from nanoos_lab.core.status import MOVES, Status
from nanoos_lab.store import sql
from nanoos_lab.store.records import failure_values, job_record, storable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nanoos_lab.core.record import Failure, JobRecord
    from nanoos_lab.store.work import Row, Work


@dataclass(frozen=True)
class FromNow:
    """A moment, counted from now by the database's clock."""

    #: How far ahead, in s.
    seconds: float


#: This moment.
NOW = FromNow(0.0)
#: The columns of a job that a person starts anew, beside those of `offered`.
ANEW: dict[str, Any] = {
    "failures": 0,
    "lost": 0,
    "ran": 0.0,
    "waits_for": 0,
    "paused": None,
    "cancel_requested": None,
    "cached_from": None,
}


def move(
    work: Work, job_id: str, attempt: int, between: tuple[Status, Status], values: Mapping[str, Any]
) -> JobRecord | None:
    """Move a job if it is still in that status and attempt; None if not. Those that wait for it are not told."""
    before, after = between
    check_move(before, after)
    moments = {name: value.seconds for name, value in values.items() if isinstance(value, FromNow)}
    plain = {"status": after.value, **{name: values[name] for name in values if name not in moments}}
    parameters = {f"new_{name}": value for name, value in plain.items()}
    parameters |= {f"in_{name}": seconds for name, seconds in moments.items()}
    rows = work.run(
        sql.move, tuple(plain), tuple(moments), job=job_id, before=before.value, known=attempt, **parameters
    )
    if not rows:
        return None
    record = job_record(rows[0])
    add_event(work, job_id, record.attempt, "status", told(record))
    return record


def check_move(before: Status, after: Status) -> None:
    """Raise a TransitionError if `MOVES` has no such move."""
    if after not in MOVES[before]:
        raise TransitionError(f"a job cannot go from {before} to {after}")


def queue_if_ready(work: Work, job_id: str) -> JobRecord | None:
    """Offer a pending job to workers if it waits for nothing any more."""
    rows = work.run(sql.this_ready, job=job_id)
    return offer(work, job_record(rows[0])) if rows else None


def offer(work: Work, record: JobRecord) -> JobRecord | None:
    """Offer a pending job to workers."""
    return move(work, record.id, record.attempt, (Status.PENDING, Status.QUEUED), offered(record.attempt))


def queue_ready(work: Work, job_ids: Sequence[str]) -> None:
    """Offer those of some jobs to workers that are pending and wait for nothing any more."""
    note(work, work.run_for_all(sql.queue_ready, job_ids))


def hold(work: Work, job_ids: Sequence[str]) -> None:
    """Take those of some jobs back that are queued; a message that is on its way finds nothing to claim."""
    note(work, work.run_for_all(sql.hold, job_ids))


# -- its history ------------------------------------------------------------------------------------------------------


def add_event(work: Work, job_id: str, attempt: int, kind: str, text: str) -> None:
    """Append a line to the history of a job; raises JobNotFoundError."""
    if not work.run(sql.add_event, job=job_id, number=attempt, kind=kind, text=storable(text)):
        raise JobNotFoundError(job_id)


def add_events(work: Work, job_ids: Sequence[str], kind: str, text: str) -> None:
    """Append the same line to the history of each of these jobs."""
    work.run_for_all(sql.add_events, job_ids, kind=kind, text=storable(text))


def note(work: Work, rows: Sequence[Row]) -> list[JobRecord]:
    """Write a line of history for each of these jobs that have just changed; return them."""
    changed = [job_record(row) for row in rows]
    if changed:
        work.run_many(sql.note, [{"job_id": one.id, "attempt": one.attempt, "text": told(one)} for one in changed])
    return changed


def told(record: JobRecord) -> str:
    """Say a new status in one line that begins with its word."""
    if record.status is Status.RUNNING:
        return f"{record.status} on {record.worker}"
    if record.status is Status.SUCCEEDED and record.cached_from is not None:
        return f"{record.status}, with the results of job {record.cached_from}"
    if record.status is Status.PENDING and record.cached_from is not None:
        return f"{record.status}: waits for the results of the equal job {record.cached_from}"
    if record.failure is not None:
        return f"{record.status} ({record.failure.reason}): {first_line(record.failure)}"
    return str(record.status)


def first_line(failure: Failure) -> str:
    """Return what went wrong, in one line."""
    return failure.message.partition("\n")[0]


# -- values -----------------------------------------------------------------------------------------------------------


def over(failure: Failure | None = None) -> dict[str, Any]:
    """Return the columns of a job that has ended without another job's results."""
    return {
        "ended": NOW,
        "lease_until": None,
        "send_after": None,
        "run_after": None,
        "waits_for": 0,
        "paused": None,
        "cached_from": None,
        **failure_values(failure),
    }


def asked_to_end(record: JobRecord) -> dict[str, Any]:
    """Return the columns of a job that has ended because somebody asked for it; the first request counts."""
    return {**over(), **({"cancel_requested": NOW} if record.cancel_requested is None else {})}


def offered(attempt: int) -> dict[str, Any]:
    """Return the columns of a job that waits for a worker to claim this attempt."""
    return {
        "attempt": attempt,
        "send_after": NOW,
        "run_after": None,
        "worker": None,
        "started": None,
        "ended": None,
        "lease_until": None,
        **failure_values(None),
    }
