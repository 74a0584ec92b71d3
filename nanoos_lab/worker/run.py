"""The one function that RQ runs."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from nanoos_lab.core.status import Status
from nanoos_lab.worker.attempt import AttemptRun
from nanoos_lab.worker.nursery import PATIENCE, Nursery, NurseryGoneError
from nanoos_lab.worker.services import of_environment

if TYPE_CHECKING:
    from nanoos_lab.worker.nursery import EngineProcess


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
        The status that the job ended with, or "stale".

    Raises
    ------
    AttemptFailedError
        If the job failed, so that RQ and rq-dashboard show it as failed.
    """
    # Before any thread, socket or store handle: what a fork copies, both sides own.
    engine = _engine()
    try:
        outcome = AttemptRun(of_environment(), engine, job_id, attempt).run()
    finally:
        engine.kill()
        engine.join(PATIENCE)
    if outcome.failure is not None:
        raise AttemptFailedError(f"{outcome.failure.reason}: {outcome.failure.message}"[:500])
    return str(outcome.status) if isinstance(outcome.status, Status) else "stale"


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
