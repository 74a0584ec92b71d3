"""The default lab's operations as functions: what ``import nanoos_lab as nl`` offers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nanoos_lab.lab.lab import default_lab

if TYPE_CHECKING:
    import pandas as pd
    from ase import Atoms

    from nanoos_lab.lab.job import Job


def submit(structure: Atoms | None, *, engine: str, task: str, **options: Any) -> Job:
    """Submit a job to the default lab and return its live handle at once.

    Parameters
    ----------
    structure
        What to simulate.
    engine, task
        What runs it, and the kind of calculation; `engines` lists them.
    **options
        ``name``, ``queue``, ``priority``, ``resources``, ``retries``, and the task's own parameters: see
        `nanoos_lab.Lab.submit`.

    Raises
    ------
    InputError
        If the request cannot be carried out; nothing was stored or queued.
    ServiceError
        If the store or the broker do not answer; nothing was stored or queued.
    """
    return default_lab().submit(structure, engine=engine, task=task, **options)


def load(job_id: str) -> Job:
    """Return the handle of a job of any notebook or process; see `nanoos_lab.Lab.load`."""
    return default_lab().load(job_id)


def jobs(**filters: Any) -> pd.DataFrame:
    """Return jobs as a DataFrame, newest first; see `nanoos_lab.Lab.jobs` for the filters."""
    return default_lab().jobs(**filters)


def engines() -> pd.DataFrame:
    """Return the engines as a DataFrame: found here or not, version, where, what is missing, tasks."""
    import pandas as pd

    from nanoos_lab.engines import registry

    rows = [asdict(info) for info in registry.probe_all()]
    return pd.DataFrame(rows).set_index("name")
