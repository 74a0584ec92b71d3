"""The only writers of a job's status: each change is one compare-and-set, with its line of history.

What follows from the end of a job, for those that wait for it, is done in the same transaction. Rows are locked in the
order of their ids, and jobs wait for older ones only, so that transactions seldom stand in each other's way.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import JobNotFoundError, TransitionError
from nanoos_lab.core.record import Failure, Usage
from nanoos_lab.core.resources import RetryPolicy
from nanoos_lab.core.status import MOVES, RETRIED, Reason, Status
from nanoos_lab.store import sql
from nanoos_lab.store.records import failure_values, from_json, job_record, storable, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Executable

    from nanoos_lab.core.record import Correction, JobRecord
    from nanoos_lab.store.work import Row, Work

#: How an attempt ended without the end of its job: its worker vanished, it is tried again, it made room for a pause.
LOST = "lost"
RETRIED_LATER = "retried"
PAUSED = "paused"
CORRECTED = "corrected"
#: So many workers may one job cost.
POISON = 3


@dataclass(frozen=True)
class FromNow:
    """A moment, counted from now by the database's clock."""

    #: How far ahead, in s.
    seconds: float


NOW = FromNow(0.0)


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
    work: Work, job_id: str, attempt: int, move: tuple[Status, Status], values: Mapping[str, Any]
) -> JobRecord | None:
    """Move a job from one status to another if it is still in that status and attempt; tell those that wait for it.

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
    record = _set(work, job_id, attempt, move, values)
    if record is not None and record.status.finished:
        _tell_followers(work, record)
    return record


def _set(
    work: Work, job_id: str, attempt: int, move: tuple[Status, Status], values: Mapping[str, Any]
) -> JobRecord | None:
    """Make the compare-and-set and its line of history."""
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
    add_event(work, job_id, record.attempt, "status", told(record))
    return record


def check_move(before: Status, after: Status) -> None:
    """Raise a TransitionError if `MOVES` has no such move."""
    if after not in MOVES[before]:
        raise TransitionError(f"a job cannot go from {before} to {after}")


# -- the end of an attempt --------------------------------------------------------------------------------------------


def end(
    work: Work, job_id: str, attempt: int, to: Status, ending: Ending, values: Mapping[str, Any] | None = None
) -> JobRecord | None:
    """End a running attempt, and its job with it; None if the attempt is no longer the current one."""
    # Who has asked for the end of a job need not be told what went wrong in it; its attempt keeps that.
    failure = None if to is Status.CANCELLED else ending.failure
    record = change(work, job_id, attempt, (Status.RUNNING, to), {**_over(failure), **(values or {})})
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
    if ending.correction is not None and not unwanted(work, record):
        corrected = _correct(work, record, ending, ending.correction)
        if corrected is not None:
            return corrected
    ending = replace(ending, correction=None)
    lost = failure is not None and failure.reason is Reason.LOST
    tries, losses = record.failures + 1, record.lost + lost
    count = {"failures": tries, "lost": losses}
    if unwanted(work, record):
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
        add_event(work, record.id, after.attempt, "correction", correction.why)
    return after


def again(
    work: Work, record: JobRecord, ending: Ending, *, pause: float = 0.0, values: Mapping[str, Any] | None = None
) -> JobRecord | None:
    """End a running attempt whose job goes on with another: at once, after a pause in s, or when it is resumed."""
    waits = record.paused is not None or pause > 0
    to = Status.PENDING if waits else Status.QUEUED
    changed = {**_offer(record.attempt + 1), **(values or {})}
    if waits:
        changed |= {"send_after": None, "run_after": FromNow(pause)}
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
    if not counts and not unwanted(work, record):
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


def queue_if_ready(work: Work, job_id: str) -> JobRecord | None:
    """Offer a pending job to workers if it waits for nothing any more."""
    rows = work.run(sql.this_ready, job=job_id)
    return offer(work, job_record(rows[0])) if rows else None


def offer(work: Work, record: JobRecord) -> JobRecord | None:
    """Offer a pending job to workers."""
    return change(work, record.id, record.attempt, (Status.PENDING, Status.QUEUED), _offer(record.attempt))


def cancel(work: Work, record: JobRecord) -> JobRecord | None:
    """End a waiting job because somebody asked for it; the caller has locked it."""
    cancelled = change(work, record.id, record.attempt, (record.status, Status.CANCELLED), _asked_to_end(record))
    if cancelled is not None and record.cached_from is not None:
        cancel_if_unwanted(work, record.cached_from)
    return cancelled


def cancel_if_unwanted(work: Work, job_id: str) -> JobRecord | None:
    """Cancel a waiting job that was to be cancelled, once nobody else wants its results."""
    record = _unwanted_and_waiting(work, job_id)
    return None if record is None else cancel(work, record)


def unwanted(work: Work, record: JobRecord) -> bool:
    """Say whether a job was to be cancelled, and nobody else wants its results."""
    return record.cancel_requested is not None and not has_joiners(work, record.id)


def hold(work: Work, record: JobRecord) -> JobRecord | None:
    """Take a queued job back; its message, if one is on its way, finds nothing to claim."""
    return change(work, record.id, record.attempt, (Status.QUEUED, Status.PENDING), {"send_after": None})


def move_by_hand(
    work: Work, record: JobRecord, to: Status, failure: Failure | None, values: Mapping[str, Any]
) -> JobRecord:
    """Move a job that no worker holds; it is locked for the caller."""
    before, attempt = record.status, record.attempt
    changed: dict[str, Any] = _over(failure)
    if to is Status.QUEUED:
        number = attempt if before is Status.PENDING else attempt + 1
        changed = {**_offer(number), "failures": 0, "lost": 0, "ran": 0.0, "waits_for": 0, "paused": None}
        changed |= {"cancel_requested": None, "cached_from": None}
    elif to is Status.PENDING:
        number = attempt if before is Status.QUEUED else attempt + 1
        # Without a pause it would be queued again at once.
        changed = {**_offer(number), "send_after": None, "paused": NOW}
    elif to is Status.CANCELLED:
        changed = _asked_to_end(record)
    after = change(work, record.id, attempt, (before, to), {**changed, **values})
    if after is None:
        raise TransitionError(f"job {record.id} changed at the same moment")
    if before is Status.RUNNING:
        outcome = to.value if to.finished else LOST
        end_attempt(work, record, attempt, Ending(outcome=outcome, failure=failure))
    elif record.cached_from is not None:
        cancel_if_unwanted(work, record.cached_from)
    return after


def add_event(work: Work, job_id: str, attempt: int, kind: str, text: str) -> None:
    """Append a line to the history of a job; raises JobNotFoundError."""
    if not work.run(sql.add_event, job=job_id, number=attempt, kind=kind, text=storable(text)):
        raise JobNotFoundError(job_id)


# -- those that wait for a job ----------------------------------------------------------------------------------------


def has_joiners(work: Work, job_id: str) -> bool:
    """Say whether equal jobs wait for the results of this one."""
    return bool(work.run(sql.any_joiner, job=job_id))


def because_of(parent: JobRecord) -> Failure:
    """Say why a job is cancelled that depends on one which has ended without results."""
    if parent.status is Status.CANCELLED and parent.failure is not None:
        # For the same reason: however long the chain, each job names the one that began it.
        return parent.failure
    said = f": {_first_line(parent.failure)}" if parent.failure else ""
    return Failure(
        reason=parent.failure.reason if parent.failure else Reason.INPUT,
        message=f"job {parent.id}, which it depends on, {_ended_as(parent.status)}{said}",
        remedy="Mend that job, and submit this one again.",
    )


def _tell_followers(work: Work, ended: JobRecord) -> None:
    """Let the jobs that wait for the end of one go on, or end them too, and then those that wait for them.

    Level by level and not by recursion, since a chain of jobs may be longer than Python's stack is deep.
    """
    level = [ended]
    while level:
        level = [one for parent in _followed(work, level) for one in _tell(work, parent)]


def _followed(work: Work, ended: Sequence[JobRecord]) -> Sequence[JobRecord]:
    """Return those that somebody may wait for."""
    if len(ended) == 1:
        return ended
    found = {job_id for (job_id,) in for_all(work, sql.followed, [record.id for record in ended])}
    return [record for record in ended if record.id in found]


def _tell(work: Work, ended: JobRecord) -> list[JobRecord]:
    """Let those that wait for one job go on, or end them too; return the jobs that have ended thereby."""
    # A job may depend on one that it is equal to as well; that it depends on it then matters more.
    kinds: dict[str, str | None] = dict(
        sorted(work.run(sql.followers, job=ended.id), key=lambda row: row[1] is not None)
    )
    if not kinds:
        return []
    waiting = [job_record(row) for row in for_all(work, sql.lock_pending, sorted(kinds))]
    if ended.status is Status.SUCCEEDED:
        over = _share(work, ended) if any(record.cached_from == ended.id for record in waiting) else []
    else:
        over = _end_dependents(work, ended, [record for record in waiting if kinds[record.id] == "cancel"])
    gone = {record.id for record in over}
    left = [record for record in waiting if record.id not in gone]
    # Counted and not diminished: a job that is tried again ends more than once.
    counted = [record.id for record in left if record.waits_for]
    for_all(work, sql.count_waits, counted)
    _note(work, for_all(work, sql.queue_ready, counted))
    if any(record.cached_from == ended.id for record in left):
        pass_on(work, ended.id, _ended_as(ended.status))
    return over


def _share(work: Work, ended: JobRecord) -> list[JobRecord]:
    """Give the results of a job to the equal ones that wait for them."""
    results = {"new_step": ended.step, "new_total": ended.total, "new_scalars": to_json(ended.scalars)}
    return _note(work, work.run(sql.share, job=ended.id, **results))


def _end_dependents(work: Work, ended: JobRecord, doomed: Sequence[JobRecord]) -> list[JobRecord]:
    """Cancel those that cannot go on after a job without results, and equal jobs that only they still wanted."""
    values = {f"new_{name}": value for name, value in failure_values(because_of(ended)).items()}
    over = _note(work, for_all(work, sql.cancel_pending, [record.id for record in doomed], **values))
    for job_id in sorted({record.cached_from for record in doomed if record.cached_from} - {ended.id}):
        record = _unwanted_and_waiting(work, job_id)
        if record is not None:
            move = (record.status, Status.CANCELLED)
            cancelled = _set(work, record.id, record.attempt, move, _asked_to_end(record))
            over += [] if cancelled is None else [cancelled]
    return over


def pass_on(work: Work, leader: str, why: str) -> None:
    """Let one of the equal jobs take the place of the one that they waited for, and the others wait for it."""
    job_id, attempt = work.run(sql.heir, job=leader)[0]
    work.run(sql.follow, job=leader, other=job_id)
    place = f"takes the place of the equal job {leader}, which {why}"
    add_event(work, job_id, attempt, "status", f"{Status.PENDING}: {place}")
    queue_if_ready(work, job_id)


def _unwanted_and_waiting(work: Work, job_id: str) -> JobRecord | None:
    """Lock a job, and return it if it waits for no purpose: it was to be cancelled, and nobody else wants it."""
    record = job_record(work.run(sql.locked_record, job=job_id)[0])
    waiting = record.status in (Status.QUEUED, Status.PENDING)
    return record if waiting and unwanted(work, record) else None


def for_all(work: Work, build: Callable[[int], Executable], ids: Sequence[str], **values: Any) -> list[Row]:
    """Run a statement for jobs, many at a time; return its rows."""
    rows: list[Row] = []
    for start in range(0, len(ids), sql.BATCH):
        some = sql.named("id", ids[start : start + sql.BATCH])
        rows += work.run(build, len(some), **some, **values)
    return rows


def _note(work: Work, rows: Sequence[Row]) -> list[JobRecord]:
    """Write a line of history for each of these jobs that have just changed; return them."""
    changed = [job_record(row) for row in rows]
    if changed:
        work.run_many(sql.note, [{"job_id": one.id, "attempt": one.attempt, "text": told(one)} for one in changed])
    return changed


def _ended_as(status: Status) -> str:
    return "was cancelled" if status is Status.CANCELLED else "failed"


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


def _over(failure: Failure | None = None) -> dict[str, Any]:
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


def _asked_to_end(record: JobRecord) -> dict[str, Any]:
    """Return the columns of a job that has ended because somebody asked for it; the first request counts."""
    return {**_over(), **({"cancel_requested": NOW} if record.cancel_requested is None else {})}


def _offer(attempt: int) -> dict[str, Any]:
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


def told(record: JobRecord) -> str:
    """Say a new status in one line that begins with its word."""
    if record.status is Status.RUNNING:
        return f"{record.status} on {record.worker}"
    if record.status is Status.SUCCEEDED and record.cached_from is not None:
        return f"{record.status}, with the results of job {record.cached_from}"
    if record.status is Status.PENDING and record.cached_from is not None:
        return f"{record.status}: waits for the results of the equal job {record.cached_from}"
    if record.failure is not None:
        return f"{record.status} ({record.failure.reason}): {_first_line(record.failure)}"
    return str(record.status)


def _first_line(failure: Failure) -> str:
    return failure.message.partition("\n")[0]
