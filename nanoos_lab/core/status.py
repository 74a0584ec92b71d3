"""The six words for where a job stands, why it failed, and the legal moves between them."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Where a job stands; equal to its word (``Status.RUNNING == "running"``)."""

    #: Recorded; waits for other jobs, for its time, for the end of a pause, or for the results of an equal job.
    PENDING = "pending"
    #: Offered to workers.
    QUEUED = "queued"
    #: A worker holds the lease of the current attempt.
    RUNNING = "running"
    #: Has its results, for good.
    SUCCEEDED = "succeeded"
    #: Ended without results; the record's `reason` says why.
    FAILED = "failed"
    #: Ended because somebody asked for it.
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether no worker will touch the job again by itself."""
        return self in FINISHED


FINISHED = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})

#: The legal moves. Every change in the store is one of these, as a compare-and-set.
MOVES: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.QUEUED, Status.SUCCEEDED, Status.CANCELLED, Status.FAILED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.PENDING, Status.CANCELLED, Status.FAILED}),
    Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.QUEUED, Status.PENDING}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELLED: frozenset(),
}


class Reason(StrEnum):
    """Why a job failed; decides whether a retry makes sense."""

    #: The request itself is wrong; never retried.
    INPUT = "input"
    #: The calculation did not converge.
    CONVERGENCE = "convergence"
    #: The host lacked something: disk, a licence, a program.
    RESOURCE = "resource"
    #: The run used up its time limit.
    TIME_LIMIT = "time_limit"
    #: The run used up its memory.
    MEMORY = "memory"
    #: The worker vanished.
    LOST = "lost"
    #: The program failed, with its own message.
    ENGINE = "engine"
    #: nanoos_lab itself is wrong.
    BUG = "bug"


#: What went wrong with the machine and not with the calculation: tried again by itself.
RETRIED = frozenset({Reason.LOST, Reason.RESOURCE})
