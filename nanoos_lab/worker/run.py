"""The one function that RQ runs."""

from __future__ import annotations

from nanoos_lab.core.status import Status
from nanoos_lab.worker.attempt import AttemptRun
from nanoos_lab.worker.child import EngineProcess
from nanoos_lab.worker.services import of_environment


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
    engine = EngineProcess.fork()
    services = of_environment()
    try:
        outcome = AttemptRun(services, engine, job_id, attempt).run()
    finally:
        engine.kill()
        engine.join()
        services.close()
    if outcome.failure is not None:
        raise AttemptFailedError(f"{outcome.failure.reason}: {outcome.failure.message}"[:500])
    return str(outcome.status) if isinstance(outcome.status, Status) else "stale"
