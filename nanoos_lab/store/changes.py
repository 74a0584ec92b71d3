"""Changes of one job, as workers, users and the reconciler make them; those that wait for it are told of its end."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import TransitionError
from nanoos_lab.core.record import Failure, Usage
from nanoos_lab.core.resources import RetryPolicy
from nanoos_lab.core.status import RETRIED, Reason, Status
from nanoos_lab.store import followers, moves, sql
from nanoos_lab.store.records import failure_values, from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoos_lab.core.record import Correction, JobRecord
    from nanoos_lab.store.work import Work

#: How an attempt ended without the end of its job: its worker vanished, it is tried again, it made room for a pause.
LOST = "lost"
RETRIED_LATER = "retried"
PAUSED = "paused"
CORRECTED = "corrected"
#: So many workers may one job cost.
POISON = 3


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What there is to say of the end of an attempt."""

    #: How it ended: a final status, or one of the words above.
    outcome: str
    #: Why, if without results.
    failure: Failure | None = None
    #: What made the results, or what failed.
    provenance: Mapping[str, Any] | None = None
    #: What it used.
    usage: Usage | None = None
    #: What the next attempt does differently, if it does.
    correction: Correction | None = None
    #: Whether another attempt would meet the same, whatever the reason.
    final: bool = False


def change(
    work: Work, job_id: str, attempt: int, between: tuple[Status, Status], values: Mapping[str, Any]
) -> JobRecord | None:
    """Move a job from one status to another if it is still in that status and attempt; tell those that wait for it.

    Parameters
    ----------
    work
        In a transaction.
    job_id, attempt
        The job, and the attempt that the caller knows it in.
    between
        The status that the caller knows it in, and the new one.
    values
        Columns that change with it; moments as `moves.FromNow`.

    Returns
    -------
    JobRecord or None
        The job after the move; None if it was no longer where the caller thought, and nothing changed.

    Raises
    ------
    TransitionError
        If `MOVES` has no such move.
    """
    record = moves.move(work, job_id, attempt, between, values)
    if record is not None and record.status.finished:
        followers.tell(work, record)
    return record


# -- the end of an attempt --------------------------------------------------------------------------------------------


def end(
    work: Work, job_id: str, attempt: int, to: Status, ending: Ending, values: Mapping[str, Any] | None = None
) -> JobRecord | None:
    """End a running attempt, and its job with it; None if the attempt is no longer the current one."""
    # Who has asked for the end of a job need not be told what went wrong in it; its attempt keeps that.
    failure = None if to is Status.CANCELLED else ending.failure
    record = change(work, job_id, attempt, (Status.RUNNING, to), {**moves.over(failure), **(values or {})})
    if record is not None:
        end_attempt(work, record, attempt, ending)
    return record


def fail(work: Work, record: JobRecord, ending: Ending) -> JobRecord | None:
    """End a running attempt that failed: the job with it, or it waits for another attempt.

    Parameters
    ----------
    work
        In a transaction.
    record
        The running job, locked.
    ending
        With its failure. The outcome is decided here.
    """
    failure = ending.failure
    if ending.correction is not None and not followers.unwanted(work, record):
        corrected = _correct(work, record, ending, ending.correction)
        if corrected is not None:
            return corrected
    ending = replace(ending, correction=None)
    lost = failure is not None and failure.reason is Reason.LOST
    tries, losses = record.failures + 1, record.lost + lost
    count = {"failures": tries, "lost": losses}
    if followers.unwanted(work, record):
        cancelled = replace(ending, outcome=Status.CANCELLED.value)
        return end(work, record.id, record.attempt, Status.CANCELLED, cancelled)
    retried = failure is not None and failure.reason in RETRIED and not ending.final
    if retried and tries < record.max_attempts and losses < POISON:
        pause = _policy(work, record.id).pause(tries, lost=lost, chance=random.random())  # noqa: S311 - jitter
        return again(work, record, replace(ending, outcome=LOST if lost else RETRIED_LATER), pause=pause, values=count)
    if failure is not None and losses >= POISON:
        failure = _poison(failure, losses)
    ended = replace(ending, outcome=Status.FAILED.value, failure=failure)
    return end(work, record.id, record.attempt, Status.FAILED, ended, count)


def _correct(work: Work, record: JobRecord, ending: Ending, correction: Correction) -> JobRecord | None:
    """Offer the job again with other parameters; None if that was done often enough."""
    left, before = work.run(sql.corrections, job=record.id)[0]
    if left <= 0:
        return None
    values = {"corrections": left - 1, "corrected": to_json({**from_json(before), **correction.changes})}
    after = again(work, record, replace(ending, outcome=CORRECTED), values=values)
    if after is not None:
        moves.add_event(work, record.id, after.attempt, "correction", correction.why)
    return after


