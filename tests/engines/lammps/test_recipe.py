"""What is written for LAMMPS alone, run by its executable."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk

from nanoos_lab.engines.lammps import LammpsEngine, library
from nanoos_lab.engines.lammps.batch.output import Table
from tests.engines.attempts import Job, Trouble, at_sample
from tests.engines.context import RecordingContext
from tests.engines.lammps.outside import plain_lmp, submitted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nanoos_lab.core.request import JobRequest
    from tests.engines.lammps.outside import Outcome

    Lammps = Callable[..., Outcome]


def rows_of(
    place: Path, request: JobRequest, files: Mapping[str, Path], provenance: Mapping[str, Any]
) -> list[dict[str, float]]:
    """Run a recipe in a new directory; return all rows of thermo."""
    place.mkdir()
    found = LammpsEngine().recipe(request, files, provenance)
    for name, text in found.texts.items():
        (place / name).write_text(text)
    for role, name in found.files.items():
        shutil.copyfile(files[role], place / name)
    printed = plain_lmp(place, "-in", "in.lammps", "-suffix", "opt")
    table = Table()
    return [row for line in printed.splitlines() if (row := table.feed(line))]


def test_a_relaxation_that_was_interrupted_is_reproduced_from_its_first_structure(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.rattle(0.2, seed=3)
    job = Job(tmp_path / "job", "lammps", "relax", atoms, potential="Cu_u3.eam", fmax=1e-4, steps=200, every=1)
    job.attempt(at_sample(13))
    done = job.attempt()
    provenance = done.fields["provenance"]
    first = provenance["first"]
    assert first > 0
    request, files = submitted(atoms, "relax", potential="Cu_u3.eam", fmax=1e-4, steps=200, every=1)
    rows = rows_of(tmp_path / "again", request, files, provenance)
    assert rows[0]["PotEng"] == pytest.approx(job.series("potential_energy")[0], rel=1e-9)
    assert rows[-1]["PotEng"] == pytest.approx(job.series("potential_energy")[-1], rel=1e-7)
    found = LammpsEngine().recipe(request, files, provenance)
    assert "minimize 0.0 0.0001 200 10050" in found.texts["in.lammps"]
    assert f"at step {first}" in found.notes
    assert "at step" not in LammpsEngine().recipe(request, files, {}).notes


@pytest.mark.parametrize(
    ("more", "steps", "grid"),
    [
        # So long that what rounding has changed would show.
        ({"ensemble": "nvt", "temperature": 1200.0, "timestep": 3.0}, 8000, 1000),
        # Each renewal draws other random forces.
        ({"ensemble": "nvt", "thermostat": "langevin", "temperature": 600.0}, 100, 40),
        (
            {"ensemble": "npt", "pressure": 0.0, "barostat": "tri", "temperature": 300.0, "temperature_end": 900.0},
            100,
            30,
        ),
        ({"temperature": 300.0, "strain_rate": 10.0}, 100, 30),
    ],
    ids=["hot", "langevin", "ramp", "strained"],
)
@pytest.mark.parametrize(
    "troubles", [[], [at_sample(45)], [at_sample(25), at_sample(55)]], ids=["whole", "interrupted", "twice"]
)
def test_dynamics_are_reproduced_beyond_their_checkpoints(
    tmp_path: Path, more: dict[str, Any], steps: int, grid: int, troubles: list[Trouble]
) -> None:
    atoms = bulk("Cu", cubic=True) * (3, 3, 3)
    parameters = {"potential": "Cu_u3.eam", "steps": steps, "every": steps // 20, **more}
    job = Job(tmp_path / "job", "lammps", "md", atoms, grid=grid, **parameters)
    for trouble in troubles:
        job.attempt(replace(trouble, sample=trouble.sample / 100 * steps))
    provenance = job.attempt().fields["provenance"]
    assert bool(provenance.get("first")) == bool(troubles)
    request, files = submitted(atoms, "md", **parameters)
    # The last row of a step counts: it is of the renewed run.
    rows = {row["Step"]: row for row in rows_of(tmp_path / "again", request, files, provenance)}
    ours = job.series("potential_energy")
    assert len(ours) == 21
    theirs = [rows[step]["PotEng"] for step in job.thermo.steps.tolist()]
    np.testing.assert_allclose(theirs, ours, rtol=2e-10)


def test_restart_files_of_an_executable_are_reproduced_too(
    own_lmp: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each of them it lists neighbours anew."""
    for name, value in own_lmp.items():
        monkeypatch.setenv(name, value)
    atoms = bulk("Cu", cubic=True) * (3, 3, 3)
    how = {"potential": "Cu_u3.eam", "ensemble": "nvt", "temperature": 1200.0, "timestep": 3.0}
    request, files = submitted(atoms, "md", steps=8000, every=400, **how)
    workdir = tmp_path / "job"
    workdir.mkdir()
    context = RecordingContext(workdir=workdir, files=files, checkpoint_interval=60.0, checkpoint_steps=999)
    results = LammpsEngine().run(request, context)
    assert context.checkpoint_made[0] == 999
    rows = {row["Step"]: row for row in rows_of(tmp_path / "again", request, files, results.provenance)}
    theirs = [rows[step]["PotEng"] for step in context.steps]
    np.testing.assert_allclose(theirs, context.series("potential_energy"), rtol=2e-10)


def test_two_potential_files_of_one_name_stay_two(lammps: Lammps, tmp_path: Path) -> None:
    folder = library.potentials_folder()
    assert folder is not None
    paths = []
    for element in ("Cu", "Ni"):
        (tmp_path / element).mkdir()
        paths.append(str(shutil.copyfile(folder / f"{element}_u3.eam", tmp_path / element / "mine.eam")))
    alloy = bulk("CuNi", "cesiumchloride", a=2.85) * (2, 2, 2)
    run = lammps(alloy, "static", potential=paths)
    request, files = submitted(alloy, "static", potential=paths)
    rows = rows_of(tmp_path / "again", request, files, run.results.provenance)
    np.testing.assert_allclose(rows[-1]["PotEng"], run["energy"], rtol=1e-9)
    assert sorted(path.name for path in (tmp_path / "again").glob("*.eam")) == ["mine.eam", "potential_2_mine.eam"]


def test_a_file_with_the_name_of_the_data_file_is_not_written_over(lammps: Lammps, tmp_path: Path) -> None:
    folder = library.potentials_folder()
    assert folder is not None
    mine = shutil.copyfile(folder / "Cu_u3.eam", tmp_path / "structure.data")
    before = mine.read_bytes()
    run = lammps(bulk("Cu", cubic=True), "static", potential=str(mine), pair_style="eam")
    assert mine.read_bytes() == before
    assert run["energy"] / 4 == pytest.approx(-3.54, abs=0.02)
