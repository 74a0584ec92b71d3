"""Thermostats, barostats, strain, charges, and columns of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.lammps import Prism

from nanoos_lab.engines.lammps import library
from tests.engines.lammps.outside import Options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engines.lammps.outside import Outcome

    Lammps = Callable[..., Outcome]

MISHIN = "Cu_mishin1.eam.alloy"


def copper(n: int = 4) -> Atoms:
    return bulk("Cu", a=3.615, cubic=True) * (n, n, n)


def water() -> Atoms:
    """Eight molecules in a periodic box."""
    one = molecule("H2O")
    box = Atoms(cell=[6.4, 6.4, 6.4], pbc=True)
    for index, corner in enumerate(np.ndindex(2, 2, 2)):
        each = one.copy()
        each.rotate(37 * index, (1, 2, index + 1))
        each.positions += np.array(corner) * 3.2 + 1.0
        box += each
    return box


def test_langevin_heats_atoms_at_rest_to_its_temperature(lammps: Lammps) -> None:
    resting = copper()
    resting.set_velocities(np.full((len(resting), 3), 1e-9))
    given = {"potential": MISHIN, "ensemble": "nvt", "thermostat": "langevin", "temperature": 500.0}
    run = lammps(resting, "md", **given, tdamp=50, timestep=2.0, steps=3000, every=10)
    temperature = run.series("temperature")
    assert temperature[0] < 1
    assert temperature[150:].mean() == pytest.approx(500, rel=0.05)
    again = lammps(resting, "md", **given, tdamp=50, timestep=2.0, steps=20, every=10)
    other = lammps(resting, "md", **given, tdamp=50, timestep=2.0, steps=20, every=10, seed=7)
    np.testing.assert_array_equal(again.rows, run.rows[:3])
    assert not np.array_equal(other.rows, again.rows)


def test_an_anneal_and_a_quench_follow_their_ramps(lammps: Lammps) -> None:
    given = {"potential": MISHIN, "ensemble": "nvt", "thermostat": "langevin", "tdamp": 20.0, "timestep": 2.0}
    hot = lammps(copper(), "md", **given, temperature=300.0, temperature_end=900.0, steps=2000, every=10)
    assert hot.series("temperature")[-20:].mean() == pytest.approx(880, rel=0.1)
    cold = lammps(hot.atoms, "md", **given, temperature=900.0, temperature_end=10.0, steps=2000, every=10)
    assert cold.series("temperature")[-10:].mean() < 80


def test_langevins_bath_cools_to_nothing(lammps: Lammps) -> None:
    given = {"potential": MISHIN, "ensemble": "nvt", "thermostat": "langevin", "tdamp": 20.0}
    run = lammps(copper(), "md", **given, temperature=300.0, temperature_end=0.0, steps=1000, every=10)
    assert run.series("temperature")[-1] < 30


@pytest.mark.parametrize("barostat", ["aniso", "tri"])
def test_each_barostat_frees_what_it_says(lammps: Lammps, barostat: str) -> None:
    """A crystal too long along one axis, turned in space, and for tri skewed: at 300 K it finds its cubic cell."""
    stretch = np.diag([1.03, 1.0, 1.0])
    if barostat == "tri":
        stretch[1, 0] = 0.04
    structure = copper(3)
    structure.set_cell(structure.cell.array @ stretch, scale_atoms=True)
    structure.rotate(20, (1, 1, 0), rotate_cell=True)
    given = {"potential": MISHIN, "ensemble": "npt", "temperature": 100.0, "pressure": 0.0, "barostat": barostat}
    run = lammps(structure, "md", **given, tdamp=100, pdamp=200, timestep=2.0, steps=3000, every=10)
    cells = np.array([sample.frame.cell for sample in run.samples[150:]])
    lengths = np.linalg.norm(cells, axis=2).mean(axis=0)
    np.testing.assert_allclose(lengths, 3 * 3.62, rtol=0.006)
    mean = cells.mean(axis=0)
    cosine = mean[0] @ mean[1] / np.linalg.norm(mean[0]) / np.linalg.norm(mean[1])
    assert abs(cosine) < 0.01
    assert run.series("pressure")[150:].mean() == pytest.approx(0, abs=0.3)


def test_a_strain_lengthens_the_cell_at_its_rate_and_pulls(lammps: Lammps) -> None:
    """Engineering strain: of the length at the start. Young's modulus of copper along 100 is 67 GPa (from C11, C12)."""
    structure = copper()
    structure.rotate(25, (1, 2, 3), rotate_cell=True)
    given = {"potential": MISHIN, "ensemble": "npt", "temperature": 10.0, "pressure": 0.0, "timestep": 2.0}
    run = lammps(structure, "md", **given, strain_rate=0.002, strain_axis="b", steps=2000, every=100, columns=["pyy"])
    lengths = np.array([np.linalg.norm(sample.frame.cell, axis=1) for sample in run.samples])
    np.testing.assert_allclose(lengths[:, 1] / lengths[0, 1], 1 + 0.002 * run.series("time") / 1000, rtol=1e-9)
    assert lengths[-1, 0] < lengths[0, 0]
    assert run.head.columns[-1].unit == "GPa"
    pull = -(run.series("pyy")[-6:].mean() - run.series("pyy")[:2].mean())
    strain = lengths[-6:, 1].mean() / lengths[:2, 1].mean() - 1
    assert pull / strain == pytest.approx(67, rel=0.15)


