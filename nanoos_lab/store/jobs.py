"""The truth about jobs: submitted, cancelled, paused, steered, tried again and moved by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import ParameterError, TransitionError
from nanoos_lab.core.status import Status
from nanoos_lab.store import changes, moves, records, sql, steering
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
            return [_cancel(work, job_id) for job_id in job_ids]

    @persistent
    def pause(self, job_id: str) -> JobRecord:
        """Pause a job: a waiting one is held back, a running one is asked to rest; one that has ended stays.

        Raises
        ------
        JobNotFoundError
        """
        with self._writing() as work:
            record, _ = locked(work, job_id)
            if record.status.finished or record.paused is not None:
                return record
            moves.add_event(work, job_id, record.attempt, "pause", "a pause was asked for")
            work.run(sql.set_paused, True, job=job_id)
            if record.status is Status.QUEUED:
                moves.hold(work, record)
            return record_of(work, job_id)

    @persistent
    def resume(self, job_id: str) -> JobRecord:
        """End the pause of a job.

        Raises
        ------
        JobNotFoundError
        """
        with self._writing() as work:
            record, _ = locked(work, job_id)
            if record.paused is None:
                return record
            moves.add_event(work, job_id, record.attempt, "pause", "it is to go on")
            work.run(sql.set_paused, False, job=job_id)
            moves.queue_if_ready(work, job_id)
            return record_of(work, job_id)

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
            record, _ = locked(work, job_id, leader_first=True)
            return steering.steer(work, record, changes, who), record.steerings + 1

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
        values: dict[str, Any] = {}
        if limits is not None:
            values["limits"] = records.to_json(limits.to_json())
        if retries is not None:
            values |= {"max_attempts": retries.attempts, "delay": retries.delay, "longest_delay": retries.longest}
        with self._writing() as work:
            record, _ = locked(work, job_id)
            if record.status is not Status.FAILED:
                raise TransitionError(f"job {job_id} is {record.status}; only a failed one can be tried again")
            return changes.move_by_hand(work, record, Status.QUEUED, None, values)

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


def _cancel(work: Work, job_id: str) -> JobRecord:
    record, _ = locked(work, job_id, leader_first=True)
    if record.status.finished:
        return record
    if record.status is Status.RUNNING:
        if record.cancel_requested is None:
            moves.add_event(work, job_id, record.attempt, "cancel", "a cancel was asked for")
        return job_record(work.run(sql.request_cancel, job=job_id)[0])
    return changes.cancel(work, record) or record_of(work, job_id)
