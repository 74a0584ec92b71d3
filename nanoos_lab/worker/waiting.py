"""A job that cannot run here now, since others have the graphics processors: it stays queued, and is offered later."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import JobNotFoundError
from nanoos_lab.core.status import Status
from nanoos_lab.store.records import delivery
from nanoos_lab.worker import devices

if TYPE_CHECKING:
    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.worker.services import Services

#: Kind of the line of history that says what a job waits for.
EVENT = "waits"
#: Seconds after which it is offered again, at least and at most, about: the longer it has waited, the later, so that
#: many jobs that wait for the same device do not keep the workers busy.
SHORTEST, LONGEST = 5.0, 30.0
#: Share of the time that it has waited.
SHARE = 0.1


def put_off(services: Services, job_id: str, attempt: int, wanted: int) -> str:
    """Leave an attempt to the reconciler, which offers it again; return what RQ is to show.

    Parameters
    ----------
    services
        The lab's services.
    job_id, attempt
        The attempt that a message offers.
    wanted
        How many graphics processors it needs.
    """
    try:
        record = services.store.get(job_id)
    except JobNotFoundError:
        return "stale"
    if (record.status, record.attempt) != (Status.QUEUED, attempt):
        return "stale"
    _tell(services, record, wanted)
    services.store.mark_sent([delivery(record)], again=_pause(services.store.now() - record.created.timestamp()))
    return "waiting"


def _tell(services: Services, record: JobRecord, wanted: int) -> None:
    """Say in the history what the attempt waits for, once for each host."""
    there = len(devices.visible(services.settings))
    text = f"{wanted} GPU{'s' * (wanted > 1)} of {there} on {socket.gethostname()}"
    told = {(event.attempt, event.text) for event in services.store.events(record.id) if event.kind == EVENT}
    if (record.attempt, text) not in told:
        services.store.add_event(record.id, record.attempt, EVENT, text)


def _pause(waited: float) -> float:
    return min(SHORTEST + SHARE * waited, LONGEST) * random.uniform(0.8, 1.2)  # noqa: S311 - only to spread them
