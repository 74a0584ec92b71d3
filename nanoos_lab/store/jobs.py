"""The truth about jobs."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from nanoos_lab.core.errors import JobNotFoundError, ParameterError, TransitionError
from nanoos_lab.core.request import JobRequest
from nanoos_lab.core.status import Status
from nanoos_lab.core.structures import Structure
from nanoos_lab.store import changes, records, sql
from nanoos_lab.store.changes import NOW, FromNow
from nanoos_lab.store.connect import database
from nanoos_lab.store.records import Orders, job_record
from nanoos_lab.store.schema import jobs
from nanoos_lab.store.submit import insert_jobs
from nanoos_lab.store.versions import ensure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from nanoos_lab.core.record import Attempt, Event, Failure, JobRecord
    from nanoos_lab.core.request import Delivery, Submission
    from nanoos_lab.store.queries import JobQuery
    from nanoos_lab.store.records import Holder
    from nanoos_lab.store.work import Work

#: Most values in one IN list; SQLite allows 32 766.
_BATCH = 10_000


class Store:
    """The jobs of one database; safe to share between threads, connects when it is first used.

    Every change of a job is one compare-and-set on (id, status, attempt) in one transaction with its line of
    history; what a stale attempt still says changes nothing. Deadlines know only the database's clock.

    Parameters
    ----------
    url
        ``sqlite:///path`` or ``postgresql://…``.
    lease
        For how long a claim or a beat makes an attempt its worker's, in s.
    resend
        After how long the message of a job that nobody has claimed is due to be sent again, in s.
    check
        Whether to look at the schema's version before the first use, and to make the schema if there is none.

    Raises
    ------
    StoreError
        From every method, if the database does not answer.
    SchemaError
        From every method, if the database belongs to another version of nanoos_lab.
    SettingsError
        If the URL or the place of the database cannot work.
    """

    def __init__(self, url: str, *, lease: float = 60.0, resend: float = 30.0, check: bool = True) -> None:
        self._database = database(url)
        self._lease = lease
        self._resend = resend
        self._check = check

    def close(self) -> None:
        """Close the connections; the store may be used again."""
        self._database.close()

    # -- reading ------------------------------------------------------------------------------------------------

    def get(self, job_id: str) -> JobRecord:
        """Return one job; raises JobNotFoundError."""
        with self._reading() as work:
            return _record(work, job_id)

    def get_many(self, ids: Collection[str]) -> dict[str, JobRecord]:
        """Return the jobs that exist among these ids."""
        wanted = list(ids)
        found: dict[str, JobRecord] = {}
        with self._reading() as work:
            for start in range(0, len(wanted), _BATCH):
                some = wanted[start : start + _BATCH]
                rows = work.query(select(*sql.RECORD).where(jobs.c.id.in_(some)))
                found.update((row[0], job_record(row)) for row in rows)
        return found

    def find(self, query: JobQuery) -> list[JobRecord]:
        """Return the jobs that a query asks for, newest first."""
        with self._reading() as work:
            return [job_record(row) for row in work.query(query.select())]

    def count(self) -> dict[Status, int]:
        """Return how many jobs there are in each status."""
        with self._reading() as work:
            found: dict[str, int] = dict(work.run(sql.counts))
        return {status: found.get(status.value, 0) for status in Status}

    def request(self, job_id: str) -> JobRequest:
        """Return what was asked for; raises JobNotFoundError."""
        with self._reading() as work:
            rows = work.run(sql.request, job=job_id)
        if not rows:
            raise JobNotFoundError(job_id)
        text, data = rows[0]
        return JobRequest.from_json(json.loads(text), None if data is None else Structure(bytes(data)))

    def attempts(self, job_id: str) -> list[Attempt]:
        """Return the attempts at a job, the first first."""
        with self._reading() as work:
            return [records.attempt(row) for row in work.run(sql.attempts_of, job=job_id)]

    def events(self, job_id: str, *, after: int = 0) -> list[Event]:
        """Return the history of a job, the oldest first; only what is newer than event number `after`."""
        with self._reading() as work:
            return [records.event(row) for row in work.run(sql.events_of, job=job_id, after=after)]

    # -- for those who submit -----------------------------------------------------------------------------------

    def add(self, submissions: Sequence[Submission]) -> list[JobRecord]:
        """Record jobs as queued, all or none; each structure is stored once."""
        if not submissions:
            return []
        with self._writing() as work:
            return insert_jobs(work, submissions)

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job: at once if it waits, by a request to its worker if it runs; one that has ended stays.

        Raises
        ------
        JobNotFoundError
        """
        with self._writing() as work:
            record, _ = _locked(work, job_id)
            if record.status.finished:
                return record
            if record.status is Status.RUNNING:
                if record.cancel_requested is None:
                    changes.add_event(work, job_id, record.attempt, "cancel", "a cancel was asked for")
                return job_record(work.run(sql.request_cancel, job=job_id)[0])
            move = (record.status, Status.CANCELLED)
            values = {"ended": NOW, "cancel_requested": NOW}
            return changes.change(work, job_id, record.attempt, move, values) or _record(work, job_id)

    def move(
        self, job_id: str, *, to: Status, expected: Status, attempt: int, failure: Failure | None = None
    ) -> JobRecord:
        """Set a job's status by hand.

        Parameters
        ----------
        job_id
            The job.
        to
            The new status. Never "running": only a worker's claim starts an attempt.
        expected, attempt
            Where the caller believes the job to be.
        failure
            Why; needed for "failed".

        Raises
        ------
        TransitionError
            If the job is elsewhere, the move is not legal, or a worker holds the lease of the attempt.
        JobNotFoundError
        """
        changes.check_move(expected, to)
        if to is Status.RUNNING:
            raise TransitionError("only a worker's claim makes a job running")
        if to is Status.FAILED and failure is None:
            raise ParameterError("failure", None, "a Failure, which the status 'failed' needs")
        with self._writing() as work:
            record, held = _locked(work, job_id)
            if (record.status, record.attempt) != (expected, attempt):
                raise TransitionError(
                    f"job {job_id} is {record.status} (attempt {record.attempt}), not {expected} (attempt {attempt})"
                )
            if held:
                raise TransitionError(
                    f"job {job_id} runs on {record.worker}, which holds it until {record.lease_until}"
                )
            return changes.move_by_hand(work, record, to, failure)

    # -- for the worker that runs an attempt --------------------------------------------------------------------

    def claim(self, job_id: str, attempt: int, holder: Holder) -> JobRecord | None:
        """Make a queued attempt this holder's; None if it is not to be had (any more)."""
        move = (Status.QUEUED, Status.RUNNING)
        values = {"worker": holder.worker, "step": 0, "started": NOW, "lease_until": FromNow(self._lease)}
        with self._writing() as work:
            record = changes.change(work, job_id, attempt, move, values)
            if record is not None:
                work.run(sql.begin_attempt, job=job_id, host=holder.host, pid=holder.pid)
            return record

    def beat(self, job_id: str, attempt: int, *, step: int, total: int | None) -> Orders:
        """Renew the lease of a running attempt and note its progress; learn whether to go on.

        A total of None leaves the one that is known.
        """
        with self._reading() as work:
            rows = work.run(sql.beat, job=job_id, known=attempt, lease=self._lease, new_step=step, new_total=total)
        return Orders(current=bool(rows), cancel=bool(rows) and rows[0][0] is not None)

    def succeed(
        self,
        job_id: str,
        attempt: int,
        *,
        step: int,
        total: int | None = None,
        scalars: Mapping[str, float | int | str | bool],
        provenance: Mapping[str, Any],
    ) -> bool:
        """Accept the results of a running attempt, for good; False if it is no longer the current one.

        A total of None leaves the one that is known.
        """
        values = {"step": step, "scalars": records.to_json(scalars)}
        if total is not None:
            values["total"] = total
        with self._writing() as work:
            ended = changes.end(work, job_id, attempt, Status.SUCCEEDED, provenance=provenance, values=values)
        return ended is not None

    def fail(self, job_id: str, attempt: int, failure: Failure, *, provenance: Mapping[str, Any] | None = None) -> bool:
        """End a running attempt without results; False if it is no longer the current one."""
        with self._writing() as work:
            ended = changes.end(work, job_id, attempt, Status.FAILED, failure=failure, provenance=provenance)
        return ended is not None

    def end_cancelled(self, job_id: str, attempt: int) -> bool:
        """End a running attempt that was cancelled; False if it is no longer the current one."""
        with self._writing() as work:
            return changes.end(work, job_id, attempt, Status.CANCELLED) is not None

    def add_event(self, job_id: str, attempt: int, kind: str, text: str) -> None:
        """Append a line to the history of a job; raises JobNotFoundError."""
        with self._reading() as work:
            changes.add_event(work, job_id, attempt, kind, text)

    # -- for the reconciler -------------------------------------------------------------------------------------

    def undelivered(self, *, limit: int = 1000) -> list[Delivery]:
        """Return what waits for a message: never sent, or sent `resend` seconds ago and not claimed since."""
        with self._reading() as work:
            rows = work.run(sql.undelivered, most=limit)
        return [records.delivery(job_record(row)) for row in rows]

    def mark_sent(self, deliveries: Sequence[Delivery]) -> None:
        """Note that messages are on their way; they are due again after `resend` seconds."""
        if not deliveries:
            return
        sent = [{"job": item.job_id, "known": item.attempt, "resend": self._resend} for item in deliveries]
        with self._writing() as work:
            work.run_many(sql.mark_sent, sent)

    def expire(self, *, limit: int = 1000) -> list[JobRecord]:
        """Take attempts whose lease is over from their workers: offer them again, or end the job.

        Returns
        -------
        list of JobRecord
            The jobs that changed: queued with the next attempt, failed with `Reason.LOST` after the last one, or
            cancelled if that was asked for.
        """
        with self._reading() as work:
            if not work.run(sql.any_expired):
                return []
        with self._writing() as work:
            over = [job_record(row) for row in work.run(sql.expired, most=limit)]
            lost = [
                changes.lose(work, record, f"worker {record.worker} was not heard of for {self._lease:g} s")
                for record in over
            ]
        return [record for record in lost if record is not None]

    def lose(self, job_id: str, attempt: int, message: str) -> JobRecord | None:
        """Take an attempt from a worker that is known to be gone, without waiting for the end of its lease.

        Returns
        -------
        JobRecord or None
            The job as `expire` would leave it; None if the attempt was not running.
        """
        with self._writing() as work:
            record, _ = _locked(work, job_id)
            if (record.status, record.attempt) != (Status.RUNNING, attempt):
                return None
            return changes.lose(work, record, message)

    # -- connections --------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Work]:
        """Yield the means to run statements that stand each for itself."""
        self._ensure()
        with self._database.autocommit() as work:
            yield work

    @contextmanager
    def _writing(self) -> Iterator[Work]:
        """Yield the means to work in one transaction."""
        self._ensure()
        with self._database.transaction() as work:
            yield work

    def _ensure(self) -> None:
        if self._check:
            ensure(self._database)


def _record(work: Work, job_id: str) -> JobRecord:
    rows = work.run(sql.record, job=job_id)
    if not rows:
        raise JobNotFoundError(job_id)
    return job_record(rows[0])


def _locked(work: Work, job_id: str) -> tuple[JobRecord, bool]:
    """Read a job for a change in the same transaction, and whether a lease on it is running."""
    rows = work.run(sql.locked_record, job=job_id)
    if not rows:
        raise JobNotFoundError(job_id)
    return job_record(rows[0]), bool(rows[0][-1])
