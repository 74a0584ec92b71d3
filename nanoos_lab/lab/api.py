"""The default lab's operations as functions: what ``import nanoos_lab as nl`` offers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nanoos_lab.lab.lab import default_lab

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd
    from ase import Atoms

    from nanoos_lab.lab.draft import Draft
    from nanoos_lab.lab.group import Group
    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.schedules import Schedule
    from nanoos_lab.store.prune import Pruned


def submit(structure: Atoms | Job | None, *, engine: str, task: str, **options: Any) -> Job:
    """Submit a job to the default lab and return its live handle at once.

    Parameters
    ----------
    structure
        What to simulate; or another job, whose final structure is meant.
    engine, task
        What runs it, and the kind of calculation; `engines` lists them.
    **options
        ``name``, ``queue``, ``priority``, ``resources``, ``limits``, ``retries``, ``after``, ``after_failure``,
        ``not_before``, ``cache``, and the task's own parameters: see `nanoos_lab.Lab.submit`.

    Raises
    ------
    InputError
        If the request cannot be carried out; nothing was stored or queued.
    JobNotFoundError
        If it depends on a job that does not exist.
    ServiceError
        If the store or the broker do not answer; nothing was stored or queued.
    """
    return default_lab().submit(structure, engine=engine, task=task, **options)


def submit_many(drafts: Iterable[Draft]) -> Group:
    """Submit many jobs to the default lab, all or none; see `nanoos_lab.Lab.submit_many`.

    They may depend on each other: a draft as the structure of another means its final structure.

    Examples
    --------
    >>> relax = Draft(atoms, engine="ase", task="relax", calculator="emt")  # doctest: +SKIP
    >>> heat = Draft(relax, engine="ase", task="md", calculator="emt", steps=1000, temperature=300)  # doctest: +SKIP
    >>> group = submit_many([relax, heat, heat.but(temperature=600)])  # doctest: +SKIP
    """
    return default_lab().submit_many(drafts)


def sweep(structure: Atoms | Job | None = None, *, over: Mapping[str, Iterable[Any]], **fixed: Any) -> Group:
    """Submit a job for each combination of values to the default lab; see `nanoos_lab.Lab.sweep`.

    Examples
    --------
    >>> group = sweep(atoms, over={"temperature": [300, 600]}, engine="lammps", task="md", ...)  # doctest: +SKIP
    >>> group.wait().results  # doctest: +SKIP
    """
    return default_lab().sweep(structure, over=over, **fixed)


def diff(first: Job | str, second: Job | str) -> pd.DataFrame:
    """Return what differs between two jobs in what decides their results; empty if one can stand for the other.

    Resources, limits, names, queues and priorities decide nothing.

    Parameters
    ----------
    first, second
        The jobs, or their ids.

    Returns
    -------
    pandas.DataFrame
        A row for everything that differs, indexed by its name, such as ``parameters.temperature``,
        ``structure.positions`` or ``files.potential``; a column for each job, by its id, and ``difference``, which says
        how far numbers and arrays are apart.

    Raises
    ------
    JobNotFoundError
        If there is no such job.
    """
    from nanoos_lab.lab.differences import frame

    one, other = (load(job) if isinstance(job, str) else job for job in (first, second))
    return frame(one, other)


def load(job_id: str) -> Job:
    """Return the handle of a job of any notebook or process; see `nanoos_lab.Lab.load`."""
    return default_lab().load(job_id)


def schedule(structure: Atoms | None, **options: Any) -> Schedule:
    """Have the default lab submit a request again and again.

    Parameters
    ----------
    structure
        What to simulate.
    **options
        ``engine``, ``task``, ``repeat`` (seconds, a timedelta, a text such as "6h", or a cron expression in UTC),
        ``times``, and what `submit` takes: see `nanoos_lab.lab.schedules.schedule`.
    """
    return default_lab().schedule(structure, **options)


def schedules() -> pd.DataFrame:
    """Return the schedules of the default lab as a DataFrame, indexed by id."""
    return default_lab().schedules()


def prune(**wish: Any) -> Pruned:
    """Delete jobs that ended long ago; see `nanoos_lab.lab.retention.prune`. A dry run unless told otherwise."""
    return default_lab().prune(**wish)


def jobs(**filters: Any) -> pd.DataFrame:
    """Return jobs as a DataFrame, newest first; see `nanoos_lab.Lab.jobs` for the filters."""
    return default_lab().jobs(**filters)


def engines() -> pd.DataFrame:
    """Return the engines as a DataFrame: found here or not, version, where, what is missing, tasks, what they lack."""
    import pandas as pd

    from nanoos_lab.engines import registry

    rows = [asdict(info) for info in registry.probe_all()]
    return pd.DataFrame(rows).set_index("name")
