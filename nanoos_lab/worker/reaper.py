"""The reconciler: finds jobs whose message is lost, whose lease is over, or whose time has come.

Safe to run anywhere, at any time, any number of times.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nanoos_lab.core.status import Status
from nanoos_lab.store.queries import JobQuery
from nanoos_lab.store.schedules import Schedules
from nanoos_lab.worker.clocks import now

if TYPE_CHECKING:
    from nanoos_lab.broker.queue import JobQueue
    from nanoos_lab.core.record import Attempt, JobRecord
    from nanoos_lab.store.jobs import Store


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """What one pass put right."""

    #: Jobs whose attempt was ended because its lease was over.
    expired: tuple[JobRecord, ...]
    #: Jobs whose time has come.
    promoted: tuple[JobRecord, ...]
    #: Jobs that schedules have submitted.
    scheduled: tuple[JobRecord, ...]
    #: Messages sent, again or for the first time.
    sent: int


class Reconciler:
    """Makes passes, and knows from one to the next whether the computer slept or its clock was set meanwhile.

    Parameters
    ----------
    store, queue
        The lab's.
    """

    #: Seconds by which two clocks may differ between two passes, beyond their distance.
    TOLERANCE = 5.0

    def __init__(self, store: Store, queue: JobQueue) -> None:
        self._store = store
        self._queue = queue
        self._schedules = Schedules(store)
        self._clocks: tuple[float, float, float] | None = None
        self._reap_after = 0.0

    def lose_dead(self) -> list[JobRecord]:
        """Take the attempts of this host whose work-horse is no more, without waiting for the end of their leases.

        Only where all work-horses are of this host and see the same processes: in an embedded lab.

        Raises
        ------
        ServiceError
            If the store does not answer.
        """
        running = self._store.find(JobQuery(status=Status.RUNNING, limit=None))
        lost = []
        for record in running:
            *_, attempt = self._store.attempts(record.id)
            if attempt.number == record.attempt and not _lives(attempt):
                lost.append(self._store.lose(record.id, record.attempt, f"worker {record.worker} was killed"))
        return [record for record in lost if record is not None]

    def make_pass(self) -> Reconciled:
        """Make one pass.

        Raises
        ------
        ServiceError
            If store or broker do not answer; the next pass does it then.
        """
        expired = self._expire()
        promoted = tuple(self._store.promote())
        scheduled = tuple(self._schedules.submit_due())
        return Reconciled(expired=expired, promoted=promoted, scheduled=scheduled, sent=self.send())

    def _expire(self) -> tuple[JobRecord, ...]:
        """End attempts whose lease is over: after a sleep or a set clock, all leases may seem to be."""
        clocks = (now(), self._store.now(), time.monotonic())
        if self._clocks is not None and _jumped(self._clocks, clocks, self.TOLERANCE):
            self._reap_after = clocks[0] + self._store.lease
        self._clocks = clocks
        if clocks[0] < self._reap_after:
            return ()
        return tuple(self._store.expire(spare=self._may_beat_again))

    def _may_beat_again(self, attempt: Attempt, overdue: float) -> bool:
        """Say whether the work-horse of an attempt whose lease is over lives on this host: it may only have slept.

        One that stands still for longer than another lease is taken for lost all the same.
        """
        return attempt.host == socket.gethostname() and overdue <= self._store.lease and _lives(attempt)

    def send(self) -> int:
        """Send the messages that are due, and return how many were missing.

        Raises
        ------
        ServiceError
            If store or broker do not answer.
        """
        waiting = self._store.undelivered()
        held = self._queue.held(waiting) if waiting else set()
        missing = [delivery for delivery in waiting if delivery.message_id not in held]
        if missing:
            self._queue.put(missing)
        if waiting:
            self._store.mark_sent(waiting)
        return len(missing)


def _jumped(before: tuple[float, float, float], after: tuple[float, float, float], tolerance: float) -> bool:
    """Say whether one of the clocks went another way than the others: the computer slept, or a clock was set."""
    passed = [later - earlier for earlier, later in zip(before, after, strict=True)]
    return max(passed) - min(passed) > tolerance


def _lives(attempt: Attempt) -> bool:
    try:
        os.kill(attempt.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # A process of somebody else.
        return True
    return True
