"""A run that was steered and is killed takes the path that it had taken: steered at the same step, to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk

from nanoos_lab.core.record import Steering
from nanoos_lab.lab import local
from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker.settings import Settings
from tests.engines import attempts
from tests.processes import horse_of, kill_tree
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nanoos_lab.lab.job import Job

MD: dict[str, Any] = {"task": "md", "every": 50, "ensemble": "nvt", "temperature": 300.0, "tdamp": 50.0}
ENGINES: dict[str, dict[str, Any]] = {
    "lammps": {"engine": "lammps", "potential": "Cu_u3.eam", "steps": 40_000},
    "lammps, 2 ranks": {"engine": "lammps", "potential": "Cu_u3.eam", "steps": 80_000, "resources": {"ranks": 2}},
    "ase": {"engine": "ase", "calculator": "emt", "steps": 10_000},
}
#: Few enough atoms that a second has many steps: only then do checkpoints renew a run of ASE's.
CELLS = {"lammps": (4, 4, 4), "lammps, 2 ranks": (4, 4, 4), "ase": (1, 1, 2)}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """An embedded lab whose runs make a checkpoint about every second."""
    home = tmp_path_factory.mktemp("lab")
    with Lab(Settings.load(home=home, concurrency=2, checkpoint=1.0)) as lab:
        yield lab
        local.stop(lab.settings, now=True)


def copper(name: str) -> Any:
    return bulk("Cu", cubic=True) * CELLS[name]


def has_checkpoint(job: Job) -> bool:
    """Whether there is a whole checkpoint, and the store knows of later samples."""
    place = job.lab.services.artifacts.attempt_dir(job.id, job.record.attempt) / "checkpoints"
    steps = [int(path.name) for path in place.glob("[0-9]*")] if place.exists() else []
    return any(step < job.record.step for step in steps)


def kill(job: Job) -> None:
    """Kill work-horse and engine of a job that goes on."""
    attempt = job.record.attempt
    kill_tree(horse_of(job))
    until(lambda: job.record.attempt > attempt and job.status == "running", seconds=60)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ENGINES)
def test_a_steered_run_that_is_killed_takes_the_same_path(lab: Lab, name: str, tmp_path: Path) -> None:
    atoms = copper(name)
    job = lab.submit(atoms, **{**MD, **ENGINES[name]}, retries={"delay": 0})
    until(lambda: job.status == "running" and has_checkpoint(job), seconds=120)
    job.steer(temperature=1000)
    until(lambda: job.steerings["step"].notna().all(), seconds=60)
    step = int(job.steerings.loc[1, "step"])
    kill(job)
    assert job.wait(300).status == "succeeded"
    assert job.steerings["step"].tolist() == [step]
    assert job.provenance["steerings"] == [{"number": 1, "step": step, "changes": {"temperature": 1000.0}}]

    thermo = job.thermo
    assert thermo.index.tolist() == list(range(0, ENGINES[name]["steps"] + 1, MD["every"]))
    assert thermo["temperature"].iloc[-5:].mean() > 600

    given = {**MD, **ENGINES[name]}
    engine, task, ranks = given.pop("engine"), given.pop("task"), given.pop("resources", {}).get("ranks", 1)
    grid = job.provenance["checkpoint_steps"]
    whole = attempts.Job(tmp_path / "whole", engine, task, atoms, grid=grid, ranks=ranks, **given)
    whole.steerings = [Steering(number=1, changes={"temperature": 1000.0}, step=step)]
    assert whole.attempt().end == "done"
    np.testing.assert_array_equal(thermo.to_numpy(), whole.thermo.values)
    np.testing.assert_array_equal(np.asarray(job.trajectory.positions), np.asarray(whole.trajectory.positions))
