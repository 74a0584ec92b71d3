"""The lab's four basic operations as plain functions; they need no handle, only ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.core.record import Failure
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.lab.lab import default_lab

if TYPE_CHECKING:
    from ase import Atoms

    from nanoos_lab.lab.lab import Lab


def run_dummy_job(duration: float = 1.0, *, lab: Lab | None = None, **parameters: Any) -> str:
    """Submit a dry run that behaves like molecular dynamics of copper and costs nothing.

    Parameters
    ----------
    duration
        Seconds that it takes.
    lab
        Where to; the default lab unless given.
    **parameters
        More parameters of engine "mock", task "md".

    Returns
    -------
    str
        Id of the job.
    """
    from ase.build import bulk

    wanted = {"steps": 100, "every": 10, "duration": duration, **parameters}
    return run_simulation_job(bulk("Cu", cubic=True), engine="mock", task="md", lab=lab, name="dummy", **wanted)


def run_simulation_job(
    structure: Atoms | None, *, engine: str, task: str, lab: Lab | None = None, **parameters: Any
) -> str:
    """Submit a job and return its id; the arguments are those of `Lab.submit`.

    Raises
    ------
    InputError
        If the request cannot be carried out; nothing was stored or queued.
    """
    return (lab or default_lab()).submit(structure, engine=engine, task=task, **parameters).id


def update_job_status(
    job_id: str, status: str, *, expected: str, attempt: int, message: str = "", lab: Lab | None = None
) -> Status:
    """Move a job by hand, along a legal move only.

    Parameters
    ----------
    job_id
        Which job.
    status
        Where to.
    expected, attempt
        The status and attempt that the caller believes the job to be in; nothing happens if it is elsewhere.
    message
        Why, for a job that is moved to "failed".
    lab
        Where; the default lab unless given.

    Returns
    -------
    Status
        The new status.

    Raises
    ------
    TransitionError
        If the move is not legal, the job is not where it was expected, or an attempt holds its lease.
    """
    to = Status(status)
    failure = Failure(reason=Reason.BUG, message=message or "moved by hand") if to is Status.FAILED else None
    store = (lab or default_lab()).services.store
    return store.move(job_id, to=to, expected=Status(expected), attempt=attempt, failure=failure).status


def cancel_job(job_id: str, *, lab: Lab | None = None) -> bool:
    """End a job; False if it had ended before."""
    return (lab or default_lab()).cancel(job_id)
