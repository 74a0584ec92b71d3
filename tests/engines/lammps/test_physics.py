"""LAMMPS's numbers through the engine, against published values and against ASE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc100, molecule
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from ase.eos import EquationOfState

from tests.engines.lammps.outside import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engines.lammps.outside import Outcome

    Lammps = Callable[..., Outcome]

ARGON = {"epsilon": 0.0104, "sigma": 3.4, "cutoff": 8.5}
MISHIN = "Cu_mishin1.eam.alloy"


def argon_by_ase(atoms: Atoms) -> Atoms:
    atoms = atoms.copy()
    atoms.calc = LennardJones(epsilon=ARGON["epsilon"], sigma=ARGON["sigma"], rc=ARGON["cutoff"], smooth=False)
    return atoms


def skewed_argon() -> Atoms:
    """A rattled crystal in a skewed cell that is turned in space."""
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (3, 3, 3)
    skew = np.array([[1.0, 0.03, -0.05], [0.11, 1.02, 0.07], [-0.23, 0.19, 0.97]])
    atoms.set_cell(atoms.cell.array @ skew, scale_atoms=True)
    atoms.rotate(37, (1, 2, 3), rotate_cell=True)
    atoms.rattle(0.1, seed=1)
    return atoms


@pytest.mark.parametrize("left_handed", [False, True], ids=["right-handed", "left-handed"])
def test_energy_forces_and_stress_of_a_turned_skewed_cell_are_those_of_ase(lammps: Lammps, left_handed: bool) -> None:
    atoms = skewed_argon()
    if left_handed:
        atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    expected = argon_by_ase(atoms)
    found = lammps(atoms, "static", potential="lj", **ARGON)
    assert found["energy"] == pytest.approx(expected.get_potential_energy(), rel=1e-9)
    np.testing.assert_allclose(found["forces"], expected.get_forces(), atol=1e-9)
    np.testing.assert_allclose(found["stress"], expected.get_stress(), atol=1e-9)
    np.testing.assert_allclose(found.samples[0].frame.positions, atoms.positions, atol=1e-9)
    np.testing.assert_allclose(found.samples[0].frame.cell, atoms.cell.array, atol=1e-9)


def test_pressure_is_positive_under_compression_and_opposite_to_ases_stress(lammps: Lammps) -> None:
    squeezed = bulk("Ar", "fcc", a=4.9, cubic=True) * (3, 3, 3)
    found = lammps(squeezed, "static", potential="lj", **ARGON)
    pressure = found.series("pressure")[0]
    assert pressure > 1
    assert pressure == pytest.approx(-found["stress"][:3].mean() / units.GPa, rel=1e-6)


@pytest.mark.parametrize("periodic", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 1, 1), (1, 0, 1)])
def test_directions_that_are_not_periodic_have_a_surface(lammps: Lammps, periodic: tuple[int, int, int]) -> None:
    atoms = skewed_argon()
    atoms.pbc = periodic
    expected = argon_by_ase(atoms)
    found = lammps(atoms, "static", potential="lj", **ARGON)
    assert found["energy"] == pytest.approx(expected.get_potential_energy(), rel=1e-9)
    np.testing.assert_allclose(found["forces"], expected.get_forces(), atol=1e-9)
    np.testing.assert_allclose(found["stress"], expected.get_stress(), atol=1e-9)
    np.testing.assert_allclose(found.samples[0].frame.positions, atoms.positions, atol=1e-9)
    np.testing.assert_array_equal(
        found.samples[0].frame.cell[~np.array(periodic, bool)], atoms.cell.array[~np.array(periodic, bool)]
    )


def test_a_molecule_without_a_cell_has_energy_and_forces_but_no_stress(lammps: Lammps) -> None:
    dimer = Atoms("Ar2", positions=[(0, 0, 0), (0, 0, 3.9)])
    found = lammps(dimer, "static", potential="lj", **ARGON)
    assert found["energy"] == pytest.approx(argon_by_ase(dimer).get_potential_energy(), rel=1e-9)
    assert "stress" not in found.results.properties
    assert np.isnan(found.series("volume")[0])


def test_copper_has_the_published_lattice_constant_cohesive_energy_and_bulk_modulus(lammps: Lammps) -> None:
    """Mishin et al., Phys. Rev. B 63, 224106 (2001), table III: 3.615 Å, −3.54 eV, 138.3 GPa."""
    volumes, energies = [], []
    for a in np.linspace(3.58, 3.65, 5):
        cell = bulk("Cu", a=a, cubic=True)
        volumes.append(cell.get_volume() / 4)
        energies.append(lammps(cell, "static", potential=MISHIN)["energy"] / 4)
    volume, energy, modulus = EquationOfState(volumes, energies).fit()
    assert (4 * volume) ** (1 / 3) == pytest.approx(3.615, abs=5e-4)
    assert energy == pytest.approx(-3.54, abs=1e-3)
    assert modulus / units.GPa == pytest.approx(138.3, rel=0.01)


def test_silicon_has_the_published_cohesive_energy(lammps: Lammps) -> None:
    """Stillinger and Weber, Phys. Rev. B 31, 5262 (1985), and Balamane et al., Phys. Rev. B 46, 2250 (1992):
    −4.3366 eV at 5.431 Å."""
    found = lammps(bulk("Si", a=5.431, cubic=True), "static", potential="Si.sw")
    assert found["energy"] / 8 == pytest.approx(-4.3366, abs=1e-3)


@pytest.mark.parametrize(
    ("elements", "potential", "lattice"),
    [
        (("Ni", "Al"), "NiAlH_jea.eam.alloy", ("NiAl", "cesiumchloride", 2.88)),
        (("Al", "Fe"), "AlFe_mm.eam.fs", ("AlFe", "cesiumchloride", 2.9)),
        (("Si", "C"), "SiC.tersoff", ("SiC", "zincblende", 4.32)),
        (("Si", "C"), "SiC.vashishta", ("SiC", "zincblende", 4.36)),
        (("Al", "Cu"), "AlCu.adp", ("AlCu", "cesiumchloride", 2.95)),
        (("Cu", "Ni"), ["Cu_u3.eam", "Ni_u3.eam"], ("CuNi", "cesiumchloride", 2.85)),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_alloys_get_each_atom_its_own_element(
    lammps: Lammps, elements: tuple[str, str], potential: str | list[str], lattice: tuple[str, str, float]
) -> None:
    """Order of the atoms must not matter, and their elements must."""
    name, kind, a = lattice
    alloy = bulk(name, kind, a=a, cubic=True) * (2, 2, 2)
    alloy.rattle(0.05, seed=3)
    backwards = alloy[::-1]
    first, second = (lammps(atoms, "static", potential=potential) for atoms in (alloy, backwards))
    assert second["energy"] == pytest.approx(first["energy"], rel=1e-12)
    np.testing.assert_allclose(second["forces"][::-1], first["forces"], atol=1e-10)
    assert -7 < first["energy"] / len(alloy) < -2


@pytest.mark.parametrize(
    ("structure", "potential", "elements"),
    [
        (bulk("Cu", cubic=True), "Cu.meam", None),
        (bulk("Ni", cubic=True), ["library.meam", "Ni.meam"], None),
        (bulk("SiC", "zincblende", a=4.28, cubic=True), "SiC.meam", ["Si", "C"]),
    ],
    ids=["Cu", "Ni", "SiC"],
)
def test_meam_takes_a_library_and_parameters(
    lammps: Lammps, structure: Atoms, potential: str | list[str], elements: list[str] | None
) -> None:
    """Cohesive energies of Baskes, Phys. Rev. B 46, 2727 (1992): Cu 3.54, Ni 4.45, SiC 6.43 eV."""
    found = lammps(structure, "static", potential=potential, elements=elements)
    expected = {"Cu": 3.54, "Ni": 4.45, "C": 6.43}[structure.get_chemical_symbols()[-1]]
    assert found["energy"] / len(structure) == pytest.approx(-expected, abs=0.05)


def test_nve_conserves_the_total_energy(lammps: Lammps) -> None:
    """Drift and fluctuation stay below 10⁻⁵ of the kinetic energy per atom and ps, as a symplectic step gives."""
    copper = bulk("Cu", cubic=True) * (4, 4, 4)
    run = lammps(copper, "md", potential=MISHIN, temperature=600, timestep=1.0, steps=2000, every=20)
    total = run.series("total_energy")
    kinetic = run.series("kinetic_energy").mean()
    slope = np.polyfit(run.series("time"), total, 1)[0] * 2000
    assert abs(slope) < 1e-3 * kinetic
    assert total[5:].std() < 1e-3 * kinetic
    assert run.series("time")[-1] == 2000
    np.testing.assert_allclose(total, run.series("potential_energy") + run.series("kinetic_energy"), rtol=1e-12)


def test_nvt_has_the_mean_temperature_that_was_asked_for(lammps: Lammps) -> None:
    copper = bulk("Cu", cubic=True) * (4, 4, 4)
    run = lammps(
        copper, "md", potential=MISHIN, ensemble="nvt", temperature=600, timestep=2.0, tdamp=50, steps=5000, every=10
    )
    temperature = run.series("temperature")
    assert temperature[0] == pytest.approx(600, rel=1e-6)
    assert temperature[100:].mean() == pytest.approx(600, rel=0.02)
    # Canonical fluctuations: σ = T sqrt(2 / 3N), within the noise of a short run.
    assert temperature[100:].std() == pytest.approx(600 * np.sqrt(2 / (3 * 256)), rel=0.5)


def test_a_temperature_ramp_ends_at_its_end(lammps: Lammps) -> None:
    copper = bulk("Cu", cubic=True) * (4, 4, 4)
    run = lammps(
        copper,
        "md",
        potential=MISHIN,
        ensemble="nvt",
        temperature=300,
        temperature_end=900,
        tdamp=20,
        steps=3000,
        every=10,
    )
    temperature = run.series("temperature")
    assert temperature[100:140].mean() == pytest.approx(300 + 600 * 0.4, rel=0.15)
    assert temperature[-30:].mean() == pytest.approx(870, rel=0.1)


def test_npt_pressure_shrinks_the_cell_and_keeps_its_shape(lammps: Lammps) -> None:
    copper = bulk("Cu", cubic=True) * (4, 4, 4)
    copper.rotate(20, (1, 1, 0), rotate_cell=True)
    run = lammps(
        copper,
        "md",
        potential=MISHIN,
        ensemble="npt",
        temperature=300,
        pressure=10.0,
        tdamp=100,
        pdamp=300,
        timestep=2.0,
        steps=3000,
        every=10,
    )
    assert run.series("pressure")[150:].mean() == pytest.approx(10.0, abs=0.5)
    assert run.series("volume")[-1] < 0.97 * copper.get_volume()
    last = run.samples[-1].frame
    np.testing.assert_allclose(
        last.cell / np.linalg.norm(last.cell), copper.cell.array / np.linalg.norm(copper.cell.array), atol=1e-6
    )
    # Positions belong to the cell that is told with them.
    scaled = np.linalg.solve(last.cell.T, last.positions.T).T
    np.testing.assert_allclose(scaled, copper.get_scaled_positions(wrap=False), atol=0.05)


def test_velocities_of_the_structure_are_those_of_the_first_frame(lammps: Lammps) -> None:
    atoms = skewed_argon()
    rng = np.random.default_rng(5)
    atoms.set_momenta(rng.normal(size=(len(atoms), 3)))
    run = lammps(atoms, "md", potential="lj", **ARGON, temperature=500, timestep=2.0, steps=1, every=1)
    first = run.samples[0]
    np.testing.assert_allclose(first.frame.velocities, atoms.get_velocities() * units.fs, atol=1e-12)
    assert run.series("kinetic_energy")[0] == pytest.approx(atoms.get_kinetic_energy(), rel=1e-6)
    moved = first.frame.positions + 2.0 * first.frame.velocities
    np.testing.assert_allclose(run.samples[1].frame.positions, moved, atol=1e-3)


def test_dynamics_follow_those_of_ase(lammps: Lammps) -> None:
    """Velocity Verlet in both: 20 steps of 5 fs agree to the rounding that grows in between."""
    from ase.md.verlet import VelocityVerlet

    atoms = skewed_argon()
    atoms.set_momenta(np.random.default_rng(5).normal(scale=3.0, size=(len(atoms), 3)))
    run = lammps(atoms, "md", potential="lj", **ARGON, timestep=5.0, steps=20, every=20)
    expected = argon_by_ase(atoms)
    VelocityVerlet(expected, timestep=5.0 * units.fs).run(20)
    np.testing.assert_allclose(run.atoms.positions, expected.positions, atol=1e-6)
    np.testing.assert_allclose(run.atoms.get_velocities(), expected.get_velocities(), atol=1e-7)


def test_positions_go_on_across_the_boundary(lammps: Lammps) -> None:
    """Frames are not wrapped into the cell, so that displacements can be read off them."""
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (2, 2, 2)
    atoms.positions += 20.0
    atoms.set_velocities(np.full((len(atoms), 3), 0.05 / units.fs))
    run = lammps(atoms, "md", potential="lj", epsilon=0.0104, sigma=3.4, cutoff=5.0, timestep=2.0, steps=500, every=500)
    moved = run.samples[-1].frame.positions - atoms.positions
    np.testing.assert_allclose(moved.mean(axis=0), 50.0, atol=1e-6)


def test_fixed_atoms_stay_and_have_no_part_in_the_temperature(lammps: Lammps) -> None:
    slab = fcc100("Cu", (4, 4, 4), a=3.615, vacuum=8.0)
    slab.set_constraint(FixAtoms(mask=slab.positions[:, 2] < slab.positions[:, 2].mean()))
    fixed = slab.constraints[0].index
    run = lammps(slab, "md", potential=MISHIN, ensemble="nvt", temperature=500, timestep=2.0, steps=1000, every=10)
    np.testing.assert_array_equal(run.samples[-1].frame.positions[fixed], run.samples[0].frame.positions[fixed])
    free = 3 * (len(slab) - len(fixed))
    expected = 2 * run.series("kinetic_energy") / (free * units.kB)
    np.testing.assert_allclose(run.series("temperature"), expected, rtol=1e-5)
    assert run.series("temperature")[40:].mean() == pytest.approx(500, rel=0.15)
    assert run.atoms.constraints[0].index.tolist() == fixed.tolist()


@pytest.mark.parametrize("options", [Options(), Options(ranks=2)], ids=["one process", "ranks"])
@pytest.mark.parametrize("mobile", [1, 4])
def test_few_mobile_atoms_begin_at_the_temperature_that_was_asked_for(
    lammps: Lammps, mobile: int, options: Options
) -> None:
    copper = bulk("Cu", cubic=True) * (3, 3, 3)
    copper.set_constraint(FixAtoms(indices=range(mobile, len(copper))))
    run = lammps(copper, "md", options, potential=MISHIN, temperature=300, steps=1, every=1)
    assert run.series("temperature")[0] == pytest.approx(300, rel=1e-6)
    assert run.series("kinetic_energy")[0] == pytest.approx(1.5 * mobile * units.kB * 300, rel=1e-5)


def test_langevins_bath_has_its_temperature_for_few_atoms_too(lammps: Lammps) -> None:
    """It moves the centre of mass like all else, so that all 3N degrees of freedom have kT / 2 each."""
    copper = bulk("Cu", cubic=True)
    bath = {"ensemble": "nvt", "thermostat": "langevin", "temperature": 300, "tdamp": 20.0, "timestep": 4.0}
    run = lammps(copper, "md", potential=MISHIN, **bath, steps=20_000, every=10, thin_cell=True)
    temperature = run.series("temperature")
    assert temperature[0] == pytest.approx(300, rel=1e-6)
    np.testing.assert_allclose(temperature, 2 * run.series("kinetic_energy") / (12 * units.kB), rtol=1e-5)
    assert temperature[50:].mean() == pytest.approx(300, rel=0.05)
    mass = copper.get_masses()[0]
    drift = [(mass * sample.frame.velocities).sum(axis=0) for sample in run.samples[50:]]
    centre = np.square(np.array(drift) / units.fs).sum(axis=1).mean() / (3 * 4 * mass * units.kB)
    assert centre == pytest.approx(300, rel=0.2)


def test_relaxed_copper_has_forces_below_fmax_whatever_the_sampling(lammps: Lammps) -> None:
    copper = bulk("Cu", cubic=True) * (3, 3, 3)
    copper.rattle(0.1, seed=1)
    runs = [lammps(copper, "relax", potential=MISHIN, fmax=0.001, every=every) for every in (1, 4, 1000)]
    for run in runs:
        assert np.linalg.norm(run["forces"], axis=1).max() <= 0.001
        assert run["converged"] is True
        np.testing.assert_array_equal(run.atoms.positions, runs[0].atoms.positions)
    assert runs[0].steps == list(range(runs[0]["steps"] + 1))
    assert runs[1].steps[:-1] == list(range(0, runs[1]["steps"], 4))
    assert runs[2].steps == [0, runs[0]["steps"]]
    assert runs[0].series("fmax")[-1] <= 0.001 < runs[0].series("fmax")[-2]
    np.testing.assert_array_equal(runs[0].rows[::4], runs[1].rows[: len(runs[0].rows[::4])])


def test_a_free_cell_relaxes_to_the_equilibrium_crystal_from_any_shape(lammps: Lammps) -> None:
    copper = bulk("Cu", a=3.7, cubic=True) * (2, 2, 2)
    copper.set_cell(copper.cell.array @ np.array([[1, 0.05, 0], [0, 1, 0], [0.02, 0, 1.03]]), scale_atoms=True)
    copper.rotate(30, (1, 2, 3), rotate_cell=True)
    copper.rattle(0.05, seed=2)
    run = lammps(copper, "relax", potential=MISHIN, fmax=0.0005, cell="free")
    np.testing.assert_allclose(run.atoms.cell.cellpar(), [7.23, 7.23, 7.23, 90, 90, 90], atol=2e-2)
    assert np.abs(run["stress"]).max() < 1e-4
    squeezed = lammps(copper, "relax", potential=MISHIN, fmax=0.0005, cell="free", pressure=10.0)
    np.testing.assert_allclose(squeezed["stress"] / units.GPa, [-10, -10, -10, 0, 0, 0], atol=0.05)


def test_fixed_atoms_do_not_relax(lammps: Lammps) -> None:
    copper = bulk("Cu", cubic=True) * (2, 2, 2)
    copper.rattle(0.1, seed=1)
    copper.set_constraint(FixAtoms(indices=[0, 5, 6, 7]))
    run = lammps(copper, "relax", potential=MISHIN, fmax=0.001)
    np.testing.assert_allclose(run.atoms.positions[[0, 5, 6, 7]], copper.positions[[0, 5, 6, 7]], atol=1e-12)
    assert np.abs(run.atoms.positions - copper.positions).max() > 0.05


def test_isotopes_have_their_own_mass(lammps: Lammps) -> None:
    dimer = molecule("H2")
    dimer.center(vacuum=5.0)
    dimer.pbc = True
    dimer.set_masses([1.008, 2.014])
    dimer.set_velocities([[0, 0, 0.01], [0, 0, 0]])
    run = lammps(dimer, "md", potential="lj", epsilon=1e-6, sigma=1.0, timestep=1.0, steps=1, every=1)
    assert run.series("kinetic_energy")[0] == pytest.approx(dimer.get_kinetic_energy(), rel=1e-6)