def again(
    work: Work, record: JobRecord, ending: Ending, *, pause: float = 0.0, values: Mapping[str, Any] | None = None
) -> JobRecord | None:
    """End a running attempt whose job goes on with another: at once, after a pause in s, or when it is resumed."""
    waits = record.paused is not None or pause > 0
    to = Status.PENDING if waits else Status.QUEUED
    changed = {**moves.offered(record.attempt + 1), **(values or {})}
    if waits:
        changed |= {"send_after": None, "run_after": moves.FromNow(pause)}
    after = change(work, record.id, record.attempt, (Status.RUNNING, to), changed)
    if after is not None:
        end_attempt(work, record, record.attempt, ending)
    return after


def loss(message: str) -> Failure:
    """Return the failure of a run whose worker, or engine process, is gone."""
    return Failure(
        reason=Reason.LOST,
        message=message,
        remedy="Look at the worker's log and at its host's memory; submit the job again to try it once more.",
    )


def lose(work: Work, record: JobRecord, message: str, *, counts: bool = True) -> JobRecord | None:
    """Take a running attempt away from its worker: offer the job again, or end it.

    Parameters
    ----------
    work
        In a transaction.
    record
        The running job, locked.
    message
        What happened to the worker.
    counts
        Whether it counts as a failure of the job.
    """
    ending = Ending(outcome=LOST, failure=loss(message))
    if not counts and not followers.unwanted(work, record):
        return again(work, record, ending)
    return fail(work, record, ending)


def end_attempt(work: Work, record: JobRecord, attempt: int, ending: Ending) -> None:
    """Write down how an attempt ended; samples after the record's step are not read."""
    usage = asdict(ending.usage or Usage()) if ending.usage else {"ran": None, "cpu": None, "peak_memory": None}
    values = {
        "outcome": ending.outcome,
        "provenance": to_json(ending.provenance) if ending.provenance else None,
        "last_step": record.step,
        "correction": to_json(ending.correction.to_json()) if ending.correction else None,
        **usage,
        **failure_values(ending.failure),
    }
    parameters = {f"new_{name}": value for name, value in values.items()}
    work.run(sql.end_attempt, job=record.id, known=attempt, **parameters)


# -- what no attempt does ---------------------------------------------------------------------------------------------


def cancel(work: Work, record: JobRecord) -> JobRecord | None:
    """End a waiting job because somebody asked for it; the caller has locked it."""
    cancelled = change(work, record.id, record.attempt, (record.status, Status.CANCELLED), moves.asked_to_end(record))
    if cancelled is not None and record.cached_from is not None:
        cancel_if_unwanted(work, record.cached_from)
    return cancelled


def cancel_if_unwanted(work: Work, job_id: str) -> JobRecord | None:
    """Cancel a waiting job that was to be cancelled, once nobody else wants its results."""
    record = followers.unwanted_and_waiting(work, job_id)
    return None if record is None else cancel(work, record)


def move_by_hand(
    work: Work, record: JobRecord, to: Status, failure: Failure | None, values: Mapping[str, Any]
) -> JobRecord:
    """Move a job that no worker holds; it is locked for the caller."""
    before, attempt = record.status, record.attempt
    changed: dict[str, Any] = moves.over(failure)
    if to is Status.QUEUED:
        number = attempt if before is Status.PENDING else attempt + 1
        changed = {**moves.offered(number), **moves.ANEW}
    elif to is Status.PENDING:
        number = attempt if before is Status.QUEUED else attempt + 1
        # Without a pause it would be queued again at once.
        changed = {**moves.offered(number), "send_after": None, "paused": moves.NOW}
    elif to is Status.CANCELLED:
        changed = moves.asked_to_end(record)
    after = change(work, record.id, attempt, (before, to), {**changed, **values})
    if after is None:
        raise TransitionError(f"job {record.id} changed at the same moment")
    if before is Status.RUNNING:
        outcome = to.value if to.finished else LOST
        end_attempt(work, record, attempt, Ending(outcome=outcome, failure=failure))
    elif record.cached_from is not None:
        cancel_if_unwanted(work, record.cached_from)
    return after


# -- values -----------------------------------------------------------------------------------------------------------


def _policy(work: Work, job_id: str) -> RetryPolicy:
    delay, longest = work.run(sql.delays, job=job_id)[0]
    return RetryPolicy(delay=delay, longest=longest)


def _poison(failure: Failure, losses: int) -> Failure:
    return Failure(
        reason=failure.reason,
        message=f"it lost its worker {losses} times, so it is not tried again; the last time: {failure.message}",
        remedy=failure.remedy,
    )
