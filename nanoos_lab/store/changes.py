"""The only writers of a job's status: each change is one compare-and-set, with its line of history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import JobNotFoundError, TransitionError
from nanoos_lab.core.record import Failure
from nanoos_lab.core.status import MOVES, Reason, Status
from nanoos_lab.store import sql
from nanoos_lab.store.records import failure_values, job_record, storable, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.store.work import Work

#: How an attempt ended whose worker vanished; the job may go on.
LOST = "lost"


@dataclass(frozen=True)
class FromNow:
    """A moment, counted from now by the database's clock."""

    #: How far ahead, in s.
    seconds: float


NOW = FromNow(0.0)


def change(
    work: Work, job_id: str, attempt: int, move: tuple[Status, Status], values: Mapping[str, Any]
) -> JobRecord | None:
    """Move a job from one status to another if it is still in that status and attempt.

    Parameters
    ----------
    work
        In a transaction.
    job_id, attempt
        The job, and the attempt that the caller knows it in.
    move
        The status that the caller knows it in, and the new one.
    values
        Columns that change with it; moments as `FromNow`.

    Returns
    -------
    JobRecord or None
        The job after the move; None if it was no longer where the caller thought, and nothing changed.

    Raises
    ------
    TransitionError
        If `MOVES` has no such move.
    """
    before, after = move
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
    add_event(work, job_id, record.attempt, "status", _told(record))
    return record


def check_move(before: Status, after: Status) -> None:
    """Raise a TransitionError if `MOVES` has no such move."""
    if after not in MOVES[before]:
        raise TransitionError(f"a job cannot go from {before} to {after}")


def end(
    work: Work,
    job_id: str,
    attempt: int,
    to: Status,
    *,
    failure: Failure | None = None,
    provenance: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
) -> JobRecord | None:
    """End a running attempt, and its job with it; None if the attempt is no longer the current one."""
    ended = {"ended": NOW, "lease_until": None, **failure_values(failure), **(values or {})}
    record = change(work, job_id, attempt, (Status.RUNNING, to), ended)
    if record is not None:
        end_attempt(work, job_id, attempt, to.value, failure=failure, provenance=provenance)
    return record


def lose(work: Work, record: JobRecord, message: str) -> JobRecord | None:
    """Take a running attempt away from its worker: offer the job again, or end it.

    Parameters
    ----------
    work
        In a transaction.
    record
        The running job.
    message
        What happened to the worker.
    """
    job_id, attempt = record.id, record.attempt
    failure = Failure(
        reason=Reason.LOST,
        message=message,
        remedy="Look at the worker's log and at its host's memory; submit the job again to try it once more.",
    )
    if record.cancel_requested is not None:
        return end(work, job_id, attempt, Status.CANCELLED)
    if attempt >= record.max_attempts:
        return end(work, job_id, attempt, Status.FAILED, failure=failure)
    changed = change(work, job_id, attempt, (Status.RUNNING, Status.QUEUED), _offer(attempt + 1))
    if changed is not None:
        end_attempt(work, job_id, attempt, LOST, failure=failure)
    return changed


def move_by_hand(work: Work, record: JobRecord, to: Status, failure: Failure | None) -> JobRecord:
    """Move a job that no worker holds; it is locked for the caller."""
    before, attempt = record.status, record.attempt
    if to is Status.QUEUED:
        again = attempt if before is Status.PENDING else attempt + 1
        values = {**_offer(again), "max_attempts": max(record.max_attempts, again)}
    else:
        values = {"ended": NOW, "lease_until": None, **failure_values(failure)}
    changed = change(work, record.id, attempt, (before, to), values)
    if changed is None:
        raise TransitionError(f"job {record.id} changed at the same moment")
    if before is Status.RUNNING:
        outcome = LOST if to is Status.QUEUED else to.value
        end_attempt(work, record.id, attempt, outcome, failure=failure)
    return changed


def end_attempt(
    work: Work,
    job_id: str,
    attempt: int,
    outcome: str,
    *,
    failure: Failure | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write down how an attempt ended."""
    values = {"outcome": outcome, "provenance": to_json(provenance) if provenance else None}
    parameters = {f"new_{name}": value for name, value in {**values, **failure_values(failure)}.items()}
    work.run(sql.end_attempt, job=job_id, known=attempt, **parameters)


def add_event(work: Work, job_id: str, attempt: int, kind: str, text: str) -> None:
    """Append a line to the history of a job; raises JobNotFoundError."""
    if not work.run(sql.add_event, job=job_id, number=attempt, kind=kind, text=storable(text)):
        raise JobNotFoundError(job_id)


def _offer(attempt: int) -> dict[str, Any]:
    """Return the columns of a job that waits for a worker to claim this attempt."""
    return {
        "attempt": attempt,
        "send_after": NOW,
        "worker": None,
        "started": None,
        "ended": None,
        "lease_until": None,
        "cancel_requested": None,
        **failure_values(None),
    }


def _told(record: JobRecord) -> str:
    """Say a new status in one line that begins with its word."""
    if record.status is Status.RUNNING:
        return f"{record.status} on {record.worker}"
    if record.failure is not None:
        first = record.failure.message.partition("\n")[0]
        return f"{record.status} ({record.failure.reason}): {first}"
    return str(record.status)
