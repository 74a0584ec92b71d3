"""Levels along a path: two runs of VASP, for which replays stand in."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import read

from nanoos_lab.core.errors import EngineError, ParameterError, StructureError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.status import Reason
from nanoos_lab.core.structures import Structure
from nanoos_lab.core.units import unit_of
from nanoos_lab.engines import registry
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.engines.vasp import states
from nanoos_lab.engines.vasp.poscar import Order
from nanoos_lab.engines.vasp.running import Inputs, write_inputs
from nanoos_lab.store.checkpoints import find
from tests.engines.context import RecordingContext
from tests.engines.vasp.recordings import recording
from tests.engines.vasp.running import alive, atoms_of, read_diary, run
from tests.engines.vasp.synthetic import Run

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

PATH = {"path": "GX", "points": 5}
#: Results that a path has with every engine.
ALONG = ("distances", "special_distances", "special_labels", "path", "eigenvalues", "occupations", "kpoints")


def density() -> Run:
    """The run that finds the density, at two points of a mesh."""
    return Run(steps=1, kpoints=np.array([[0.0, 0, 0], [0.25, 0.25, 0.25]]))


def along_x(**values: Any) -> Run:
    """The run for the levels along the first reciprocal vector."""
    return Run(steps=1, kpoints=np.linspace([0.0, 0, 0], [0.5, 0, 0], 5), **values)


def parameters(**values: Any) -> Any:
    return validate(registry.get("vasp").tasks["bands"], {"xc": "PBE", **values}, where="test")


def inputs(atoms: Atoms, **values: Any) -> tuple[Inputs, dict[str, str]]:
    given = parameters(**values)
    first = write_inputs(atoms, Order.of(atoms.get_chemical_symbols()), given, enmax=240.0)
    return first, states.second_inputs(atoms, first, given)


# -- inputs -----------------------------------------------------------------------------------------------------------


def test_the_first_run_writes_its_density_and_the_second_keeps_it_along_the_path() -> None:
    first, second = inputs(bulk("Si"), path="LGX", points=30, smearing="tetrahedron")
    assert (first.tags["LCHARG"], first.tags["ISMEAR"]) == (True, -5)
    assert "ICHARG" not in first.tags
    assert {"ISTART = 0", "ICHARG = 11", "LCHARG = .FALSE.", "ISMEAR = 0", "NSW = 0"} <= set(
        second["INCAR"].split("\n")
    )
    lines = second["KPOINTS"].splitlines()
    assert lines[1:3] == ["30", "Reciprocal"]
    rows = np.array([[float(word) for word in line.split()] for line in lines[3:]])
    assert rows.shape == (30, 4)
    np.testing.assert_allclose(rows[[0, -1]], [[0.5, 0.5, 0.5, 1], [0.5, 0, 0.5, 1]])
    assert [0.0, 0.0, 0.0, 1.0] in rows.tolist()


@pytest.mark.parametrize(("element", "expected"), [("Si", None), ("Fe", 4), ("Gd", 6)])
def test_a_density_that_is_kept_has_its_d_and_f_electrons(element: str, expected: int | None) -> None:
    first, _ = inputs(bulk(element))
    assert first.tags.get("LMAXMIX") == expected
    assert inputs(bulk(element), incar={"LMAXMIX": 2})[0].tags["LMAXMIX"] == 2


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"xc": "HSE06"}, "xc"),
        ({"xc": "r2SCAN"}, "xc"),
        ({"incar": {"ICHARG": 1}}, "incar"),
        ({"incar": {"LCHARG": False}}, "incar"),
        ({"points": 1}, "points"),
        ({"path": ""}, "path"),
    ],
)
def test_what_has_no_levels_along_a_path_is_refused(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parameters(**values)
    assert caught.value.field == field


def test_points_that_the_lattice_does_not_have_are_answered_with_those_that_it_has(potentials) -> None:
    def check(atoms: Atoms, **values: Any) -> None:
        registry.get("vasp").check(Structure.encode(atoms), "bands", parameters(**values), EnginePolicy())

    check(bulk("Si"), path="LGXUG")
    with pytest.raises(ParameterError, match="special points of the lattice, G, K, L, U, W, X"):
        check(bulk("Si"), path="GM")
    atoms = molecule("SiH4", vacuum=4)
    atoms = atoms[atoms.numbers == 14]
    with pytest.raises(StructureError, match="has levels, but no bands"):
        check(atoms)


# -- runs -------------------------------------------------------------------------------------------------------------


def test_levels_along_a_path_have_the_names_shapes_and_units_of_other_engines(context, replay, tmp_path) -> None:
    made = density()
    diary = replay(made.write(tmp_path / "density"), along_x().write(tmp_path / "path"))
    results = run(context, atoms_of(made), "bands", **PATH)
    found = results.properties
    assert not results.stopped
    np.testing.assert_array_equal(found["eigenvalues"], along_x().levels()[None])
    np.testing.assert_allclose(found["kpoints"], along_x().kpoints, atol=1e-8)
    assert found["occupations"].shape == (1, 5, 8)
    # The reciprocal vector of a cell of 4 Å, half of it.
    np.testing.assert_allclose(found["distances"], np.linspace(0, np.pi / 4, 5))
    np.testing.assert_allclose(found["special_distances"], [0, np.pi / 4])
    assert (found["path"], found["special_labels"]) == ("GX", "G,X")
    levels = along_x().levels()
    assert found["band_gap"] == pytest.approx(levels[:, 4].min() - levels[:, 3].max(), abs=1e-9)
    assert all(unit_of(name) for name in (*ALONG, "band_gap") if name not in ("path", "special_labels"))
    assert "kpoint_weights" not in found
    # The energy is that of the density.
    assert found["free_energy"] == made.free_energy(0)
    assert context.steps == [0]
    first, second = read_diary(diary)
    assert "ICHARG" not in first["INCAR"]
    assert "ICHARG = 11\n" in second["INCAR"]
    assert second["KPOINTS"].splitlines()[1:3] == ["5", "Reciprocal"]
    left = {path.name for path in context.workdir.iterdir()}
    assert {"OUTCAR.density", "vasprun.density.xml", "vasp.out", "OUTCAR", "vasprun.xml", "bands.out"} <= left
    assert not {"CHGCAR", "WAVECAR", "POTCAR", "STOPCAR"} & left


def test_a_metal_has_no_gap(context, replay, tmp_path) -> None:
    made = density()
    text = made.xml().replace("1.0000 </r>", "0.9000 </r>", 1)
    place = made.write(tmp_path / "density")
    (place / "vasprun.xml").write_text(text)
    replay(place, along_x().write(tmp_path / "path"))
    assert "band_gap" not in run(context, atoms_of(made), "bands", **PATH).properties


def test_a_later_attempt_has_the_density_and_begins_with_the_path(context, replay, tmp_path) -> None:
    made = density()
    broken = along_x(closing=False).write(tmp_path / "broken off")
    diary = replay(made.write(tmp_path / "density"), broken, along_x().write(tmp_path / "path"))
    context.checkpoint_interval = 60.0
    with pytest.raises(EngineError, match="without its closing words"):
        run(context, atoms_of(made), "bands", **PATH)
    work = tmp_path / "second"
    work.mkdir()
    second = RecordingContext(workdir=work, checkpoint_interval=60.0, checkpoints=find([context.place]).checkpoints)
    results = run(second, atoms_of(made), "bands", **PATH)
    assert ["ICHARG = 11\n" in entry["INCAR"] for entry in read_diary(diary)] == [False, True, True]
    np.testing.assert_array_equal(results.properties["eigenvalues"], along_x().levels()[None])
    assert results.properties["free_energy"] == made.free_energy(0)
    assert results.properties["band_gap"] == pytest.approx(1.0)
    assert second.steps == [0]
    assert second.checkpoint_made == []


def test_an_attempt_that_cannot_use_what_there_is_begins_anew(context, replay, tmp_path) -> None:
    made = density()
    diary = replay(made.write(tmp_path / "density"), along_x().write(tmp_path / "path"))
    with context.checkpoint(0, {}) as directory:
        (directory / "OUTCAR").write_text(made.outcar())
    second = RecordingContext(workdir=tmp_path / "second", checkpoints=find([context.place]).checkpoints)
    second.workdir.mkdir()
    assert run(second, atoms_of(made), "bands", **PATH).properties["free_energy"] == made.free_energy(0)
    assert ["ICHARG = 11\n" in entry["INCAR"] for entry in read_diary(diary)] == [False, True]


class StoppedAtThePath(RecordingContext):
    def log(self, text: str) -> None:
        super().log(text)
        if text.startswith("bands at"):
            self.stop = "shutdown"


def test_a_stop_within_the_second_run_leaves_the_density(workdir, replay, tmp_path) -> None:
    made = density()
    replay(made.write(tmp_path / "density"), along_x(seconds=60).write(tmp_path / "path"))
    context = StoppedAtThePath(workdir=workdir, checkpoint_interval=60.0)
    results = run(context, atoms_of(made), "bands", **PATH)
    assert results.stopped
    assert context.checkpoint_made == [0]
    assert results.properties["free_energy"] == made.free_energy(0)
    assert not alive(workdir)


def test_without_a_density_the_job_says_so(context, replay, tmp_path, monkeypatch) -> None:
    made = density()
    replay(made.write(tmp_path / "density"))
    monkeypatch.setenv("VASP_REPLAY_NO_CHGCAR", "1")
    with pytest.raises(EngineError, match="written no CHGCAR") as caught:
        run(context, atoms_of(made), "bands", **PATH)
    assert caught.value.reason is Reason.ENGINE


@pytest.mark.parametrize("other", [density(), Run(steps=1)], ids=["other k-points", "no levels"])
def test_levels_elsewhere_than_on_the_path_are_not_taken_for_those_on_it(context, replay, tmp_path, other) -> None:
    made = density()
    replay(made.write(tmp_path / "density"), other.write(tmp_path / "other"))
    with pytest.raises(EngineError, match="does not have the levels at the 5 k-points of the path"):
        run(context, atoms_of(made), "bands", **PATH)


def test_a_second_run_that_fails_is_told_by_what_vasp_says(context, replay, tmp_path) -> None:
    made = density()
    said = " Error reading item 'SIGMA' from file INCAR."
    replay(made.write(tmp_path / "density"), along_x(says=(said,)).write(tmp_path / "path"))
    with pytest.raises(EngineError, match="Error reading item 'SIGMA'") as caught:
        run(context, atoms_of(made), "bands", **PATH)
    assert caught.value.reason is Reason.INPUT
    assert not alive(context.workdir)


def first_section(place: Path, directory: Path) -> Path:
    """Return a copy of a recorded run along a path that ends with the 23 k-points of its first section."""
    directory.mkdir()
    shutil.copyfile(place / "OUTCAR", directory / "OUTCAR")
    # What it said was not recorded.
    (directory / "vasp_output").write_text("")
    tree = ElementTree.parse(place / "vasprun.xml")
    rows = ["kpoints/varray[@name='kpointlist']", "kpoints/varray[@name='weights']"]
    for name in (*rows, "calculation/eigenvalues/array/set/set"):
        (parent,) = tree.findall(name)
        for each in list(parent)[23:]:
            parent.remove(each)
    tree.write(directory / "vasprun.xml")
    return directory


def test_recorded_bands_of_silicon_have_its_gap_on_the_way_to_x(context, replay, tmp_path) -> None:
    """The indirect gap of silicon in PBE: 0.6 eV, from Γ to 0.85 of the way to X."""
    place = recording("test_bands_wc/out")
    atoms = read(place / "CONTCAR", format="vasp")
    del atoms.arrays["momenta"]
    made = Run(steps=1, cell=atoms.cell.array, kpoints=np.zeros((1, 3)))
    replay(made.write(tmp_path / "density"), first_section(place, tmp_path / "path"))
    found = run(context, atoms, "bands", path="GX", points=23).properties
    assert found["eigenvalues"].shape == found["occupations"].shape == (1, 23, 20)
    top = found["eigenvalues"][0, :, 3]
    lowest = int(np.argmin(found["eigenvalues"][0, :, 4]))
    assert int(np.argmax(top)) == 0
    # Three levels are one at Γ.
    assert np.ptp(found["eigenvalues"][0, 0, 1:4]) < 1e-3
    assert found["distances"][lowest] / found["special_distances"][-1] == pytest.approx(0.85, abs=0.05)
    assert found["band_gap"] == pytest.approx(0.6, abs=0.1)
    assert found["band_gap"] == found["eigenvalues"][0, lowest, 4] - top[0]
