"""Phonons of crystals whose potential tells them, and what else follows from the forces of any engine.

Stillinger and Weber's silicon is stiffer than the real one: with their parameters its optical mode at Γ is near 18 THz
(15.5 THz by experiment). Here it is taken from the potential itself, without phonopy: the two sublattices are moved
against each other, and the force gives the frequency.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule

from nanoos_lab.core.errors import InputError, JobFailedError, ParameterError, StructureError
from nanoos_lab.engines import displacements
from nanoos_lab.lab.workflows.elastic import elastic_constants
from nanoos_lab.lab.workflows.eos import equation_of_state
from nanoos_lab.lab.workflows.phonons import lattice_dynamics, phonons

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab
    from nanoos_lab.lab.workflows.phonons import LatticeDynamics

SW = {"engine": "lammps", "potential": "Si.sw"}
EMT = {"engine": "ase", "calculator": "emt"}
#: eV/Å per u and Å, in THz².
THZ = units._e / units._amu * 1e20 / (2 * np.pi * 1e12) ** 2


def optical_mode(lab: Lab, size: float = 0.005) -> float:
    """Return the frequency in THz with which the two sublattices of silicon swing against each other."""
    silicon = bulk("Si", a=5.431) * (3, 3, 3)
    forces = []
    for sign in (-1, 1):
        moved = silicon.copy()
        moved.positions[::2, 0] += sign * size / 2
        moved.positions[1::2, 0] -= sign * size / 2
        forces.append(lab.submit(moved, task="static", **SW).wait(60).results["forces"][0, 0])
    stiffness = -(forces[1] - forces[0]) / (2 * size)
    mass = silicon.get_masses()[0]
    return float(np.sqrt(stiffness * 2 / mass * THZ))


@pytest.fixture(scope="module")
def silicon(lab: Lab) -> LatticeDynamics:
    return phonons(bulk("Si", a=5.431), supercell=3, mesh=12, lab=lab, **SW).wait(60).fit()


def test_the_optical_mode_of_silicon_is_that_of_its_potential(lab: Lab, silicon: LatticeDynamics) -> None:
    expected = optical_mode(lab)
    assert expected == pytest.approx(18, abs=0.5)
    np.testing.assert_allclose(silicon.gamma[3:], expected, rtol=0.002)
    np.testing.assert_allclose(silicon.gamma[:3], 0, atol=0.01)
    assert silicon.stable
    assert silicon.residual_force < 1e-3
    assert f"  residual_force = {silicon.residual_force!r} eV/Å" in repr(silicon).splitlines()


def test_a_crystal_has_as_few_displacements_as_its_symmetry_allows(lab: Lab) -> None:
    group = phonons(bulk("Si", a=5.431, cubic=True), supercell=(2, 2, 2), lab=lab, **SW).wait(60)
    assert len(group) == 2
    table = group.results
    assert table["displaced"].tolist() == [-1, 0]
    np.testing.assert_allclose(table["displacement"], [0, 0.01])
    assert table["status"].tolist() == ["succeeded"] * 2
    assert len(group[0].structure) == 64
    # The primitive cell is found by itself.
    found = group.fit()
    assert len(found.primitive) == 2
    np.testing.assert_allclose(found.gamma[3:], found.gamma[3], rtol=1e-6)


def test_frequencies_along_a_path_have_labels_and_units(silicon: LatticeDynamics) -> None:
    table = silicon.bands("GXKGL", points=60)
    assert len(table) == 60
    assert [label for label in table["label"] if label] == ["G", "X", "K", "G", "L"]
    assert table["distance"].is_monotonic_increasing
    assert table.attrs["units"]["branch_6"] == "THz"
    assert table.attrs["units"]["distance"] == "1/Å"
    # From Γ to X it is 2π/a.
    assert table.loc[table["label"] == "X", "distance"].item() == pytest.approx(2 * np.pi / 5.431)
    assert table.loc[0, "branch_6"] == pytest.approx(silicon.gamma[5])
    vectors = table[["q1", "q2", "q3"]].to_numpy()
    np.testing.assert_allclose(silicon.frequencies(vectors)[:, 0], table["branch_1"])
    assert len(silicon.bands()) == 100


def test_the_density_of_states_counts_all_modes(silicon: LatticeDynamics) -> None:
    table = silicon.dos()
    frequency, dos = table.index.to_numpy(), table["dos"].to_numpy()
    assert np.trapezoid(dos, frequency) == pytest.approx(6, rel=0.01)
    assert frequency[dos > 0.01].max() == pytest.approx(silicon.gamma[-1], rel=0.02)
    assert table.attrs["units"] == {"frequency": "THz", "dos": "1/THz"}


def test_heat_approaches_dulong_and_petit_and_vanishes_at_zero(silicon: LatticeDynamics) -> None:
    table = silicon.thermal([0.0, 20.0, 40.0, 3000.0])
    assert table.index.tolist() == [0, 20, 40, 3000]
    assert table.loc[3000, "heat_capacity"] == pytest.approx(6 * units.kB, rel=0.01)
    assert table.loc[0, "heat_capacity"] == 0
    zero_point = np.trapezoid(silicon.dos()["dos"] * silicon.dos().index, silicon.dos().index)
    assert table.loc[0, "free_energy"] == pytest.approx(0.5 * units._hplanck / units._e * 1e12 * zero_point, rel=0.02)
    # −dF/dT is the entropy.
    narrow = silicon.thermal([299.0, 300.0, 301.0])
    slope = (narrow.loc[301.0, "free_energy"] - narrow.loc[299.0, "free_energy"]) / 2
    assert narrow.loc[300.0, "entropy"] == pytest.approx(-slope, rel=1e-4)
    assert len(silicon.thermal()) == 101
    assert table.attrs["units"]["entropy"] == "eV/K"


def test_sound_in_copper_is_as_fast_as_its_elastic_constants_say(lab: Lab) -> None:
    """Along [100] the longitudinal velocity is √(C11/ρ), the transverse one √(C44/ρ)."""
    copper = bulk("Cu", a=3.615)
    eam = {"engine": "lammps", "potential": "Cu_u3.eam", "lab": lab}
    found = phonons(copper, supercell=6, **eam).wait(60).fit()
    constants = elastic_constants(copper, **eam).wait(60).fit()
    density = copper.get_masses().sum() / copper.get_volume()
    # X is at 2π/a along [100]; a small part of the way there.
    part = 0.02
    frequencies = found.frequencies([[part / 2, 0, part / 2]])[0]
    speed = frequencies * 3.615 / part
    expected = np.sqrt(np.array([constants.c44, constants.c44, constants.c11]) * units.GPa / density * THZ) * 2 * np.pi
    np.testing.assert_allclose(speed, expected, rtol=0.02)
    assert found.force_constants.shape == (216, 216, 3, 3)
    # M. S. Daw, M. I. Baskes, Phys. Rev. B 29, 6443 (1984) and experiment: the zone boundary is near 7 THz.
    assert found.frequencies([[0.5, 0, 0.5]])[0, 2] == pytest.approx(7.3, abs=0.6)


def test_any_engine_gives_the_forces(lab: Lab) -> None:
    copper = bulk("Cu", a=3.5898)
    found = phonons(copper, supercell=2, lab=lab, **EMT).wait(60).fit()
    assert found.stable
    assert 5 < found.frequencies([[0.5, 0, 0.5]])[0, 2] < 9


def test_a_crystal_that_is_not_stable_says_so(lab: Lab) -> None:
    """Copper is not simple cubic."""
    found = phonons(bulk("Cu", "sc", a=2.4), supercell=3, mesh=6, lab=lab, **EMT).wait(60).fit()
    assert not found.stable
    assert found.frequencies([[0.5, 0, 0]]).min() < -0.1


def test_forces_that_are_there_without_displacement_are_taken_off(lab: Lab) -> None:
    """Two atoms of silicon that are not where they should be."""
    strained = bulk("Si", a=5.431)
    strained.positions[1] += [0.01, 0.0, 0.0]
    found = phonons(strained, supercell=2, lab=lab, **SW).wait(60).fit()
    assert found.residual_force > 0.05
    np.testing.assert_allclose(found.gamma[:3], 0, atol=0.01)


def test_masses_count(lab: Lab) -> None:
    heavy = bulk("Si", a=5.431)
    heavy.set_masses([4 * mass for mass in heavy.get_masses()])
    light, slow = (
        phonons(atoms, supercell=2, lab=lab, **SW).wait(60).fit().gamma[-1] for atoms in (bulk("Si", a=5.431), heavy)
    )
    assert slow == pytest.approx(light / 2, rel=1e-3)


def test_isotopes_of_one_element_are_refused(lab: Lab) -> None:
    isotopes = bulk("Si", a=5.431)
    isotopes.set_masses([28, 30])
    with pytest.raises(StructureError, match="Si have 28, 30 u"):
        phonons(isotopes, lab=lab, **SW)


def test_an_antiferromagnet_keeps_both_of_its_atoms(lab: Lab) -> None:
    """Without moments the two are one and the same, in a primitive cell half as large."""
    chromium = bulk("Cr", cubic=True)
    chromium.set_initial_magnetic_moments([1, -1])
    group = phonons(chromium, supercell=2, lab=lab, engine="lammps", potential="lj", epsilon=0.5, sigma=2.3).wait(60)
    assert len(group.fit().primitive) == 2
    assert sorted(group[1].request.structure.atoms().get_initial_magnetic_moments()) == [-1] * 8 + [1] * 8


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"supercell": 0}, "supercell"),
        ({"supercell": 2.5}, "supercell"),
        ({"supercell": (2, 2)}, "supercell"),
        ({"supercell": -np.eye(3, dtype=int)}, "supercell"),
        ({"mesh": 0}, "mesh"),
        ({"mesh": (8, 8)}, "mesh"),
        ({"distance": 0}, "distance"),
        ({"distance": True}, "distance"),
    ],
)
def test_values_that_cannot_be_are_refused(lab: Lab, parameters, field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        phonons(bulk("Si"), lab=lab, **SW, **parameters)
    assert caught.value.field == field


def test_a_molecule_has_no_phonons(lab: Lab) -> None:
    with pytest.raises(StructureError, match="a crystal"):
        phonons(molecule("H2O"), lab=lab, engine="tblite", method="GFN2-xTB")


def test_without_phonopy_it_says_how_to_get_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "phonopy", None)
    with pytest.raises(InputError, match=r"pip install 'nanoos-lab\[phonons\]'"):
        phonons(bulk("Si"), lab=lab, **SW)


def test_one_job_has_the_phonons_of_the_workflow(lab: Lab) -> None:
    copper = bulk("Cu", a=3.6)
    many = phonons(copper, supercell=3, mesh=8, lab=lab, **EMT).wait(60).fit()
    job = lab.submit(copper, task="phonons", supercell=3, **EMT).wait(60)
    one = lattice_dynamics(job, mesh=8)
    np.testing.assert_allclose(one.force_constants, many.force_constants, atol=1e-10)
    np.testing.assert_allclose(one.bands()["branch_3"], many.bands()["branch_3"], atol=1e-6)
    assert one.thermal().loc[300.0, "free_energy"] == pytest.approx(many.thermal().loc[300.0, "free_energy"])
    assert one.residual_force == pytest.approx(many.residual_force, abs=1e-10)
    np.testing.assert_allclose(job.results["frequencies"], one.gamma, atol=1e-6)
    assert job.results.units["supercell_forces"] == "eV/Å"
    assert len(job.thermo) == 2
    assert len(job.structure) == len(copper)


def test_another_phonopy_that_would_move_other_atoms_does_no_harm(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was moved goes with the job; where the supercell is another one, that is said."""
    job = lab.submit(bulk("Cu", a=3.6), task="phonons", supercell=2, **EMT).wait(60)
    expected = lattice_dynamics(job).gamma
    monkeypatch.setattr(displacements, "displaced", None)
    np.testing.assert_allclose(lattice_dynamics(job).gamma, expected, atol=1e-6)
    monkeypatch.setattr(displacements, "matrix_of", lambda given: 3 * np.eye(3, dtype=int))
    with pytest.raises(InputError, match="repeats cells in another order"):
        lattice_dynamics(job)


