"""A run that is killed goes on where it was: no step is lost, none is there twice, and the physics is the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk

from nanoos_lab.lab import local
from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker.settings import Settings
from tests.processes import horse_of, kill_tree
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nanoos_lab.lab.job import Job

MD: dict[str, Any] = {
    "task": "md",
    "temperature": 300.0,
    "timestep": 1.0,
    "cache": False,
}
ENGINES = {
    "lammps": {"engine": "lammps", "potential": "Cu_u3.eam"},
    "ase": {"engine": "ase", "calculator": "emt"},
}
#: Steps that take several seconds on a fast machine, too: time enough to be killed twice. ASE is slower.
LENGTH = {"lammps": 40_000, "ase": 5000}
#: Steps between samples, of which some fall between two checkpoints.
EVERY = {"lammps": 100, "ase": 20}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """An embedded lab whose runs make a checkpoint about every half a second."""
    home = tmp_path_factory.mktemp("lab")
    with Lab(Settings.load(home=home, concurrency=2, checkpoint=0.5)) as lab:
        yield lab
        local.stop(lab.settings, now=True)


def submit(lab: Lab, engine: str) -> Job:
    steps = LENGTH[engine]
    cells = 4 if engine == "lammps" else 2
    return lab.submit(
        bulk("Cu", cubic=True) * (cells, cells, cells),
        **{**MD, **ENGINES[engine], "steps": steps, "every": EVERY[engine], "retries": {"delay": 0}},
    )


def kept_checkpoint(job: Job, beyond: int) -> bool:
    """Whether a whole checkpoint lies beyond a step, and not beyond the last one that the store knows of.

    None that lies beyond that is gone on from.
    """
    record = job.record
    place = job.lab.services.artifacts.attempt_dir(job.id, record.attempt) / "checkpoints"
    return any(beyond < int(path.name) <= record.step for path in place.glob("[0-9]*"))


def began(attempt: Path) -> int:
    """Return the step from which an attempt went on, as its log says; 0 if it says nothing."""
    told = re.search(r"goes on from the checkpoint at step (\d+)", (attempt / "log.txt").read_text())
    return int(told[1]) if told else 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_run_goes_on_from_its_checkpoint(lab: Lab, engine: str) -> None:
    job = submit(lab, engine)
    beyond = 0
    for attempt in range(2):
        until(lambda beyond=beyond: job.status == "running" and kept_checkpoint(job, beyond), seconds=120)
        beyond = job.trajectory.steps[-1]
        kill_tree(horse_of(job))
        until(lambda lost=attempt: job.attempts[lost].outcome == "lost")
    assert job.wait(170).status == "succeeded"

    assert [attempt.outcome for attempt in job.attempts] == ["lost", "lost", "succeeded"]
    wanted = list(range(0, LENGTH[engine] + 1, EVERY[engine]))
    assert job.thermo.index.tolist() == wanted
    assert job.trajectory.steps.tolist() == wanted
    # Nothing was done from the start again.
    firsts = [began(place) for place in lab.services.artifacts.attempt_dirs(job.id)]
    assert firsts[0] == 0 < firsts[1] < firsts[2]
    # NVE: what was interrupted keeps its energy as what was not.
    energy = job.thermo["total_energy"]
    assert np.ptp(energy) / len(job.structure) < 1e-3
    assert (energy.diff().abs().max()) / len(job.structure) < 5e-4