def test_watching_a_strained_run_changes_nothing(lammps: Lammps) -> None:
    given = {"potential": MISHIN, "ensemble": "nvt", "temperature": 300.0, "strain_rate": 0.05, "steps": 300}
    often, seldom = (lammps(copper(3), "md", **given, every=every) for every in (7, 300))
    np.testing.assert_array_equal(often.atoms.positions, seldom.atoms.positions)


def test_columns_of_the_users_own_computes_come_with_their_units(lammps: Lammps) -> None:
    own = {
        "commands": ["compute msd all msd", "variable twice equal 2*pe", "group some id 1:10", "compute t some temp"],
        "columns": ["c_msd[4]", "v_twice", "c_t", "pxx", "enthalpy", "density"],
    }
    given = {"potential": MISHIN, "temperature": 300.0, "timestep": 2.0, "steps": 60, "every": 20}
    here, there = (lammps(copper(3), "md", options, **given, **own) for options in (Options(), Options(ranks=2)))
    plain = lammps(copper(3), "md", **given)
    for run in (here, there):
        assert run.columns == [*plain.columns, *own["columns"]]
        assert [column.unit for column in run.head.columns[-3:]] == ["GPa", "eV", ""]
        first = run.samples[0].frame.positions
        moved = [((sample.frame.positions - first) ** 2).sum(axis=1).mean() for sample in run.samples]
        np.testing.assert_allclose(run.series("c_msd[4]"), moved, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(run.series("v_twice"), 2 * run.series("potential_energy"), rtol=1e-12)
        assert run.series("density")[0] == pytest.approx(8.9, rel=0.01)
    np.testing.assert_array_equal(here.rows[:, : len(plain.columns)], plain.rows)
    np.testing.assert_allclose(there.rows, here.rows, rtol=1e-6, atol=1e-6)


def test_reaxff_gives_water_its_charges_and_energies_in_our_units(lammps: Lammps, tmp_path: Path) -> None:
    """Against the bare library in its own units, kcal/mol, with the conversion made here."""
    structure = water()
    found = lammps(structure, "static", potential="ffield.reax.cho")
    script = (
        "units real\natom_style charge\nread_data water.data\npair_style reaxff NULL safezone 1.6 mincap 100\n"
        "pair_coeff * * ffield.reax.cho H O\nfix q all qeq/reaxff 1 0 10 1e-6 reaxff\nthermo_modify norm no\nrun 0"
    )
    lines = ["water", "", "24 atoms", "2 atom types", "", "0 6.4 xlo xhi", "0 6.4 ylo yhi", "0 6.4 zlo zhi", ""]
    lines += ["Masses", "", "1 1.008", "2 15.999", "", "Atoms # charge", ""]
    kinds = {"H": 1, "O": 2}
    for number, atom in enumerate(structure, start=1):
        lines.append(f"{number} {kinds[atom.symbol]} 0 " + " ".join(f"{x:.12f}" for x in atom.position))
    (tmp_path / "water.data").write_text("\n".join(lines) + "\n")
    bare = lammps(None, "script", script=script, files=[str(tmp_path / "water.data")])
    assert found["energy"] == pytest.approx(bare.series("TotEng")[0] * units.kcal / units.mol, rel=1e-7)
    np.testing.assert_allclose(found["forces"], bare["forces"], atol=1e-5)
    press = bare.series("Press")[0] * 101325 * units.Pascal
    assert -found["stress"][:3].mean() == pytest.approx(press, rel=1e-5)
    assert found.series("pressure")[0] == pytest.approx(press / units.GPa, rel=1e-5)
    oxygen = np.array(structure.get_chemical_symbols()) == "O"
    assert (found["charges"][oxygen] < -0.5).all()
    assert found["charges"].sum() == pytest.approx(0, abs=1e-6)


def test_reaxff_moves_relaxes_and_keeps_its_energy(lammps: Lammps) -> None:
    structure = water()
    relaxed = lammps(structure, "relax", potential="ffield.reax.cho", fmax=0.2, steps=300, every=50)
    assert relaxed["fmax"] <= 0.2
    given = {
        "potential": "ffield.reax.cho",
        "temperature": 100.0,
        "timestep": 0.1,
        "steps": 200,
        "every": 20,
        "thin_cell": True,
    }
    here, there = (lammps(relaxed.atoms, "md", options, **given) for options in (Options(), Options(ranks=2)))
    total = here.series("total_energy")
    assert np.ptp(total) < 0.1 * here.series("kinetic_energy").mean()
    assert here.series("time")[-1] == pytest.approx(20)
    np.testing.assert_allclose(there.series("total_energy"), total, atol=1e-3)
    velocities = here.samples[0].frame.velocities
    kinetic = 0.5 * (relaxed.atoms.get_masses()[:, None] * (velocities / units.fs) ** 2).sum()
    assert kinetic == pytest.approx(here.series("kinetic_energy")[0], rel=1e-4)


def test_everything_is_turned_back_as_ases_prism_turns_it(lammps: Lammps, tmp_path: Path) -> None:
    """Positions, velocities, forces and stress of bare LAMMPS in its own frame, turned by ASE's Prism."""
    structure = copper(2)
    structure.set_cell(structure.cell.array @ np.array([[1, 0.1, 0], [-0.2, 1.02, 0.1], [0.15, 0.05, 0.97]]), True)
    structure.rotate(40, (3, 1, 2), rotate_cell=True)
    structure.rattle(0.08, seed=4)
    structure.set_velocities(np.random.default_rng(3).normal(scale=0.01, size=(len(structure), 3)))
    prism = Prism(structure.cell.array)
    xhi, yhi, zhi, xy, xz, yz = prism.get_lammps_prism()
    x = prism.vector_to_lammps(structure.positions)
    v = prism.vector_to_lammps(structure.get_velocities() * 1000 * units.fs)
    lines = ["turned", "", f"{len(x)} atoms", "1 atom types", "", f"0 {xhi!r} xlo xhi", f"0 {yhi!r} ylo yhi"]
    lines += [f"0 {zhi!r} zlo zhi", f"{xy!r} {xz!r} {yz!r} xy xz yz", "", "Atoms # atomic", ""]
    lines += [f"{i} 1 {a!r} {b!r} {c!r}" for i, (a, b, c) in enumerate(x.tolist(), start=1)]
    lines += ["", "Velocities", "", *(f"{i} {a!r} {b!r} {c!r}" for i, (a, b, c) in enumerate(v.tolist(), start=1))]
    (tmp_path / "turned.data").write_text("\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n")
    script = (
        "units metal\nread_data turned.data\npair_style eam\npair_coeff * * Cu_u3.eam\nmass 1 63.546\nfix 1 all nve\n"
        "timestep 0.002\ncompute w all pressure NULL virial\n"
        "thermo_style custom step pe c_w[1] c_w[2] c_w[3] c_w[4] c_w[5] c_w[6]\n"
        "thermo 30\nthermo_modify format float %.15g\nrun 30"
    )
    bare = lammps(None, "script", script=script, files=[str(tmp_path / "turned.data")])
    run = lammps(structure, "md", potential="Cu_u3.eam", timestep=2.0, steps=30, every=30)
    np.testing.assert_allclose(run["forces"], prism.vector_to_ase(bare["forces"]), atol=1e-8)
    xx, yy, zz, xy_, xz_, yz_ = bare.rows[-1, 1:]
    tensor = -np.array([[xx, xy_, xz_], [xy_, yy, yz_], [xz_, yz_, zz]]) * 1e5 * units.Pascal
    turned = prism.tensor2_to_ase(tensor)
    expected = [turned[0, 0], turned[1, 1], turned[2, 2], turned[1, 2], turned[0, 2], turned[0, 1]]
    np.testing.assert_allclose(run["stress"], expected, atol=1e-9)
    np.testing.assert_allclose(run.samples[0].frame.velocities, structure.get_velocities() * units.fs, atol=1e-12)
    moved = prism.vector_to_ase(bare.samples[-1].frame.positions)
    np.testing.assert_allclose(run.samples[-1].frame.positions, moved, atol=1e-7)
    assert library.version()
