"""Nudged elastic bands: a gold atom that hops from hollow to hollow over Al(100).

ASE's tutorial on surface diffusion has this path, in effective medium theory. By symmetry its saddle point is the
bridge site, so the barrier is known without any band: 0.374 eV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixedPlane
from ase.optimize import BFGS

from nanoos_lab.core.errors import EngineError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.core.status import Reason
from tests.engines.ase.running import run
from tests.engines.attempts import Job, at_checkpoint, at_sample
from tests.engines.context import RecordingContext

if TYPE_CHECKING:
    from pathlib import Path

EMT_NEB = {"calculator": "emt", "images": 3, "fmax": 0.02}


def slab(*, hop: float) -> Atoms:
    """Return gold on aluminium that has made this part of its way to the next hollow site."""
    atoms = fcc100("Al", size=(2, 2, 3))
    add_adsorbate(atoms, "Au", 1.7, "hollow")
    atoms.center(axis=2, vacuum=4.0)
    held = [FixAtoms(mask=atoms.get_tags() > 1)]
    if 0 < hop < 1:
        held.append(FixedPlane(len(atoms) - 1, (1, 0, 0)))
    atoms.set_constraint(held)
    atoms[-1].x += hop * atoms.cell[0, 0] / 2
    return atoms


def relaxed(atoms: Atoms) -> Atoms:
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=0.005)
    return atoms


@pytest.fixture(scope="module")
def ends() -> tuple[Atoms, Atoms]:
    return relaxed(slab(hop=0)), relaxed(slab(hop=1))


@pytest.fixture(scope="module")
def barrier(ends: tuple[Atoms, Atoms]) -> float:
    return relaxed(slab(hop=0.5)).get_potential_energy() - ends[0].get_potential_energy()


@pytest.mark.parametrize("optimizer", ["FIRE", "FIRE2", "BFGS", "LBFGS", "MDMin"])
def test_the_barrier_is_the_height_of_the_bridge_site(context, ends, barrier, optimizer):
    results = run(context, ends[0], "neb", final=ends[1], optimizer=optimizer, **EMT_NEB)
    found = results.properties
    assert barrier == pytest.approx(0.374, abs=0.001)
    assert found["barrier"] == pytest.approx(barrier, abs=0.001)
    assert found["reaction_energy"] == pytest.approx(0, abs=1e-4)
    assert found["fmax"] < 0.02


def test_energies_and_positions_of_all_images_are_results(context, ends):
    results = run(context, ends[0], "neb", final=ends[1], **EMT_NEB)
    energies, positions = results.properties["image_energies"], results.properties["image_positions"]
    assert positions.shape == (5, 13, 3)
    np.testing.assert_allclose(positions[0], ends[0].positions)
    np.testing.assert_allclose(positions[-1], ends[1].positions)
    for energy, place in zip(energies, positions, strict=True):
        atoms = ends[0].copy()
        atoms.positions = place
        atoms.calc = EMT()
        assert energy == pytest.approx(atoms.get_potential_energy())
    assert int(np.argmax(energies)) == 2
    np.testing.assert_allclose(energies, energies[::-1], atol=1e-3)
    np.testing.assert_allclose(results.structure.atoms().positions, positions[2])
    assert results.properties["energy"] == pytest.approx(energies[2])


def test_the_saddle_point_has_no_force_and_one_direction_down(context, ends):
    atoms = run(context, ends[0], "neb", final=ends[1], **EMT_NEB).structure.atoms()
    atoms.calc = EMT()
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 0.02
    top = atoms.get_potential_energy()
    for step, sign in (((0.1, 0, 0), -1), ((-0.1, 0, 0), -1), ((0, 0, 0.1), 1), ((0, 0, -0.1), 1)):
        moved = atoms.copy()
        moved.positions[-1] += step
        moved.calc = EMT()
        assert np.sign(moved.get_potential_energy() - top) == sign


def test_without_climbing_the_highest_of_two_images_stays_below_the_saddle_point(tmp_path, ends, barrier):
    found = []
    for climb in (False, True):
        own = RecordingContext(workdir=tmp_path / str(climb))
        parameters = {**EMT_NEB, "images": 2, "climb": climb}
        found.append(run(own, ends[0], "neb", final=ends[1], **parameters).properties["barrier"])
    assert found[0] < barrier - 0.05
    assert found[1] == pytest.approx(barrier, abs=0.001)


def test_samples_are_of_the_highest_image_at_every_step(context, ends):
    results = run(context, ends[0], "neb", final=ends[1], every=4, **EMT_NEB)
    last = results.properties["steps"]
    assert context.steps == sorted({*range(0, last + 1, 4), last})
    assert context.columns[-3:] == ["fmax", "barrier", "reaction_energy"]
    assert [column.unit for column in context.head.columns[-3:]] == ["eV/Å", "eV", "eV"]
    np.testing.assert_allclose(context.samples[-1].frame.positions, results.structure.atoms().positions)
    height = context.series("potential_energy") - results.properties["image_energies"][0]
    np.testing.assert_allclose(context.series("barrier"), height)
    assert context.series("fmax")[-1] == pytest.approx(results.properties["fmax"])


def test_positions_alone_are_an_end_too(context, ends):
    parameters = {**EMT_NEB, "images": 1}
    results = run(context, ends[0], "neb", final=ends[1].positions, **parameters)
    assert results.properties["barrier"] == pytest.approx(0.374, abs=0.002)


def test_an_atom_that_crosses_the_border_of_the_cell_takes_the_short_way(context, ends):
    wrapped = ends[1].copy()
    wrapped.positions[-1] -= wrapped.cell[0]
    parameters = {**EMT_NEB, "images": 1, "interpolation": "linear"}
    results = run(context, ends[0], "neb", final=wrapped, **parameters)
    assert results.properties["barrier"] == pytest.approx(0.374, abs=0.002)


@pytest.mark.parametrize("interpolation", ["idpp", "linear"])
def test_idpp_keeps_atoms_apart_that_a_straight_line_pushes_together(context, interpolation):
    """A dimer turns half way round: on the straight line its atoms meet."""
    first = Atoms("Cu2", positions=[[0, 0, -1.1], [0, 0.1, 1.1]])
    last = Atoms("Cu2", positions=[[0, 0, 1.1], [0, 0.1, -1.1]])
    parameters = {**EMT_NEB, "interpolation": interpolation, "steps": 0, "fmax": 1e-3}
    with pytest.raises(EngineError, match="did not converge"):
        run(context, first, "neb", final=last, **parameters)
    highest = context.samples[0].frame.positions
    distance = np.linalg.norm(highest[1] - highest[0])
    assert distance > 1.5 if interpolation == "idpp" else distance < 0.5


def test_ends_that_are_not_relaxed_are_told_in_the_log(context, ends):
    rough = ends[1].copy()
    rough.positions[-1, 2] += 0.1
    run(context, ends[0], "neb", final=rough, **EMT_NEB)
    (warning,) = context.logged
    assert warning.startswith("warning: the final structure is not relaxed: the largest force on it is 0.")


def test_too_few_steps_fail_with_the_force_that_was_reached(context, ends):
    with pytest.raises(EngineError, match=r"eV/Å after 2 steps, not fmax=0\.001") as caught:
        run(context, ends[0], "neb", final=ends[1], calculator="emt", fmax=0.001, steps=2)
    assert caught.value.reason is Reason.CONVERGENCE


def test_a_calculator_that_fails_is_quoted(context):
    options = {"calculator": "tests.engines.ase.doubles:Broken", "calculator_options": {"after": 1}}
    with pytest.raises(EngineError, match="SCF did not find its feet"):
        run(context, Atoms("H", positions=[[1, 0, 0]]), "neb", final=[[2, 0, 0]], **options)


def changed(atoms: Atoms, **how: Any) -> Atoms:
    other = atoms.copy()
    other.set_constraint()
    if "swap" in how:
        other.numbers[-1], other.numbers[0] = other.numbers[0], other.numbers[-1]
    if "stretch" in how:
        other.set_cell(other.cell * 1.01, scale_atoms=True)
    if "lift" in how:
        other.positions[0, 2] += 0.5
    return other


@pytest.mark.parametrize(
    ("final", "words"),
    [
        (lambda atoms: atoms[:-1], "final has 12 atoms, but the structure has 13"),
        (lambda atoms: changed(atoms, swap=True), "same order; atom 0 is another element"),
        (lambda atoms: changed(atoms, stretch=True), "the same cell"),
        (lambda atoms: changed(atoms, lift=True), r"hold 1 atom\(s\) away from where final has them, .* atom 0"),
    ],
)
def test_an_end_that_does_not_fit_is_refused(context, ends, final, words):
    with pytest.raises(StructureError, match=words):
        run(context, ends[0], "neb", final=final(ends[1]), calculator="emt")


def test_a_path_to_itself_is_refused(context, ends):
    with pytest.raises(StructureError, match="no path between them"):
        run(context, ends[0], "neb", final=ends[0], calculator="emt")


@pytest.mark.parametrize(
    "final", ["final.xyz", 3, [[1, 2]], [[0, 0, float("nan")]], {"positions": [[0, 0, 0]], "pbc": 1}]
)
def test_what_is_no_structure_is_refused(context, ends, final):
    with pytest.raises(ParameterError) as caught:
        run(context, ends[0], "neb", final=final, calculator="emt")
    assert caught.value.field == "final"


def test_a_misspelt_parameter_is_told_with_the_nearest(context, ends):
    with pytest.raises(UnknownNameError) as caught:
        run(context, ends[0], "neb", final=ends[1], calculator="emt", image=5)
    assert caught.value.nearest == "images"


def test_a_cancel_ends_it(tmp_path, ends):
    context = RecordingContext(workdir=tmp_path, stop_after_samples=3)
    results = run(context, ends[0], "neb", final=ends[1], calculator="emt", fmax=1e-6)
    assert results.stopped
    assert context.steps == [0, 1, 2]
    assert results.properties["image_positions"].shape == (7, 13, 3)


@pytest.mark.parametrize("optimizer", ["FIRE", "BFGS"])
@pytest.mark.parametrize("trouble", [at_checkpoint(1), at_sample(7)])
def test_an_interrupted_band_is_the_uninterrupted_one(tmp_path: Path, ends, optimizer, trouble):
    parameters = {**EMT_NEB, "final": ends[1], "optimizer": optimizer, "fmax": 0.01}

    def job(name: str) -> Job:
        return Job(tmp_path / name, "ase", "neb", ends[0], grid=5, **parameters)

    whole = job("whole")
    straight = whole.attempt()
    broken = job("broken")
    broken.attempt(trouble)
    last = broken.attempt()
    assert (straight.end, last.end) == ("done", "done")
    assert last.first >= 5
    np.testing.assert_allclose(broken.thermo.values, whole.thermo.values, rtol=1e-7, atol=1e-7)
    assert last.fields["scalars"]["barrier"] == pytest.approx(straight.fields["scalars"]["barrier"], abs=1e-9)
