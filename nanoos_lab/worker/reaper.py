"""The reconciler: finds jobs whose message is lost or whose lease is over. Safe to run anywhere, at any time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanoos_lab.broker.queue import JobQueue
    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.store.jobs import Store


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """What one pass put right."""

    #: Jobs whose attempt was ended because its lease was over.
    expired: tuple[JobRecord, ...]
    #: Messages sent, again or for the first time.
    sent: int


def reconcile(store: Store, queue: JobQueue) -> Reconciled:
    """Make one pass.

    Raises
    ------
    ServiceError
        If store or broker do not answer; the next pass does it then.
    """
    expired = tuple(store.expire())
    waiting = store.undelivered()
    held = queue.held(waiting) if waiting else set()
    missing = [delivery for delivery in waiting if delivery.message_id not in held]
    if missing:
        queue.put(missing)
    if waiting:
        store.mark_sent(waiting)
    return Reconciled(expired=expired, sent=len(missing))
