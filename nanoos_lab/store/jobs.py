"""The truth about jobs."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from nanoos_lab.core.errors import JobNotFoundError, ParameterError, TransitionError
from nanoos_lab.core.request import JobRequest
from nanoos_lab.core.status import MOVES, Status
from nanoos_lab.core.structures import Structure
from nanoos_lab.store import changes, records
from nanoos_lab.store.connect import database
from nanoos_lab.store.records import RECORD, Orders, job_record
from nanoos_lab.store.schema import attempts, clock, events, jobs, structures
from nanoos_lab.store.submit import insert_jobs
from nanoos_lab.store.versions import ensure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from nanoos_lab.core.record import Attempt, Event, Failure, JobRecord
    from nanoos_lab.core.request import Delivery, Submission
    from nanoos_lab.store.queries import JobQuery
    from nanoos_lab.store.records import Holder

#: Most values in one IN list; SQLite allows 32 766.
_BATCH = 10_000


class Store:
    """The jobs of one database; safe to share between threads, connects when it is first used.

    Every change of a job is one compare-and-set on (id, status, attempt) in one transaction with its line of history;
    what a stale attempt still says changes nothing. Deadlines know only the database's clock.

    Parameters
    ----------
    url
        ``sqlite:///path`` or ``postgresql://…``.
    lease
        For how long a claim or a beat makes an attempt its worker's, in s.
    resend
        After how long the message of a job that nobody has claimed is offered for sending again, in s.
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
        with self._reading() as connection:
            return _record(connection, job_id)

    def get_many(self, ids: Collection[str]) -> dict[str, JobRecord]:
        """Return the jobs that exist among these ids."""
        found: dict[str, JobRecord] = {}
        with self._reading() as connection:
            for some in _batches(ids):
                rows = connection.execute(select(*RECORD).where(jobs.c.id.in_(some)))
                found.update((row.id, job_record(row)) for row in rows)
        return found

    def find(self, query: JobQuery) -> list[JobRecord]:
        """Return the jobs that a query asks for, newest first."""
        with self._reading() as connection:
            return [job_record(row) for row in connection.execute(query.select())]

    def count(self) -> dict[Status, int]:
        """Return how many jobs there are in each status."""
        statement = select(jobs.c.status, func.count()).group_by(jobs.c.status)
        with self._reading() as connection:
            found = {word: number for word, number in connection.execute(statement)}
        return {status: found.get(status.value, 0) for status in Status}

    def request(self, job_id: str) -> JobRequest:
        """Return what was asked for; raises JobNotFoundError."""
        statement = (
            select(jobs.c.request, structures.c.data)
            .select_from(jobs.outerjoin(structures))
            .where(jobs.c.id == job_id)
        )
        with self._reading() as connection:
            row = connection.execute(statement).one_or_none()
        if row is None:
            raise JobNotFoundError(job_id)
        return JobRequest.from_json(json.loads(row.request), Structure(bytes(row.data)) if row.data else None)

    def attempts(self, job_id: str) -> list[Attempt]:
        """Return the attempts at a job, the first first."""
        statement = select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.number)
        with self._reading() as connection:
            return [records.attempt(row) for row in connection.execute(statement)]

    def events(self, job_id: str, *, after: int = 0) -> list[Event]:
        """Return the history of a job, the oldest first; only what is newer than event number `after`."""
        statement = (
            select(events).where(events.c.job_id == job_id, events.c.number > after).order_by(events.c.number)
        )
        with self._reading() as connection:
            return [records.event(row) for row in connection.execute(statement)]

    # -- for those who submit -----------------------------------------------------------------------------------

    def add(self, submissions: Sequence[Submission]) -> list[JobRecord]:
        """Record jobs as queued, all or none; each structure is stored once."""
        if not submissions:
            return []
        with self._writing() as connection:
            return insert_jobs(connection, submissions)

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job: at once if it waits, by a request to its worker if it runs, not at all if it has ended.

        Raises
        ------
        JobNotFoundError
        """
        with self._writing() as connection:
            row = changes.locked(connection, job_id)
            status = Status(row.status)
            if status.finished:
                return _record(connection, job_id)
            if status is Status.RUNNING:
                if row.cancel_requested is None:
                    changes.add_event(connection, job_id, row.attempt, "cancel", "a cancel was asked for")
                return changes.request_cancel(connection, job_id)
            move = (status, Status.CANCELLED)
            changed = changes.change(
                connection, job_id, row.attempt, move, ended=clock(), cancel_requested=clock()
            )
            return changed or _record(connection, job_id)

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
        to, expected = Status(to), Status(expected)
        if to is Status.FAILED and failure is None:
            raise ParameterError("failure", None, "a Failure, which the status 'failed' needs")
        if to not in MOVES[expected]:
            raise TransitionError(f"a job cannot go from {expected} to {to}")
        if to is Status.RUNNING:
            raise TransitionError("only a worker's claim makes a job running")
        with self._writing() as connection:
            row = changes.locked(connection, job_id)
            if (row.status, row.attempt) != (expected.value, attempt):
                raise TransitionError(
                    f"job {job_id} is {row.status} (attempt {row.attempt}), not {expected} (attempt {attempt})"
                )
            if row.held:
                raise TransitionError(
                    f"job {job_id} runs on {row.worker}, which holds it until {row.lease_until}"
                )
            return changes.move_by_hand(connection, row, to, failure)

    # -- for the worker that runs an attempt --------------------------------------------------------------------

    def claim(self, job_id: str, attempt: int, holder: Holder) -> JobRecord | None:
        """Make a queued attempt this holder's; None if it is not to be had (any more)."""
        with self._writing() as connection:
            record = changes.change(
                connection,
                job_id,
                attempt,
                (Status.QUEUED, Status.RUNNING),
                worker=holder.worker,
                step=0,
                started=clock(),
                lease_until=clock(self._lease),
            )
            if record is not None:
                values = {
                    "worker": holder.worker,
                    "host": holder.host,
                    "pid": holder.pid,
                    "started": record.started,
                }
                connection.execute(insert(attempts), {"job_id": job_id, "number": attempt, **values})
            return record

    def beat(self, job_id: str, attempt: int, *, step: int, total: int | None) -> Orders:
        """Renew the lease of a running attempt and note its progress; learn whether to go on.

        A total of None leaves the one that is known.
        """
        statement = (
            update(jobs)
            .where(jobs.c.id == job_id, jobs.c.status == Status.RUNNING.value, jobs.c.attempt == attempt)
            .values(lease_until=clock(self._lease), step=step, total=func.coalesce(total, jobs.c.total))
            .returning(jobs.c.cancel_requested)
        )
        with self._autocommit() as connection:
            row = connection.execute(statement).one_or_none()
        return Orders(current=row is not None, cancel=row is not None and row.cancel_requested is not None)

    def succeed(
        self,
        job_id: str,
        attempt: int,
        *,
        step: int,
        scalars: Mapping[str, float | int | str | bool],
        provenance: Mapping[str, Any],
    ) -> bool:
        """Accept the results of a running attempt, for good; False if it is no longer the current one."""
        with self._writing() as connection:
            values = {"step": step, "scalars": records.to_json(scalars)}
            return bool(
                changes.end(connection, job_id, attempt, Status.SUCCEEDED, provenance=provenance, **values)
            )

    def fail(
        self, job_id: str, attempt: int, failure: Failure, *, provenance: Mapping[str, Any] | None = None
    ) -> bool:
        """End a running attempt without results; False if it is no longer the current one."""
        with self._writing() as connection:
            return bool(
                changes.end(
                    connection, job_id, attempt, Status.FAILED, failure=failure, provenance=provenance
                )
            )

    def end_cancelled(self, job_id: str, attempt: int) -> bool:
        """End a running attempt that was cancelled; False if it is no longer the current one."""
        with self._writing() as connection:
            return bool(changes.end(connection, job_id, attempt, Status.CANCELLED))

    def add_event(self, job_id: str, attempt: int, kind: str, text: str) -> None:
        """Append a line to the history of a job; raises JobNotFoundError."""
        try:
            with self._autocommit() as connection:
                changes.add_event(connection, job_id, attempt, kind, text)
        except IntegrityError:
            raise JobNotFoundError(job_id) from None

    # -- for the reconciler -------------------------------------------------------------------------------------

    def undelivered(self, *, limit: int = 1000) -> list[Delivery]:
        """Return what waits for a message: never sent, or sent `resend` seconds ago and not claimed since."""
        statement = (
            select(*RECORD)
            .where(jobs.c.status == Status.QUEUED.value, jobs.c.send_after <= clock())
            .order_by(jobs.c.send_after, jobs.c.id)
            .limit(limit)
        )
        with self._reading() as connection:
            return [records.delivery(job_record(row)) for row in connection.execute(statement)]

    def mark_sent(self, deliveries: Sequence[Delivery]) -> None:
        """Note that messages are on their way; they are offered again after `resend` seconds."""
        if not deliveries:
            return
        statement = (
            update(jobs)
            .where(
                jobs.c.id == bindparam("job"),
                jobs.c.attempt == bindparam("number"),
                jobs.c.status == Status.QUEUED.value,
            )
            .values(send_after=clock(self._resend))
        )
        with self._writing() as connection:
            connection.execute(
                statement, [{"job": item.job_id, "number": item.attempt} for item in deliveries]
            )

    def expire(self, *, limit: int = 1000) -> list[JobRecord]:
        """Take attempts whose lease is over from their workers: offer them again, or end the job.

        Returns
        -------
        list of JobRecord
            The jobs that changed: queued with the next attempt, failed with `Reason.LOST` after the last one, or
            cancelled if that was asked for.
        """
        over = (jobs.c.status == Status.RUNNING.value, jobs.c.lease_until < clock())
        statement = select(*RECORD).where(*over).limit(limit)
        with self._reading() as connection:
            if connection.execute(statement.limit(1)).first() is None:
                return []
        with self._writing() as connection:
            rows = connection.execute(statement.with_for_update(skip_locked=True)).all()
            changed = [
                changes.lose(
                    connection, row, f"worker {row.worker} has not been heard of for {self._lease:g} s"
                )
                for row in rows
            ]
        return [record for record in changed if record is not None]

    def lose(self, job_id: str, attempt: int, message: str) -> JobRecord | None:
        """Take an attempt from a worker that is known to be gone, without waiting for the end of its lease.

        Returns
        -------
        JobRecord or None
            The job as `expire` would leave it; None if the attempt was not running.
        """
        with self._writing() as connection:
            row = changes.locked(connection, job_id)
            if (row.status, row.attempt) != (Status.RUNNING.value, attempt):
                return None
            return changes.lose(connection, row, message)

    # -- connections --------------------------------------------------------------------------------------------

    @contextmanager
    def _autocommit(self) -> Iterator[Connection]:
        self._ensure()
        with self._database.autocommit() as connection:
            yield connection

    _reading = _autocommit

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        self._ensure()
        with self._database.transaction() as connection:
            yield connection

    def _ensure(self) -> None:
        if self._check:
            ensure(self._database)


def _record(connection: Connection, job_id: str) -> JobRecord:
    row = connection.execute(select(*RECORD).where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise JobNotFoundError(job_id)
    return job_record(row)


def _batches(ids: Collection[str]) -> Iterator[list[str]]:
    wanted = list(ids)
    for start in range(0, len(wanted), _BATCH):
        yield wanted[start : start + _BATCH]


def warm(url: str | None = None) -> None:
    """Prepare a process that forks: load the drivers and, for a URL, its engine; opens nothing."""
    if url is not None:
        database(url)
