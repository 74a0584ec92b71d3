"""When checkpoints are made, and what they must not touch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk, molecule

from tests.engines.attempts import Job, at_sample
from tests.engines.lammps.test_ranks import attempt

if TYPE_CHECKING:
    from pathlib import Path

COPPER = {"potential": "Cu_u3.eam", "temperature": 600.0, "thin_cell": True}


@pytest.mark.parametrize(
    "fix",
    ["fix av all ave/time 1 10 50 v_t file temps.txt", 'fix out all print 50 "a row" append temps.txt screen no'],
    ids=["an average", "a print"],
)
def test_what_the_users_commands_gather_is_gathered_over_the_whole_run(tmp_path: Path, fix: str) -> None:
    commands = ["variable t equal temp", fix]
    job = Job(
        tmp_path / "job", "lammps", "md", bulk("Cu", cubic=True), grid=200, steps=400, commands=commands, **COPPER
    )
    done = job.attempt()
    assert done.end == "done"
    rows = [row for row in next(done.directory.rglob("temps.txt")).read_text().splitlines() if not row.startswith("#")]
    assert len(rows) == (8 if "ave" in fix else 9)
    assert done.checkpoints == []
    assert "There are no checkpoints: 'fix" in done.log


def test_a_run_that_was_stopped_gathers_anew_from_the_start(tmp_path: Path) -> None:
    commands = ["variable t equal temp", "fix av all ave/time 1 50 50 v_t ave running"]
    given = {"steps": 400, "every": 50, "columns": ["f_av"], "commands": commands, **COPPER}
    whole = Job(tmp_path / "whole", "lammps", "md", bulk("Cu", cubic=True), grid=100, **given)
    whole.attempt()
    parts = Job(tmp_path / "parts", "lammps", "md", bulk("Cu", cubic=True), grid=100, **given)
    parts.attempt(at_sample(150))
    assert parts.attempt().first == 0
    np.testing.assert_allclose(parts.series("f_av"), whole.series("f_av"), rtol=1e-9)


@pytest.mark.parametrize(
    ("atoms", "potential", "pace"),
    [(molecule("H2O", vacuum=5), "ffield.reax.cho", 1.8e-4), (bulk("Cu", cubic=True), "Cu_u3.eam", 2e-6)],
    ids=["reaxff", "embedded atoms"],
)
def test_the_executable_writes_restart_files_a_minute_apart(  # type: ignore[no-untyped-def]
    tmp_path, own_lmp, monkeypatch, atoms, potential, pace
) -> None:
    """By the pace that was measured for the pair style, in seconds of a core per atom and step."""
    for name, value in own_lmp.items():
        monkeypatch.setenv(name, value)
    parameters = {"potential": potential, "steps": 1, "every": 1, "temperature": 10.0, "thin_cell": True}
    _, results = attempt(tmp_path / "1", atoms, "md", parameters=parameters)
    lines = results.provenance["commands"].splitlines()
    steps = next(int(line.split()[1]) for line in lines if line.startswith("restart "))
    assert 60 / 1.6 < steps * pace * len(atoms) / 2 < 60 * 1.6


@pytest.mark.parametrize("program", ["library", "executable"])
def test_a_run_that_began_hotter_than_any_bond_goes_on_as_hot(  # type: ignore[no-untyped-def]
    tmp_path, own_lmp, monkeypatch, program
) -> None:
    for name, value in own_lmp.items() if program == "executable" else ():
        monkeypatch.setenv(name, value)
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    # Some 500,000 K.
    atoms.set_momenta(np.random.default_rng(1).normal(scale=52.0, size=(len(atoms), 3)))
    given = {"potential": "Cu_u3.eam", "timestep": 0.05, "steps": 400, "every": 50}
    job = Job(tmp_path / "job", "lammps", "md", atoms, grid=100, **given)
    job.attempt(at_sample(100))
    done = job.attempt()
    assert (done.first > 0, done.end) == (True, "done")
    assert min(job.series("temperature")) > 1e5


def test_what_is_done_before_the_first_step_is_not_what_a_checkpoint_costs(tmp_path: Path) -> None:
    """By that measure they would be minutes apart: a checkpoint takes a hundredth of the time at most."""
    atoms = bulk("Si", cubic=True) * (10, 10, 10)
    atoms.rattle(0.3, seed=1)
    how = {"potential": "Si.tersoff", "temperature": 30.0, "timestep": 0.1}
    job = Job(tmp_path / "job", "lammps", "md", atoms, **how, minimize_first=True, steps=100, every=20)
    told = re.search(r"Checkpoints fall on every \d+ steps, about (\S+) s apart", job.attempt().log)
    assert told is not None
    assert float(told.group(1)) < 60 * 1.42
