"""Changes of many jobs at once: a few statements for all of them, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select, update

from nanoos_lab.core.errors import JobNotFoundError
from nanoos_lab.core.status import Status
from nanoos_lab.store import moves
from nanoos_lab.store.ids import require_possible
from nanoos_lab.store.records import job_record
from nanoos_lab.store.schema import clock, jobs
from nanoos_lab.store.terms import RECORD, among

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Select, Update

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.store.work import Row, Work


def read(work: Work, job_ids: Sequence[str]) -> list[JobRecord]:
    """Return the records of jobs, in the order given; raises JobNotFoundError."""
    return _in_order(work.run_for_all(_records, _possible(job_ids)), job_ids)


def lock(work: Work, job_ids: Sequence[str], *, leaders_first: bool = False) -> list[JobRecord]:
    """Return the records of jobs, for a change in the same transaction, in the order given; raises JobNotFoundError.

    They are locked in the order of their ids; with them, if wanted, the equal jobs for whose results they wait, which
    are older.
    """
    wanted = set(_possible(job_ids))
    if leaders_first:
        wanted |= {record.cached_from for record in read(work, job_ids) if record.cached_from is not None}
    return _in_order(work.run_for_all(_locked_records, sorted(wanted)), job_ids)


def pause(work: Work, job_ids: Sequence[str]) -> None:
    """Pause jobs that are locked, on their way, and do not pause yet."""
    work.run_for_all(_pause, job_ids)
    moves.add_events(work, job_ids, "pause", "a pause was asked for")
    moves.hold(work, job_ids)


def resume(work: Work, job_ids: Sequence[str]) -> None:
    """End the pause of jobs that are locked and pause."""
    work.run_for_all(_resume, job_ids)
    moves.add_events(work, job_ids, "pause", "it is to go on")
    moves.queue_ready(work, job_ids)


def retry(work: Work, job_ids: Sequence[str], values: Mapping[str, Any]) -> list[JobRecord]:
    """Offer those of some jobs again that have failed; return them, in the order given.

    Parameters
    ----------
    work
        In a transaction.
    job_ids
        The jobs.
    values
        New values of the columns `RETRIED`; None leaves what is there.
    """
    new = {f"new_{name}": values.get(name) for name in RETRIED}
    offered = {record.id: record for record in moves.note(work, work.run_for_all(_retry, job_ids, **new))}
    return [offered[job_id] for job_id in job_ids if job_id in offered]


def _possible(job_ids: Sequence[str]) -> Sequence[str]:
    for job_id in job_ids:
        require_possible(job_id)
    return job_ids


def _in_order(rows: Sequence[Row], job_ids: Sequence[str]) -> list[JobRecord]:
    found = {row[0]: job_record(row) for row in rows}
    for job_id in job_ids:
        if job_id not in found:
            raise JobNotFoundError(job_id)
    return [found[job_id] for job_id in job_ids]


# -- statements -------------------------------------------------------------------------------------------------------

#: Columns that a retry may change.
RETRIED = ("limits", "max_attempts", "delay", "longest_delay")


def _records(count: int) -> Select[Any]:
    """Write: the records of `count` jobs."""
    return select(*RECORD).where(among(jobs.c.id, "id", count))


def _locked_records(count: int) -> Select[Any]:
    """Write: the records of `count` jobs, for a change in the same transaction."""
    return _records(count).order_by(jobs.c.id).with_for_update()


def _pause(count: int) -> Update:
    """Write: that `count` jobs are to pause."""
    return update(jobs).where(among(jobs.c.id, "id", count)).values(paused=clock())


def _resume(count: int) -> Update:
    """Write: that `count` jobs are to pause no longer."""
    return update(jobs).where(among(jobs.c.id, "id", count)).values(paused=None)


def _retry(count: int) -> Update:
    """Write: that those of `count` jobs which have failed are offered again, with new values where some are given."""
    failed = jobs.c.status == Status.FAILED.value
    asked = {name: func.coalesce(bindparam(f"new_{name}", type_=jobs.c[name].type), jobs.c[name]) for name in RETRIED}
    values: dict[str, Any] = {**moves.offered(0), **moves.ANEW, **asked}
    values |= {"status": Status.QUEUED.value, "attempt": jobs.c.attempt + 1, "send_after": clock()}
    return update(jobs).where(among(jobs.c.id, "id", count), failed).values(values).returning(*RECORD)
