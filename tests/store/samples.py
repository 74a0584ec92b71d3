"""What the tests of the store put into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.build import bulk
from sqlalchemy import update

from nanoos_lab.core.frames import Frame, RunHead, Sample
from nanoos_lab.core.request import JobRequest, Submission
from nanoos_lab.core.resources import RetryPolicy
from nanoos_lab.core.structures import Structure
from nanoos_lab.core.units import Column
from nanoos_lab.store import Holder
from nanoos_lab.store.schema import clock, jobs

if TYPE_CHECKING:
    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.store import Store

HOLDER = Holder(worker="worker-1", host="node7", pid=4711)
COLUMNS = (
    Column(name="time", unit="fs"),
    Column(name="temperature", unit="K"),
    Column(name="potential_energy", unit="eV"),
)


def submission(name: str = "copper", **changes: object) -> Submission:
    """A job like any other; `changes` go to the submission, `engine`, `task` and `parameters` to its request."""
    structure = Structure.encode(bulk("Cu", cubic=True))
    parts = {name: changes.pop(name) for name in ("engine", "task", "parameters", "structure") if name in changes}
    if "attempts" in changes:
        changes["retries"] = RetryPolicy(attempts=changes.pop("attempts"), delay=0.0)
    request = {"structure": structure, "engine": "mock", "task": "md", "parameters": {"steps": 10}, **parts}
    return Submission(request=JobRequest(**request), name=name, **changes)


def come_due(store: Store, *records: JobRecord) -> None:
    """Have the time come for which jobs wait, without waiting for it."""
    with store._writing() as work:
        work.query(update(jobs).where(jobs.c.id.in_([record.id for record in records])).values(run_after=clock()))


def head(atoms: int = 4) -> RunHead:
    """The head of a run of so many copper atoms."""
    return RunHead(total=100, columns=COLUMNS, numbers=np.full(atoms, 29), pbc=(True, True, False))


def sample(step: int, *, atoms: int = 4, attempt: int = 1, moving: bool = True) -> Sample:
    """A sample from whose numbers one can tell the step, the atom and the attempt."""
    positions = np.arange(atoms)[:, np.newaxis] + np.array([step, 100.0 * attempt, 0.5])
    frame = Frame(
        step=step,
        time=2.0 * step,
        positions=positions,
        cell=np.diag([10.0 + step, 20.0, 30.0]),
        velocities=0.01 * positions if moving else None,
    )
    return Sample(step=step, row=(2.0 * step, 300.0 + attempt, -3.5 * atoms), frame=frame)
