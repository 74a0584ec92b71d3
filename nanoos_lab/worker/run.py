"""The one function that RQ runs."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from nanoos_lab.broker.queue import in_plain_worker
from nanoos_lab.core.errors import InputError, JobNotFoundError, ServiceError
from nanoos_lab.core.status import Status
from nanoos_lab.store.records import delivery
from nanoos_lab.worker import devices, waiting
from nanoos_lab.worker.attempt import AttemptRun
from nanoos_lab.worker.keeper import make_pass
from nanoos_lab.worker.nursery import PATIENCE, Nursery, NurseryGoneError
from nanoos_lab.worker.reaper import Reconciler
from nanoos_lab.worker.services import of_environment

if TYPE_CHECKING:
    from nanoos_lab.worker.nursery import EngineProcess
    from nanoos_lab.worker.services import Services


class AttemptFailedError(Exception):
    """Tells RQ that the attempt failed; the whole story is in the store."""


def run_job(job_id: str, attempt: int) -> str:
    """Run one attempt at a job.

    Parameters
    ----------
    job_id
        Id of the job in the store.
    attempt
        Number of the attempt that this message offers; a late or doubled message claims nothing.

    Returns
    -------
    str
        The status that the job ended with, "stale", or "waiting" if it needs more graphics processors than are free
        here: its message comes again.

    Raises
    ------
    AttemptFailedError
        If the job failed, so that RQ and rq-dashboard show it as failed.
    """
    # Before any thread, socket or store handle: what a fork copies, both sides own.
    engine = _engine()
    services = of_environment()
    if in_plain_worker():
        # Nobody else may be there to do it.
        make_pass(Reconciler(services.store, services.queue))
    wanted = _gpus(services, job_id)
    with devices.taken(wanted, services.settings) as given:
        try:
            if given is None:
                return waiting.put_off(services, job_id, attempt, wanted)
            outcome = AttemptRun(services, engine, job_id, attempt, given).run()
            if outcome.status is Status.QUEUED or (outcome.status is not None and outcome.status.finished):
                _offer(services, job_id, outcome.status)
        finally:
            engine.kill()
            engine.join(PATIENCE)
    if outcome.failure is not None:
        raise AttemptFailedError(f"{outcome.failure.reason}: {outcome.failure.message}"[:500])
    return str(outcome.status) if isinstance(outcome.status, Status) else "stale"


def _gpus(services: Services, job_id: str) -> int:
    """Return how many graphics processors a job asks for; what is wrong with its request is for its attempt to tell."""
    with suppress(JobNotFoundError, InputError, KeyError, TypeError, ValueError):
        return services.store.resources(job_id).gpus
    return 0


def _offer(services: Services, job_id: str, status: Status) -> None:
    """Offer the jobs that waited for this one at once, or this one again; if it cannot be now, the reconciler does."""
    with suppress(ServiceError):
        again = status is Status.QUEUED
        offered = [delivery(services.store.get(job_id))] if again else services.store.freed(job_id)
        if offered:
            services.queue.put(offered)
            services.store.mark_sent(offered)


def retire() -> None:
    """End what this process has kept from job to job."""
    if _nursery.cache_info().currsize:
        _nursery(os.getpid()).close()
        _nursery.cache_clear()


def _engine() -> EngineProcess:
    try:
        return _nursery(os.getpid()).engine()
    except (NurseryGoneError, TimeoutError):
        _nursery(os.getpid()).close()
        _nursery.cache_clear()
        return _nursery(os.getpid()).engine()


@lru_cache(maxsize=1)
def _nursery(_pid: int) -> Nursery:
    """Return the nursery of this process; one that was inherited by a fork belongs to the parent."""
    return Nursery.fork()
