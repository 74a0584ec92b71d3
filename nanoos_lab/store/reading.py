"""Reading the truth about jobs."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import select

from nanoos_lab.core.errors import JobNotFoundError
from nanoos_lab.core.record import Assignment, Segment
from nanoos_lab.core.request import Dependency, JobRequest
from nanoos_lab.core.resources import Limits, Resources
from nanoos_lab.core.status import Status
from nanoos_lab.core.structures import Structure
from nanoos_lab.store import records, sql, steering
from nanoos_lab.store.connect import database
from nanoos_lab.store.ids import require_possible
from nanoos_lab.store.records import job_record
from nanoos_lab.store.schema import jobs
from nanoos_lab.store.terms import FOREMOST, RECORD
from nanoos_lab.store.versions import ensure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from nanoos_lab.core.record import Attempt, Event, JobRecord, Steering
    from nanoos_lab.core.request import Delivery
    from nanoos_lab.store.queries import JobQuery
    from nanoos_lab.store.work import Row, Work

#: Most values in one IN list; SQLite allows 32 766.
_BATCH = 10_000


class StoreReader:
    """What is known of the jobs of one database; changes nothing.

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

    def __init__(self, url: str, *, lease: float = 60.0, resend: float = 5.0, check: bool = True) -> None:
        self._database = database(url)
        #: For how long a claim or a beat makes an attempt its worker's, in s.
        self.lease = lease
        self._resend = resend
        self._check = check

    def close(self) -> None:
        """Close the connections; the store may be used again."""
        self._database.close()

    def now(self) -> float:
        """Return the database's clock, in s since 1970."""
        with self._reading() as work:
            ((clock,),) = work.run(sql.now)
        return records.moment(clock).timestamp()

    def get(self, job_id: str) -> JobRecord:
        """Return one job; raises JobNotFoundError."""
        with self._reading() as work:
            return record_of(work, job_id)

    def get_many(self, ids: Collection[str]) -> dict[str, JobRecord]:
        """Return the jobs that exist among these ids."""
        wanted = list(ids)
        found: dict[str, JobRecord] = {}
        with self._reading() as work:
            for start in range(0, len(wanted), _BATCH):
                some = wanted[start : start + _BATCH]
                rows = work.query(select(*RECORD).where(jobs.c.id.in_(some)))
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
        return self.assignment(job_id).request

    def resources(self, job_id: str) -> Resources:
        """Return what an attempt of a job is to have; raises JobNotFoundError."""
        with self._reading() as work:
            rows = work.run(sql.asked, job=job_id)
        if not rows:
            raise JobNotFoundError(job_id)
        return Resources.from_any(json.loads(rows[0][0])["resources"])

    def assignment(self, job_id: str) -> Assignment:
        """Return what was asked for, and what the worker that runs it must know; raises JobNotFoundError."""
        with self._reading() as work:
            rows = work.run(sql.request, job=job_id)
            if not rows:
                raise JobNotFoundError(job_id)
            text, data, *rest = rows[0]
            steerings = steering.of(work, job_id) if rest[-1] else ()
        return _assignment((text, *rest), None if data is None else Structure(bytes(data)), steerings)

    def assignments(self, job_ids: Sequence[str]) -> dict[str, Assignment]:
        """Return what `assignment` does of many jobs, but for their structures; raises JobNotFoundError."""
        for job_id in job_ids:
            require_possible(job_id)
        with self._reading() as work:
            rows = {row[0]: row[1:] for row in work.run_for_all(sql.requests, job_ids)}
            steered = steering.of_many(work, [job_id for job_id, row in rows.items() if row[-1]])
        for job_id in job_ids:
            if job_id not in rows:
                raise JobNotFoundError(job_id)
        return {job_id: _assignment(rows[job_id], None, steered.get(job_id, ())) for job_id in job_ids}

    def tally(self, job_ids: Collection[str]) -> dict[Status, tuple[int, float]]:
        """Return how many of these jobs are in each status, and the sum over them of what fraction of each is done.

        A job that has ended counts as far as it came. Ids of jobs that do not exist are left out.
        """
        found: dict[Status, tuple[int, float]] = dict.fromkeys(Status, (0, 0.0))
        with self._reading() as work:
            for word, count, done in work.run_for_all(sql.tally, list(dict.fromkeys(job_ids))):
                before = found[Status(word)]
                found[Status(word)] = (before[0] + count, before[1] + done)
        return found

    def foremost(self, job_ids: Collection[str], limit: int) -> list[JobRecord]:
        """Return the first `limit` of these jobs in the order in which a person wants to see them, of a kind by age.

        Those that run come first, then those that have failed, then those that wait, and then the others.
        """
        with self._reading() as work:
            rows = work.run_for_all(sql.foremost, list(dict.fromkeys(job_ids)), most=limit)
        found = sorted(map(job_record, rows), key=lambda record: (FOREMOST.index(record.status), record.id))
        return found[:limit]

    def steerings(self, job_id: str) -> tuple[Steering, ...]:
        """Return the changes of a job's parameters that were asked for while it was on its way, in order."""
        with self._reading() as work:
            return steering.of(work, job_id)

    def holder(self, job_id: str) -> JobRecord:
        """Return the job whose files are the results of a job: itself, or the equal one; raises JobNotFoundError."""
        with self._reading() as work:
            record = record_of(work, job_id)
            return record if record.cached_from is None else record_of(work, record.cached_from)

    def segments(self, job_id: str) -> list[Segment]:
        """Return which samples of a job's attempts count, the first attempt first."""
        with self._reading() as work:
            rows = work.run(sql.segments_of, job=job_id)
        return [
            Segment(attempt=number, last_step=last, abandoned=records.from_json(correction).get("from_start", False))
            for number, last, correction in rows
        ]

    def parents(self, job_id: str) -> list[Dependency]:
        """Return the jobs that a job waits or waited for."""
        with self._reading() as work:
            rows = work.run(sql.parents_of, job=job_id)
        return [Dependency(parent=parent, after_failure=kind) for parent, kind in rows]

    def freed(self, job_id: str) -> list[Delivery]:
        """Return the messages of the jobs that a job's end has queued, as far as nobody has sent them yet."""
        with self._reading() as work:
            return [records.delivery(job_record(row)) for row in work.run(sql.freed, job=job_id)]

    def attempts(self, job_id: str) -> list[Attempt]:
        """Return the attempts at a job, the first first."""
        with self._reading() as work:
            return [records.attempt(row) for row in work.run(sql.attempts_of, job=job_id)]

    def events(self, job_id: str, *, after: int = 0) -> list[Event]:
        """Return the history of a job, the oldest first; only what is newer than event number `after`."""
        with self._reading() as work:
            return [records.event(row) for row in work.run(sql.events_of, job=job_id, after=after)]

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


def _assignment(row: Row, structure: Structure | None, steerings: tuple[Steering, ...]) -> Assignment:
    """Make an assignment of request, limits, time that it ran and corrections."""
    text, limits, ran, corrected, *_ = row
    return Assignment(
        request=JobRequest.from_json(json.loads(text), structure),
        limits=Limits(**records.from_json(limits)),
        ran=ran,
        corrected=records.from_json(corrected),
        steerings=steerings,
    )


def record_of(work: Work, job_id: str) -> JobRecord:
    """Read one job in a transaction; raises JobNotFoundError."""
    require_possible(job_id)
    rows = work.run(sql.record, job=job_id)
    if not rows:
        raise JobNotFoundError(job_id)
    return job_record(rows[0])
