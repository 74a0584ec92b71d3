"""Orders to jobs on their way, one or many: cancel, pause, resume, steer, try again.

What is stored counts; that workers hear of it at once is only speed.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import NanoosError, TransitionError
from nanoos_lab.core.resources import Limits, RetryPolicy
from nanoos_lab.core.status import Status
from nanoos_lab.lab import steering
from nanoos_lab.store.records import delivery
from nanoos_lab.store.steering import refusal
from nanoos_lab.worker.reaper import Reconciler

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.core.request import Delivery
    from nanoos_lab.lab.lab import Lab
    from nanoos_lab.worker.services import Services

log = logging.getLogger(__name__)

#: Jobs that are cancelled in one transaction, statement by statement: others who write wait for that long.
_CANCELLED_AT_ONCE = 200
#: Jobs that are paused, resumed or tried again in one, by a few statements for all of them.
_CHANGED_AT_ONCE = 1000


def cancel(lab: Lab, job_ids: Iterable[str]) -> int:
    """End jobs; return how many of them are cancelled now, or will be soon."""
    records = [
        record
        for some in _batches(job_ids, _CANCELLED_AT_ONCE)
        for record in lab.services.store.cancel_many(some)
        if not record.status.finished or record.status is Status.CANCELLED
    ]
    _hint(lab.services, records, "cancel")
    if any(record.status.finished for record in records):
        _offer_freed(lab.services)
    return len(records)


def pause(lab: Lab, job_ids: Iterable[str]) -> int:
    """Have jobs rest; return how many of them had not ended."""
    records = [
        record
        for some in _batches(job_ids, _CHANGED_AT_ONCE)
        for record in lab.services.store.pause_many(some)
        if not record.status.finished
    ]
    _hint(lab.services, records, "pause")
    return len(records)


def resume(lab: Lab, job_ids: Iterable[str]) -> int:
    """Have paused jobs go on; return how many of them had not ended."""
    records = [
        record
        for some in _batches(job_ids, _CHANGED_AT_ONCE)
        for record in lab.services.store.resume_many(some)
        if not record.status.finished
    ]
    _offer(lab, records)
    _hint(lab.services, records, "resume")
    return len(records)


def steer(lab: Lab, job_id: str, changes: Mapping[str, Any]) -> int:
    """Change parameters of a job; return the number of the steering."""
    # Of a job that has ended its end is all that matters, whatever else is wrong; the store looks again as it writes.
    if why := refusal(lab.services.store.get(job_id)):
        raise TransitionError(why)
    wanted = steering.checked(lab.services, [job_id], changes)
    record, number = lab.services.store.steer(job_id, wanted[job_id], who=steering.who())
    _follow_steering(lab, [record])
    return number


def steer_many(lab: Lab, job_ids: Iterable[str], changes: Mapping[str, Any]) -> dict[str, int]:
    """Change parameters of those of some jobs that have not ended; return the number of the steering of each."""
    wanted = steering.checked(lab.services, list(job_ids), changes)
    records = lab.services.store.steer_many(wanted, who=steering.who())
    _follow_steering(lab, records)
    return {record.id: record.steerings for record in records}


def retry(lab: Lab, job_id: str, *, limits: Any = None, retries: Any = None) -> None:
    """Try a failed job again."""
    _offer(lab, [lab.services.store.retry(job_id, **_policies(limits, retries))])


def retry_many(lab: Lab, job_ids: Iterable[str], *, limits: Any = None, retries: Any = None) -> int:
    """Try those of some jobs again that have failed; return how many."""
    new = _policies(limits, retries)
    records = [
        record for some in _batches(job_ids, _CHANGED_AT_ONCE) for record in lab.services.store.retry_many(some, **new)
    ]
    _offer(lab, records)
    return len(records)


def deliver(services: Services, deliveries: Sequence[Delivery]) -> None:
    """Offer what is stored; if that fails now, the reconciler does it later."""
    if not deliveries:
        return
    try:
        services.queue.put(deliveries)
        services.store.mark_sent(deliveries)
    except NanoosError as error:
        log.warning("jobs that are stored were not offered to workers at once: %s", error)


def _offer(lab: Lab, records: Sequence[JobRecord]) -> None:
    """Offer those jobs that are queued to workers, and have an embedded lab run."""
    queued = [delivery(record) for record in records if record.status is Status.QUEUED]
    if queued:
        lab.start()
        deliver(lab.services, queued)


def _offer_freed(services: Services) -> None:
    """Offer the jobs that waited for those which have just ended; if that fails, the reconciler does it later."""
    with suppress(NanoosError):
        Reconciler(services.store, services.queue).send()


def _follow_steering(lab: Lab, records: Sequence[JobRecord]) -> None:
    _hint(lab.services, records, "steer")
    # They, or equal jobs that waited for them, may be free to run now.
    _offer_freed(lab.services)


def _hint(services: Services, records: Sequence[JobRecord], order: str) -> None:
    """Tell the runs of jobs at once; only speed is lost if one does not hear: it asks the store soon."""
    waiting = [record for record in records if record.status in (Status.CANCELLED, Status.PENDING)]
    with suppress(NanoosError):
        services.queue.drop([delivery(record) for record in waiting])
        for record in records:
            if record.status is Status.RUNNING:
                services.queue.order(record.id, order)


def _policies(limits: Any, retries: Any) -> dict[str, Any]:
    return {
        "limits": None if limits is None else Limits.from_any(limits),
        "retries": None if retries is None else RetryPolicy.from_any(retries),
    }


def _batches(job_ids: Iterable[str], size: int) -> Iterator[list[str]]:
    ids = list(job_ids)
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
