"""The truth about jobs: submitted, cancelled, paused, steered, tried again and moved by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import ParameterError, TransitionError
from nanoos_lab.core.status import Status
from nanoos_lab.store import changes, many, moves, records, sql, steering
from nanoos_lab.store.attempts import AttemptStore, locked
from nanoos_lab.store.connect import persistent
from nanoos_lab.store.reading import record_of
from nanoos_lab.store.records import job_record
from nanoos_lab.store.submit import insert_jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nanoos_lab.core.record import Failure, JobRecord
    from nanoos_lab.core.request import Submission
    from nanoos_lab.core.resources import Limits, RetryPolicy
    from nanoos_lab.store.work import Work


class Store(AttemptStore):
    """The jobs of one database; safe to share between threads, connects when it is first used.

    Every change of a job is one compare-and-set on (id, status, attempt) in one transaction with its line of
    history; what a stale attempt still says changes nothing. Deadlines know only the database's clock.
    The parameters and errors are those of `StoreReader`.
    """

    @persistent
    def add(self, submissions: Sequence[Submission]) -> list[JobRecord]:
        """Record jobs, all or none; each structure is stored once.

        Returns
        -------
        list of JobRecord
            In the order given: queued; pending, if they wait for others, for their time, or for the results of an
            equal job; succeeded, with the results of an equal job; or cancelled, after one that had failed.

        Raises
        ------
        InputError
            If they depend on each other in a circle.
        JobNotFoundError
            If they depend on a job that does not exist.
        """
        if not submissions:
            return []
        with self._writing() as work:
            return insert_jobs(work, submissions)

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job: at once if it waits, by a request to its worker if it runs; one that has ended stays.

        A run whose results equal jobs wait for goes on until the last of them is cancelled too.

        Raises
        ------
        JobNotFoundError
        """
        return self.cancel_many([job_id])[0]

    @persistent
    def cancel_many(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Cancel jobs, all or none, as `cancel` does with one; return what it returns, in the order given.

        Raises
        ------
        JobNotFoundError
        """
        with self._writing() as work:
            # All at first, in the order of their ids: whoever else changes many of them does so too.
            many.lock(work, job_ids, leaders_first=True)
            return [_cancel(work, job_id) for job_id in job_ids]

    def pause(self, job_id: str) -> JobRecord:
        """Pause a job: a waiting one is held back, a running one is asked to rest; one that has ended stays.

        Raises
        ------
        JobNotFoundError
        """
        return self.pause_many([job_id])[0]

    @persistent
    def pause_many(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Pause jobs, all or none, as `pause` does with one; return them afterwards, in the order given.

        Raises
        ------
        JobNotFoundError
        """
        with self._writing() as work:
            found = many.lock(work, job_ids)
            many.pause(work, [one.id for one in found if not one.status.finished and one.paused is None])
            return many.read(work, job_ids)

    def resume(self, job_id: str) -> JobRecord:
        """End the pause of a job.

        Raises
        ------
        JobNotFoundError
        """
        return self.resume_many([job_id])[0]

    @persistent
    def resume_many(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """End the pauses of jobs, all or none; return the jobs afterwards, in the order given.

        Raises
        ------
        JobNotFoundError
        """
        with self._writing() as work:
            many.resume(work, [one.id for one in many.lock(work, job_ids) if one.paused is not None])
            return many.read(work, job_ids)

    @persistent
    def steer(self, job_id: str, changes: Mapping[str, Any], *, who: str = "") -> tuple[JobRecord, int]:
        """Have parameters of a job changed at the next step at which its run can do so.

        Its results are its own from now on: equal jobs that waited for them wait for one of themselves.

        Parameters
        ----------
        job_id
            The job.
        changes
            Parameters of its task by name, plain values, which the caller has checked.
        who
            Who asks for it.

        Returns
        -------
        JobRecord, int
            The job afterwards, and the number of the steering.

        Raises
        ------
        TransitionError
            If it has ended, or is being cancelled.
        JobNotFoundError
        """
        with self._writing() as work:
            (record,) = many.lock(work, [job_id], leaders_first=True)
            if refusal := steering.refusal(record):
                raise TransitionError(refusal)
            (after,) = steering.steer(work, [record], {job_id: changes}, who)
            return after, after.steerings

    @persistent
    def steer_many(self, changes: Mapping[str, Mapping[str, Any]], *, who: str = "") -> list[JobRecord]:
        """Have parameters of jobs changed, all or none, as `steer` does with one; those that cannot be steered stay.

        Parameters
        ----------
        changes
            Job id → parameters of its task by name, plain values, which the caller has checked.
        who
            Who asks for it.

        Returns
        -------
        list of JobRecord
            Those that had not ended and were not being cancelled, afterwards; each has as many steerings as the number
            of this one.

        Raises
        ------
        JobNotFoundError
        """
        with self._writing() as work:
            found = many.lock(work, list(changes), leaders_first=True)
            return steering.steer(work, [one for one in found if not steering.refusal(one)], changes, who)

    @persistent
    def retry(self, job_id: str, *, limits: Limits | None = None, retries: RetryPolicy | None = None) -> JobRecord:
        """Offer a failed job again, from its newest checkpoint if it has one.

        Parameters
        ----------
        job_id
            The job.
        limits, retries
            New ones; None keeps the old ones.

        Raises
        ------
        TransitionError
            If it has not failed.
        JobNotFoundError
        """
        with self._writing() as work:
            (record,) = many.lock(work, [job_id])
            if record.status is not Status.FAILED:
                raise TransitionError(f"job {job_id} is {record.status}; only a failed one can be tried again")
            return many.retry(work, [job_id], _retried(limits, retries))[0]

    @persistent
    def retry_many(
        self, job_ids: Sequence[str], *, limits: Limits | None = None, retries: RetryPolicy | None = None
    ) -> list[JobRecord]:
        """Offer those of some jobs again that have failed, all or none, as `retry` does with one; return those.

        Raises
        ------
        JobNotFoundError
        """
        with self._writing() as work:
            many.lock(work, job_ids)
            return many.retry(work, job_ids, _retried(limits, retries))

    @persistent
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
        moves.check_move(expected, to)
        if to is Status.RUNNING:
            raise TransitionError("only a worker's claim makes a job running")
        if to is Status.FAILED and failure is None:
            raise ParameterError("failure", None, "a Failure, which the status 'failed' needs")
        if (expected, to) == (Status.PENDING, Status.SUCCEEDED):
            raise TransitionError("only the results of an equal job make a pending job succeeded")
        with self._writing() as work:
            record, held = locked(work, job_id, leader_first=True)
            if (record.status, record.attempt) != (expected, attempt):
                raise TransitionError(
                    f"job {job_id} is {record.status} (attempt {record.attempt}), not {expected} (attempt {attempt})"
                )
            if held:
                raise TransitionError(
                    f"job {job_id} runs on {record.worker}, which holds it until {record.lease_until}"
                )
            return changes.move_by_hand(work, record, to, failure, {})


def _retried(limits: Limits | None, retries: RetryPolicy | None) -> dict[str, Any]:
    """Return the columns that a retry changes."""
    values: dict[str, Any] = {}
    if limits is not None:
        values["limits"] = records.to_json(limits.to_json())
    if retries is not None:
        values |= {"max_attempts": retries.attempts, "delay": retries.delay, "longest_delay": retries.longest}
    return values


def _cancel(work: Work, job_id: str) -> JobRecord:
    record, _ = locked(work, job_id, leader_first=True)
    if record.status.finished:
        return record
    if record.status is Status.RUNNING:
        if record.cancel_requested is None:
            moves.add_event(work, job_id, record.attempt, "cancel", "a cancel was asked for")
        return job_record(work.run(sql.request_cancel, job=job_id)[0])
    return changes.cancel(work, record) or record_of(work, job_id)
