"""Scripts in each of LAMMPS's unit systems: one crystal of argon, the same in ours, by CODATA's constants, not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms
from ase import units as ase_units
from ase.build import bulk
from scipy import constants as si

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engines.lammps.outside import Outcome

    Lammps = Callable[..., Outcome]

_HARTREE = si.physical_constants["Hartree energy"][0]
_BOHR = si.physical_constants["Bohr radius"][0]
#: Of each system its units of length, mass, energy, time and pressure in SI: LAMMPS manual, page ``units``.
SCALES: dict[str, tuple[float, float, float, float, float]] = {
    "metal": (1e-10, si.atomic_mass, si.e, 1e-12, 1e5),
    "real": (1e-10, si.atomic_mass, 4184 / si.N_A, 1e-15, si.atm),
    "si": (1.0, 1.0, 1.0, 1.0, 1.0),
    "cgs": (1e-2, 1e-3, 1e-7, 1.0, 0.1),
    "electron": (_BOHR, si.atomic_mass, _HARTREE, 1e-15, 1.0),
    "micro": (1e-6, 1e-15, 1e-15, 1e-6, 1e3),
    "nano": (1e-9, 1e-21, 1e-21, 1e-9, 1e6),
}
#: And what LAMMPS calls them: energy, length, time, pressure.
NAMES = {
    "metal": ("eV", "Å", "ps", "bar"),
    "real": ("kcal/mol", "Å", "fs", "atm"),
    "si": ("J", "m", "s", "Pa"),
    "cgs": ("erg", "cm", "s", "dyn/cm²"),
    "electron": ("Eh", "a0", "fs", "Pa"),
    "micro": ("fJ", "µm", "µs", "kPa"),
    "nano": ("zJ", "nm", "ns", "MPa"),
}
#: Argon: well in K, diameter and lattice in Å, mass in u.
WELL, DIAMETER, LATTICE, MASS = 119.8, 3.405, 5.3, 39.948
SCRIPT = """\
units {units}
lattice fcc {lattice!r}
region box block 0 2 0 2 0 2
create_box 1 box
create_atoms 1 box
mass 1 {mass!r}
pair_style lj/cut {cutoff!r}
pair_coeff 1 1 {well!r} {diameter!r}
neighbor {skin!r} bin
velocity all create 60 4711 loop all
timestep {step!r}
fix 1 all nve
thermo_style custom step temp pe ke etotal press vol lx time
thermo_modify format float %.17g norm no
thermo 20
run 100
"""


def argon(units: str) -> str:
    """Return the script in a unit system."""
    length, mass, energy, time, _ = SCALES[units]
    angstrom = 1e-10 / length
    return SCRIPT.format(
        units=units,
        lattice=LATTICE * angstrom,
        mass=MASS * si.atomic_mass / mass,
        cutoff=8.0 * angstrom,
        well=WELL * si.k / energy,
        diameter=DIAMETER * angstrom,
        skin=1.0 * angstrom,
        step=2e-15 / time,
    )


@pytest.mark.parametrize("units", SCALES)
def test_one_crystal_is_the_same_in_every_unit_system(lammps: Lammps, units: str) -> None:
    wanted = lammps(None, "script", script=argon("metal"), convert=True)
    found = lammps(None, "script", script=argon(units), convert=True)
    assert found.head.columns == wanted.head.columns
    named = {column.name: column.unit for column in found.head.columns}
    assert [named[name] for name in ("Temp", "TotEng", "Press", "Volume", "Lx", "Time")] == [
        "K", "eV", "GPa", "Å³", "Å", "fs"
    ]  # fmt: skip
    # LAMMPS's constants have six digits.
    scale = np.abs(wanted.rows).max(axis=0)
    np.testing.assert_allclose(found.rows / scale, wanted.rows / scale, atol=3e-5)
    for one, other in zip(found.samples, wanted.samples, strict=True):
        assert one.frame is not None
        assert other.frame is not None
        np.testing.assert_allclose(one.frame.positions, other.frame.positions, atol=1e-4)
        np.testing.assert_allclose(one.frame.cell, np.eye(3) * 2 * LATTICE, rtol=1e-6, atol=1e-9)
        assert one.frame.time == pytest.approx(2.0 * one.step)
    assert found.head.numbers.tolist() == [18] * 32
    np.testing.assert_allclose(found.head.masses, MASS, rtol=1e-6)
    assert found.atoms.get_chemical_formula() == "Ar32"
    np.testing.assert_allclose(found.atoms.cell.array, np.eye(3) * 2 * LATTICE, rtol=1e-6, atol=1e-9)
    assert found["energy"] == pytest.approx(wanted["energy"], rel=1e-5)
    np.testing.assert_allclose(found["forces"], wanted["forces"], atol=1e-4 * np.abs(wanted["forces"]).max())


@pytest.mark.parametrize("units", SCALES)
def test_columns_that_are_not_converted_have_lammps_s_own_units(lammps: Lammps, units: str) -> None:
    wanted = lammps(None, "script", script=argon(units), convert=True)
    found = lammps(None, "script", script=argon(units))
    energy, length, time, pressure = NAMES[units]
    told = {column.name: column.unit for column in found.head.columns}
    assert told == {
        "Temp": "K", "PotEng": energy, "KinEng": energy, "TotEng": energy, "Press": pressure,
        "Volume": f"{length}³", "Lx": length, "Time": time,
    }  # fmt: skip
    metre, _, joule, second, pascal = SCALES[units]
    factors = {"Temp": 1.0, "Press": pascal / 1e9, "Volume": (metre * 1e10) ** 3, "Lx": metre * 1e10}
    factors |= {"Time": second * 1e15, **dict.fromkeys(("PotEng", "KinEng", "TotEng"), joule / si.e)}
    for name, factor in factors.items():
        np.testing.assert_allclose(found.series(name) * factor, wanted.series(name), rtol=1e-6, atol=1e-9)


def test_a_script_in_reduced_units_stays_reduced_and_is_that_of_task_md(lammps: Lammps) -> None:
    well = WELL * si.k / si.e
    atoms = bulk("Ar", "fcc", LATTICE, cubic=True) * (2, 2, 2)
    atoms.set_masses([MASS] * 32)
    speed = float(np.sqrt(well / MASS))
    atoms.set_velocities(np.random.default_rng(7).normal(0, 0.5 * speed, (32, 3)))
    reduced = Atoms("Ar32", positions=atoms.positions / DIAMETER, cell=atoms.cell / DIAMETER, pbc=True)
    reduced.set_masses([1.0] * 32)
    reduced.set_velocities(atoms.get_velocities() / speed)
    period = DIAMETER / speed / ase_units.fs
    script = (
        f"units lj\nread_data structure.data\npair_style lj/cut {8 / DIAMETER!r}\npair_coeff 1 1 1 1\n"
        f"pair_modify shift yes\ntimestep {2 / period!r}\nfix 1 all nve\n"
        "thermo_style custom step pe ke press vol time\nthermo_modify norm no format float %.17g\nthermo 20\nrun 100"
    )
    bare = lammps(reduced, "script", script=script, convert=True)
    assert {column.unit for column in bare.head.columns} == {"1"}
    given = {"epsilon": well, "sigma": DIAMETER, "cutoff": 8.0, "timestep": 2.0, "ensemble": "nve"}
    ours = lammps(atoms, "md", potential="lj", **given, steps=100, every=20)
    for column, heading, unit in (
        ("potential_energy", "PotEng", well),
        ("kinetic_energy", "KinEng", well),
        ("pressure", "Press", well / DIAMETER**3 / ase_units.GPa),
        ("volume", "Volume", DIAMETER**3),
    ):
        np.testing.assert_allclose(ours.series(column) / unit, bare.series(heading), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(bare.series("Time") * period, [2.0 * step for step in ours.steps])
    for one, other in zip(ours.samples, bare.samples, strict=True):
        assert one.frame is not None
        assert other.frame is not None
        np.testing.assert_allclose(one.frame.positions / DIAMETER, other.frame.positions, atol=1e-4)
    assert bare.head.masses is None
    assert bare.results.properties == {"steps": 100}
