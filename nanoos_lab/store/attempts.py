"""What happens to the attempts at jobs."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import JobNotFoundError
from nanoos_lab.core.status import Status
from nanoos_lab.store import changes, followers, moves, records, sql, steering
from nanoos_lab.store.changes import Ending
from nanoos_lab.store.connect import persistent
from nanoos_lab.store.moves import NOW, FromNow
from nanoos_lab.store.reading import StoreReader, record_of
from nanoos_lab.store.records import Orders, job_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nanoos_lab.core.record import Attempt, Correction, Failure, JobRecord, Usage
    from nanoos_lab.core.request import Delivery
    from nanoos_lab.store.records import Holder
    from nanoos_lab.store.work import Work

    Spare = Callable[[Attempt, float], bool]


class AttemptStore(StoreReader):
    """The attempts at the jobs of one database: their begin, their course and their end.

    The parameters and errors are those of `StoreReader`.
    """

    # -- for the worker that runs an attempt --------------------------------------------------------------------

    @persistent
    def claim(self, job_id: str, attempt: int, holder: Holder) -> JobRecord | None:
        """Make a queued attempt this holder's; None if it is not to be had (any more)."""
        move = (Status.QUEUED, Status.RUNNING)
        values = {"worker": holder.worker, "step": 0, "started": NOW, "lease_until": FromNow(self.lease)}
        with self._writing() as work:
            record = changes.change(work, job_id, attempt, move, values)
            if record is not None:
                work.run(sql.begin_attempt, job=job_id, host=holder.host, pid=holder.pid)
            return record

    def beat(self, job_id: str, attempt: int, *, step: int, total: int | None, known: int = 0) -> Orders:
        """Renew the lease of a running attempt and note its progress; learn whether to go on, and how.

        A total of None leaves the one that is known; `known` is of how many steerings the attempt knows.
        """
        with self._reading() as work:
            rows = work.run(sql.beat, job=job_id, known=attempt, lease=self.lease, new_step=step, new_total=total)
            if not rows:
                return Orders(current=False, cancel=False)
            cancel, pause = (asked is not None for asked in rows[0][:2])
            news = steering.of(work, job_id, after=known) if rows[0][2] > known else ()
            # A cancel waits as long as others want the results.
            cancel = cancel and not followers.has_joiners(work, job_id)
        return Orders(current=True, cancel=cancel, pause=pause, steerings=news)

    @persistent
    def steered(self, job_id: str, attempt: int, applied: Mapping[int, int]) -> bool:
        """Note at which step each of some steerings, by number, was applied; False if the attempt is not current."""
        with self._writing() as work:
            if _running(work, job_id, attempt) is None:
                return False
            steering.note_applied(work, job_id, attempt, applied)
            return True

    @persistent
    def succeed(
        self,
        job_id: str,
        attempt: int,
        *,
        step: int,
        total: int | None = None,
        scalars: Mapping[str, float | int | str | bool],
        provenance: Mapping[str, Any],
        usage: Usage | None = None,
    ) -> bool:
        """Accept the results of a running attempt, for good; False if it is no longer the current one.

        A total of None leaves the one that is known.
        """
        values = {"step": step, "scalars": records.to_json(scalars)}
        if total is not None:
            values["total"] = total
        ending = Ending(outcome=Status.SUCCEEDED.value, provenance=provenance, usage=usage)
        with self._writing() as work:
            return changes.end(work, job_id, attempt, Status.SUCCEEDED, ending, values) is not None

    @persistent
    def fail(
        self,
        job_id: str,
        attempt: int,
        failure: Failure,
        *,
        provenance: Mapping[str, Any] | None = None,
        usage: Usage | None = None,
        correction: Correction | None = None,
        final: bool = False,
    ) -> JobRecord | None:
        """End a running attempt without results; `provenance` is what it was begun with.

        With a correction, the job is offered again with other parameters, unless that was done often enough. A final
        failure is not tried again, whatever its reason.

        Returns
        -------
        JobRecord or None
            The job afterwards: failed, or, where another attempt makes sense, queued or pending. None if the attempt
            was no longer the current one.
        """
        ending = Ending(
            outcome=Status.FAILED.value,
            failure=failure,
            provenance=provenance,
            usage=usage,
            correction=correction,
            final=final,
        )
        with self._writing() as work:
            record = _running(work, job_id, attempt)
            return None if record is None else changes.fail(work, record, ending)

    @persistent
    def end_cancelled(self, job_id: str, attempt: int, *, usage: Usage | None = None) -> bool:
        """End a running attempt that was cancelled; False if it is no longer the current one."""
        ending = Ending(outcome=Status.CANCELLED.value, usage=usage)
        with self._writing() as work:
            return changes.end(work, job_id, attempt, Status.CANCELLED, ending) is not None

    @persistent
    def release(self, job_id: str, attempt: int, *, usage: Usage) -> JobRecord | None:
        """Give up a running attempt to make room while its job pauses; the job goes on with the next when resumed.

        Returns
        -------
        JobRecord or None
            The job afterwards: pending, or queued if the pause has ended meanwhile, or cancelled if that was asked
            for. None if the attempt was no longer the current one.
        """
        with self._writing() as work:
            record = _running(work, job_id, attempt)
            if record is None:
                return None
            if followers.unwanted(work, record):
                ending = Ending(outcome=Status.CANCELLED.value, usage=usage)
                return changes.end(work, job_id, attempt, Status.CANCELLED, ending)
            ran = work.run(sql.request, job=job_id)[0][3] + usage.ran
            return changes.again(work, record, Ending(outcome=changes.PAUSED, usage=usage), values={"ran": ran})

    def count_all(self, job_id: str, attempt: int, step: int) -> bool:
        """Let the samples of all earlier attempts count up to a step; False if the attempt is not the current one."""
        with self._writing() as work:
            if _running(work, job_id, attempt) is None:
                return False
            work.run(sql.count_all, job=job_id, known=attempt, step=step)
            return True

    def add_event(self, job_id: str, attempt: int, kind: str, text: str) -> None:
        """Append a line to the history of a job; raises JobNotFoundError."""
        with self._reading() as work:
            moves.add_event(work, job_id, attempt, kind, text)

    # -- for the reconciler -------------------------------------------------------------------------------------

    def undelivered(self, *, limit: int = 5000) -> list[Delivery]:
        """Return what waits for a message: never sent, or sent `resend` seconds ago and not claimed since."""
        with self._reading() as work:
            rows = work.run(sql.undelivered, most=limit)
        return [records.delivery(job_record(row)) for row in rows]

    @persistent
    def mark_sent(self, deliveries: Sequence[Delivery], *, again: float | None = None) -> None:
        """Note that messages are on their way; they are due again after so many seconds, or after `resend`."""
        if not deliveries:
            return
        ordered = sorted(deliveries, key=attrgetter("job_id"))
        after = self._resend if again is None else again
        sent = [{"job": item.job_id, "known": item.attempt, "resend": after} for item in ordered]
        with self._writing() as work:
            work.run_many(sql.mark_sent, sent)

    @persistent
    def promote(self, *, limit: int = 1000) -> list[JobRecord]:
        """Queue the pending jobs whose time has come and that wait for nothing else; return them."""
        with self._reading() as work:
            if not work.run(sql.any_ready):
                return []
        with self._writing() as work:
            offered = [moves.offer(work, job_record(row)) for row in work.run(sql.ready, most=limit)]
        return [record for record in offered if record is not None]

    @persistent
    def expire(self, *, limit: int = 1000, spare: Spare | None = None) -> list[JobRecord]:
        """Take attempts whose lease is over from their workers: offer them again, or end the job.

        Parameters
        ----------
        limit
            Most jobs to look at.
        spare
            Told of an attempt and for how many seconds its lease has been over; whether to leave it alone for now.

        Returns
        -------
        list of JobRecord
            The jobs that changed: queued or pending with the next attempt, failed with `Reason.LOST` after the last
            one, or cancelled if that was asked for.
        """
        with self._reading() as work:
            if not work.run(sql.any_expired):
                return []
        with self._writing() as work:
            over = [job_record(row) for row in work.run(sql.expired, most=limit)]
            if spare is not None:
                over = [record for record in over if not spare(*_overdue(work, record))]
            lost = [
                changes.lose(work, record, f"worker {record.worker} was not heard of for {self.lease:g} s")
                for record in over
            ]
        return [record for record in lost if record is not None]

    @persistent
    def lose(self, job_id: str, attempt: int, message: str, *, counts: bool = True) -> JobRecord | None:
        """Take an attempt from a worker that is known to be gone, without waiting for the end of its lease.

        Parameters
        ----------
        job_id, attempt
            The attempt.
        message
            What happened to the worker.
        counts
            Whether it counts as a failure of the job; not where somebody has stopped the worker on purpose.

        Returns
        -------
        JobRecord or None
            The job as `expire` would leave it; None if the attempt was not running.
        """
        with self._writing() as work:
            record = _running(work, job_id, attempt)
            return None if record is None else changes.lose(work, record, message, counts=counts)


def locked(work: Work, job_id: str, *, leader_first: bool = False) -> tuple[JobRecord, bool]:
    """Read a job for a change in the same transaction, and whether a lease on it is running.

    The end of a job that waits for the results of an equal one may end that one too, which is locked first then, as
    the end of that one does it.
    """
    leader = record_of(work, job_id).cached_from if leader_first else None
    if leader is not None:
        work.run(sql.locked_record, job=leader)
    rows = work.run(sql.locked_record, job=job_id)
    if not rows:
        raise JobNotFoundError(job_id)
    return job_record(rows[0]), bool(rows[0][-1])


def _overdue(work: Work, record: JobRecord) -> tuple[Attempt, float]:
    """Return the running attempt of a job, and for how long its lease has been over, in s."""
    rows = work.run(sql.attempts_of, job=record.id)
    ((clock,),) = work.run(sql.now)
    until = record.lease_until or records.moment(clock)
    return records.attempt(rows[-1]), (records.moment(clock) - until).total_seconds()


def _running(work: Work, job_id: str, attempt: int) -> JobRecord | None:
    """Read a job for the end of its attempt; None if that is no longer the current one."""
    record, _ = locked(work, job_id)
    return record if (record.status, record.attempt) == (Status.RUNNING, attempt) else None
