"""Phonons of one run: the forces of all supercells, checkpoints between them, and the numbers without us."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell, molecule
from ase.calculators.emt import EMT
from ase.geometry import get_distances

from nanoos_lab.core.errors import EngineError, ParameterError, StructureError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import displacements, registry
from nanoos_lab.store.checkpoints import find
from tests.engines.ase.running import requested, run, told_by_recipe
from tests.engines.attempts import Job, at_checkpoint
from tests.engines.context import RecordingContext

if TYPE_CHECKING:
    from pathlib import Path

#: Eight displacements, by no symmetry but that of exchange.
ALLOY = bulk("AuCu", "cesiumchloride", a=3.15)
ALLOY.positions[1] += (0.05, 0.02, 0.0)
EMT_OF = {"calculator": "emt"}


def phonons(directory: Path, atoms: Any = None, **parameters: Any) -> Any:
    context = RecordingContext(workdir=directory)
    return run(context, ALLOY if atoms is None else atoms, "phonons", **{**EMT_OF, **parameters}), context


def by_hand(supercell: int) -> tuple[np.ndarray, np.ndarray]:
    """Return forces and frequencies of the alloy with phonopy and EMT alone."""
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    cell = PhonopyAtoms(ALLOY.symbols, scaled_positions=ALLOY.get_scaled_positions(), cell=ALLOY.cell.array)
    found = Phonopy(cell, supercell_matrix=supercell * np.eye(3, dtype=int), primitive_matrix=np.eye(3))
    found.generate_displacements(distance=0.01)
    forces = []
    for each in (found.supercell, *found.supercells_with_displacements):
        atoms = displacements.plain(each)
        atoms.calc = EMT()
        forces.append(atoms.get_forces())
    found.forces = np.array(forces[1:]) - forces[0]
    found.produce_force_constants()
    found.symmetrize_force_constants()
    return np.array(forces), found.run_qpoints([[0, 0, 0]]).frequencies[0]


def test_forces_and_frequencies_are_those_of_phonopy_alone(tmp_path: Path) -> None:
    results, context = phonons(tmp_path, supercell=2)
    forces, frequencies = by_hand(2)
    np.testing.assert_allclose(results.properties["supercell_forces"], forces, atol=1e-12)
    np.testing.assert_allclose(results.properties["frequencies"], frequencies, atol=1e-6)
    assert np.abs(frequencies).max() > 1
    assert results.units["supercell_forces"] == "eV/Å"
    assert results.units["frequencies"] == "THz"
    assert results.provenance["displacements"] == len(forces) - 1
    assert context.steps == context.progress_steps == list(range(len(forces)))
    assert context.head.total == len(forces) - 1


def test_energy_forces_stress_and_structure_are_those_of_the_crystal(tmp_path: Path) -> None:
    results, context = phonons(tmp_path, supercell=(2, 1, 1))
    atoms = ALLOY.copy()
    atoms.calc = EMT()
    assert results.structure.atoms() == ALLOY
    assert results.properties["energy"] == pytest.approx(atoms.get_potential_energy())
    np.testing.assert_allclose(results.properties["forces"], atoms.get_forces(), atol=1e-12)
    np.testing.assert_allclose(results.properties["stress"], atoms.get_stress(), atol=1e-12)
    assert context.series("fmax")[0] == pytest.approx(np.linalg.norm(atoms.get_forces(), axis=1).max())
    moved = context.samples[1].frame.positions - results.properties["supercell_positions"]
    assert len(moved) == 4
    first = results.properties["displaced_atoms"][0]
    np.testing.assert_allclose(moved[first], results.properties["displacements"][0], atol=1e-9)
    assert np.linalg.norm(moved, axis=1).sum() == pytest.approx(0.01)


@pytest.mark.parametrize("given", [[[2, 1, 0], [0, 2, 0], [0, 0, 2]], np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 1]])])
def test_rows_of_a_matrix_are_the_vectors_of_the_supercell(tmp_path: Path, given: Any) -> None:
    results, _ = phonons(tmp_path, supercell=given)
    expected = make_supercell(ALLOY, given)
    found = Atoms(
        numbers=np.repeat(29, len(expected)), positions=results.properties["supercell_positions"], cell=expected.cell
    )
    _, distances = get_distances(found.positions, expected.positions, cell=expected.cell, pbc=True)
    assert distances.min(axis=1).max() < 1e-9
    assert distances.min(axis=0).max() < 1e-9


class Counted(EMT):
    """Says how often it was asked."""

    count = 0

    def calculate(self, *args: Any) -> None:
        type(self).count += 1
        super().calculate(*args)


def test_each_supercell_is_computed_once_also_where_a_run_goes_on(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(Counted, "count", 0)
    how = {"calculator": "tests.engines.ase.test_phonons:Counted", "supercell": 2}
    first = RecordingContext(workdir=tmp_path / "first", stop_after_samples=3, stop_reason="pause")
    first.checkpoint_interval = 600.0
    first.workdir.mkdir()
    run(first, ALLOY, "phonons", **how)
    second = RecordingContext(workdir=tmp_path, checkpoints=find([first.place]).checkpoints)
    results = run(second, ALLOY, "phonons", **how)
    assert Counted.count == len(results.properties["supercell_forces"]) == 9
    assert second.series("pressure")[0] == first.series("pressure")[2]


class Slow(EMT):
    """Takes a tenth of a second."""

    def calculate(self, *args: Any) -> None:
        time.sleep(0.1)
        super().calculate(*args)


def test_a_slow_calculator_has_a_checkpoint_after_each_supercell(tmp_path: Path) -> None:
    context = RecordingContext(workdir=tmp_path, checkpoint_interval=0.1)
    run(context, ALLOY, "phonons", calculator="tests.engines.ase.test_phonons:Slow", supercell=1)
    assert context.checkpoint_made == list(range(1, len(context.steps) - 1))


def test_a_run_that_was_killed_goes_on_with_the_next_supercell(tmp_path: Path) -> None:
    job = Job(
        tmp_path / "broken", "ase", "phonons", ALLOY, grid=2, supercell=((2, 0, 0), (0, 2, 0), (0, 0, 2)), **EMT_OF
    )
    job.attempt(at_checkpoint(2))
    last = job.attempt()
    assert (last.end, last.first) == ("done", 4)
    _, whole = phonons(tmp_path, supercell=2)
    rows = [sample.row for sample in whole.samples]
    np.testing.assert_allclose(job.thermo.values[:, -len(rows[0]) :], rows, atol=1e-9)


def test_a_run_that_goes_on_has_all_forces(tmp_path: Path) -> None:
    whole, _ = phonons(tmp_path, supercell=2)
    first = RecordingContext(workdir=tmp_path / "first", stop_after_samples=3, stop_reason="pause")
    first.checkpoint_interval = 600.0
    first.workdir.mkdir()
    assert run(first, ALLOY, "phonons", supercell=2, **EMT_OF).stopped
    second = RecordingContext(workdir=tmp_path, checkpoints=find([first.place]).checkpoints)
    last = run(second, ALLOY, "phonons", supercell=2, **EMT_OF)
    assert second.steps[0] == second.head.first == first.checkpoint_made[-1] == 2
    expected = whole.properties["supercell_forces"]
    np.testing.assert_allclose(last.properties["supercell_forces"], expected, atol=1e-12)
    assert last.properties["frequencies"] == pytest.approx(whole.properties["frequencies"], abs=1e-6)


def test_a_checkpoint_of_another_supercell_is_not_taken(tmp_path: Path) -> None:
    first = RecordingContext(workdir=tmp_path / "first", stop_after_samples=3, stop_reason="pause")
    first.checkpoint_interval = 600.0
    first.workdir.mkdir()
    run(first, ALLOY, "phonons", supercell=2, **EMT_OF)
    second = RecordingContext(workdir=tmp_path, checkpoints=find([first.place]).checkpoints)
    run(second, ALLOY, "phonons", supercell=1, **EMT_OF)
    assert second.head.first == 0
    assert "it is not one of" in "\n".join(second.logged)


def test_a_cancel_ends_it_between_two_supercells(tmp_path: Path) -> None:
    context = RecordingContext(workdir=tmp_path, stop_after_samples=3)
    results = run(context, ALLOY, "phonons", supercell=2, **EMT_OF)
    assert results.stopped
    assert context.steps == [0, 1, 2]


def test_its_recipe_gives_the_same_numbers_without_us(tmp_path: Path) -> None:
    expected, _ = phonons(tmp_path, supercell=2)
    request = requested(ALLOY, "phonons", engine="ase", supercell=2, **EMT_OF)
    said = told_by_recipe(tmp_path / "again", request)
    assert said["energy"] == pytest.approx([expected.properties["energy"]], abs=1e-9)
    assert said["frequencies"] == pytest.approx(expected.properties["frequencies"], abs=1e-6)


@pytest.mark.parametrize(
    "supercell", [0, -1, 1.5, "2", (2, 2), ((1, 0, 0), (1, 0, 0), (0, 0, 1)), None, (-2, -2, 2), (2, True, 2), 100]
)
def test_a_supercell_that_cannot_be_is_refused(tmp_path: Path, supercell: Any) -> None:
    with pytest.raises(ParameterError) as caught:
        phonons(tmp_path, supercell=supercell)
    assert caught.value.field == "supercell"


def test_molecules_and_isotopes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StructureError, match="a crystal, periodic in all directions"):
        phonons(tmp_path, molecule("CO"))
    left = ALLOY.copy()
    left.set_cell(left.cell[[1, 0, 2]])
    with pytest.raises(StructureError, match="left-handed"):
        phonons(tmp_path, left)
    mixed = bulk("Cu", cubic=True)
    mixed.set_masses([62.93, 64.93, 62.93, 62.93])
    with pytest.raises(StructureError, match="must have one mass; those of Cu"):
        phonons(tmp_path, mixed)


def test_without_phonopy_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(displacements, "find_spec", lambda name: None)
    lacking = registry.get("ase").probe().lacking
    assert lacking["phonons"] == "phonopy is missing: pip install 'nanoos-lab[phonons]'"
    # On a host of the cluster, after a submit elsewhere.
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(EngineError, match="phonons need phonopy") as caught:
        phonons(tmp_path)
    assert caught.value.reason is Reason.RESOURCE
    assert "pip install" in caught.value.remedy