def test_the_phonons_of_a_job_whose_structure_another_has_made(lab: Lab) -> None:
    relaxed = lab.submit(bulk("Cu", a=3.65), task="relax", cell="free", fmax=1e-4, **EMT)
    job = lab.submit(relaxed, task="phonons", **EMT).wait(60)
    assert lattice_dynamics(job).primitive.cell.volume == pytest.approx(relaxed.structure.cell.volume)
    with pytest.raises(InputError, match="is of task 'relax'; lattice dynamics need one of task 'phonons'"):
        lattice_dynamics(relaxed)


def test_a_supercell_that_fails_leaves_no_phonons(lab: Lab) -> None:
    group = phonons(bulk("Cu"), engine="mock", fail_at=0, lab=lab).wait(60)
    with pytest.raises(JobFailedError):
        group.fit()


# -- other workflows on tight binding ---------------------------------------------------------------------------------


def test_argon_in_tight_binding_has_one_bulk_modulus_whichever_way_it_is_computed(lab: Lab) -> None:
    xtb = {"engine": "tblite", "method": "GFN1-xTB", "lab": lab}
    minimum = equation_of_state(bulk("Ar", cubic=True, a=5.3), span=0.05, **xtb).wait(60).fit()
    # O. G. Peterson, D. N. Batchelder, R. O. Simmons, Phys. Rev. 150, 703 (1966): 5.31 Å at 4 K.
    assert minimum.lattice_constant == pytest.approx(5.31, abs=0.01)
    crystal = bulk("Ar", cubic=True, a=minimum.lattice_constant)
    constants = elastic_constants(crystal, **xtb).wait(60).fit()
    assert constants.bulk_modulus == pytest.approx(minimum.bulk_modulus, rel=0.03)
    assert constants.stable
    assert constants.pressure == pytest.approx(0, abs=0.02)
