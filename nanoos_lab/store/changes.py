"""The only writers of a job's status: each change is one compare-and-set, with its line of history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from nanoos_lab.core.errors import JobNotFoundError, TransitionError
from nanoos_lab.core.record import Failure
from nanoos_lab.core.status import MOVES, Reason, Status
from nanoos_lab.store.records import RECORD, failure_values, job_record, storable, to_json
from nanoos_lab.store.schema import attempts, clock, events, jobs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Row

    from nanoos_lab.core.record import JobRecord

#: How an attempt ended whose worker vanished; the job may go on.
LOST = "lost"


def change(
    connection: Connection, job_id: str, attempt: int, move: tuple[Status, Status], **values: Any
) -> JobRecord | None:
    """Move a job from one status to another if it is still in that status and attempt.

    Parameters
    ----------
    connection
        In a transaction.
    job_id, attempt
        The job, and the attempt that the caller knows it in.
    move
        The status that the caller knows it in, and the new one.
    values
        Columns that change with it.

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
    if after not in MOVES[before]:
        raise TransitionError(f"a job cannot go from {before} to {after}")
    statement = (
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.status == before.value, jobs.c.attempt == attempt)
        .values(status=after.value, **values)
        .returning(*RECORD)
    )
    row = connection.execute(statement).one_or_none()
    if row is None:
        return None
    record = job_record(row)
    add_event(connection, job_id, record.attempt, "status", _told(record))
    return record


def end(
    connection: Connection,
    job_id: str,
    attempt: int,
    to: Status,
    *,
    failure: Failure | None = None,
    provenance: Mapping[str, Any] | None = None,
    **values: Any,
) -> JobRecord | None:
    """End a running attempt, and its job with it; None if the attempt is no longer the current one."""
    record = change(
        connection,
        job_id,
        attempt,
        (Status.RUNNING, to),
        ended=clock(),
        lease_until=None,
        **failure_values(failure),
        **values,
    )
    if record is not None:
        end_attempt(connection, job_id, attempt, to.value, failure=failure, provenance=provenance)
    return record


def lose(connection: Connection, row: Row[Any], message: str) -> JobRecord | None:
    """Take a running attempt away from its worker: offer the job again, or end it.

    Parameters
    ----------
    row
        With `id`, `attempt`, `max_attempts` and `cancel_requested`, locked for the caller.
    message
        What happened to the worker.
    """
    failure = Failure(
        reason=Reason.LOST,
        message=message,
        remedy="look at the worker's log and its host's memory; submit the job again to try it once more",
    )
    if row.cancel_requested is not None:
        return end(connection, row.id, row.attempt, Status.CANCELLED)
    if row.attempt >= row.max_attempts:
        return end(connection, row.id, row.attempt, Status.FAILED, failure=failure)
    record = change(
        connection, row.id, row.attempt, (Status.RUNNING, Status.QUEUED), **offer(row.attempt + 1)
    )
    if record is not None:
        end_attempt(connection, row.id, row.attempt, LOST, failure=failure)
    return record


def move_by_hand(connection: Connection, row: Row[Any], to: Status, failure: Failure | None) -> JobRecord:
    """Move a job that no worker holds; `row` is locked for the caller."""
    before = Status(row.status)
    number: int = row.attempt
    if to is Status.QUEUED:
        again = number + 1 if before is not Status.PENDING else number
        values = {**offer(again), "max_attempts": max(row.max_attempts, again)}
    else:
        values = {"ended": clock(), "lease_until": None, **failure_values(failure)}
    record = change(connection, row.id, number, (before, to), **values)
    if record is None:
        raise TransitionError(f"job {row.id} changed at the same moment")
    if before is Status.RUNNING:
        outcome = LOST if to is Status.QUEUED else to.value
        end_attempt(connection, row.id, number, outcome, failure=failure)
    return record


def offer(attempt: int) -> dict[str, Any]:
    """Return the columns of a job that waits for a worker to claim this attempt."""
    return {
        "attempt": attempt,
        "send_after": clock(),
        "worker": None,
        "started": None,
        "ended": None,
        "lease_until": None,
        "cancel_requested": None,
        **failure_values(None),
    }


def end_attempt(
    connection: Connection,
    job_id: str,
    attempt: int,
    outcome: str,
    *,
    failure: Failure | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write down how an attempt ended."""
    connection.execute(
        update(attempts)
        .where(attempts.c.job_id == job_id, attempts.c.number == attempt)
        .values(
            ended=clock(),
            outcome=outcome,
            provenance=to_json(provenance) if provenance else None,
            **failure_values(failure),
        )
    )


def request_cancel(connection: Connection, job_id: str) -> JobRecord:
    """Note on a running job that it is to be cancelled; the first request counts."""
    statement = (
        update(jobs)
        .where(jobs.c.id == job_id)
        .values(cancel_requested=func.coalesce(jobs.c.cancel_requested, clock()))
        .returning(*RECORD)
    )
    return job_record(connection.execute(statement).one())


def locked(connection: Connection, job_id: str) -> Row[Any]:
    """Read a job for a change in the same transaction, with `held`: whether a lease is running.

    Raises
    ------
    JobNotFoundError
    """
    held = (jobs.c.lease_until > clock()).label("held")
    row = connection.execute(select(*RECORD, held).where(jobs.c.id == job_id).with_for_update()).one_or_none()
    if row is None:
        raise JobNotFoundError(job_id)
    return row


def add_event(connection: Connection, job_id: str, attempt: int, kind: str, text: str) -> None:
    """Append a line to the history of a job."""
    values = {"job_id": job_id, "attempt": attempt, "kind": kind, "text": storable(text)}
    connection.execute(insert(events).values(time=clock()), values)


def _told(record: JobRecord) -> str:
    """Say a new status in one line that begins with its word."""
    if record.status is Status.RUNNING:
        return f"running on {record.worker}"
    if record.failure is not None:
        first = record.failure.message.splitlines()[0] if record.failure.message else ""
        return f"{record.status} ({record.failure.reason}): {first}"
    return str(record.status)
