"""The engine ``lammps`` against what LAMMPS itself prints: Debian's executable, of another version and build than ours.

Inputs are written here, data files by ASE; potentials, and the data file of the water, are the same files.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.io.lammpsdata import write_lammps_data

from nanoos_lab.engines.lammps import LammpsEngine, library
from tests.correctness.table import Quantity, as_printed
from tests.engines.context import RecordingContext
from tests.engines.lammps.molecules import WATER, plain_input, water
from tests.engines.lammps.outside import submitted
from tests.fixtures.programs import program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ase import Atoms

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab

    Collect = Callable[[], list[Quantity]]

LONG = 600.0
SOURCE = "lmp run by hand"
MISHIN = "EAM_Dynamo_MishinMehlPapaconstantopoulos_2001_Cu__MO_346334655118_005"
#: GPa in bar and in atm; eV in kcal/mol.
BAR, ATM, KCAL = 1e-4, 1.01325e-4, units.kcal / units.mol
#: As many digits as LAMMPS prints by itself, zeros at the end too.
OUTPUT = """variable force equal fx[1]
thermo_style custom step temp pe ke press vol pxx pyy pzz pyz pxz pxy v_force
thermo_modify norm no format float %.7e
"""
CRYSTAL = """units metal
atom_style atomic
atom_modify map array
read_data hand.data
pair_style {style}
pair_coeff * * {coefficients}
# That of the potential file has been taken since.
mass 1 {mass!r}
"""
#: Without a table of the long-range forces, in which versions of LAMMPS differ in the seventh digit.
EXACT_WATER = WATER.replace("pair_modify tail yes", "pair_modify tail yes table 0")
STILL = "run 0\n"
#: 2 fs, 600 K, in ps.
COPPER_MOTION = """timestep 0.002
velocity all create 600.0 11 mom yes rot no dist gaussian loop all
fix 1 all nve
run 50
"""
#: 1 fs, 300 K, 1 GPa in bar, in ps.
SILICON_MOTION = """timestep 0.001
velocity all create 300.0 12 mom yes rot no dist gaussian loop all
fix 1 all npt temp 300.0 300.0 0.1 iso 10000.0 10000.0 1.0
run 50
"""
#: 0.5 fs, 300 K, in fs.
WATER_MOTION = """timestep 0.5
velocity all create 300.0 13 mom yes rot no dist gaussian loop all
fix 1 all nvt temp 300.0 300.0 100.0
run 20
"""
#: Columns of ours and of LAMMPS.
ROW = {
    "temperature": ("Temp", "K"),
    "potential_energy": ("PotEng", "eV"),
    "kinetic_energy": ("KinEng", "eV"),
    "pressure": ("Press", "GPa"),
    "volume": ("Volume", "Å³"),
}
#: LAMMPS's columns in ASE's order of the components of the stress.
COMPONENTS = ("Pxx", "Pyy", "Pzz", "Pyz", "Pxz", "Pxy")


def debians_lmp() -> str:
    """Return where Debian's LAMMPS is: the search path may begin with that of a Python environment, which has ours."""
    return program("lmp", package="lammps", path="/usr/bin:/usr/local/bin")


def by_hand(text: str, folder: Path) -> dict[str, str]:
    """Return the last row of thermo that Debian's LAMMPS prints, by its headings."""
    (folder / "hand.in").write_text(text)
    command = [debians_lmp(), "-in", "hand.in"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LAMMPS_POTENTIALS": str(library.potentials_folder())}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    first, last = (index for index, words in enumerate(lines) if words[:1] == ["Step"] or words[:2] == ["Loop", "time"])
    return dict(zip(lines[first], lines[last - 1], strict=True))


def crystal_by_hand(atoms: Atoms, style: str, coefficients: str, motion: str) -> dict[str, str]:
    """Return the last row of a crystal of one element."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "hand.data")
        write_lammps_data(data, atoms, specorder=[atoms.symbols[0]], masses=True)
        head = CRYSTAL.format(style=style, coefficients=coefficients, mass=float(atoms.get_masses()[0]))
        return by_hand(head + OUTPUT + motion, data.parent)


def water_by_hand(motion: str) -> dict[str, str]:
    """Return the last row of the water."""
    with tempfile.TemporaryDirectory() as folder:
        water(Path(folder))
        return by_hand(plain_input(EXACT_WATER, "water.data", OUTPUT + motion), Path(folder))


def at_rest(
    name: str,
    results: Mapping[str, Any],
    row: Mapping[str, float],
    said: Mapping[str, str],
    *,
    energy: float = 1.0,
    pressure: float = BAR,
) -> list[Quantity]:
    """Return energy, pressure, a force, and the components of the stress; LAMMPS's units in eV and GPa are given."""
    one = partial(Quantity, engine="lammps", source=SOURCE)
    stress = zip(COMPONENTS, np.asarray(results["stress"]) / units.GPa, strict=True)
    return [
        as_printed(one, results["energy"], said["PotEng"], energy, name=f"{name} energy", unit="eV"),
        as_printed(one, row["pressure"], said["Press"], pressure, name=f"{name} pressure", unit="GPa"),
        as_printed(one, results["forces"][0, 0], said["v_force"], energy, name=f"{name} force on an atom", unit="eV/Å"),
        # LAMMPS prints pressures: positive if the cell wants to grow.
        *(
            as_printed(one, value, said[each], -pressure, name=f"{name} stress {each[1:]}", unit="GPa")
            for each, value in stress
        ),
    ]


def on_the_way(name: str, row: Mapping[str, float], said: Mapping[str, str], **factors: float) -> list[Quantity]:
    """Return the columns of thermo at the last step; LAMMPS's units in ours are given, where they differ."""
    one = partial(Quantity, engine="lammps", source=SOURCE)
    return [
        as_printed(
            one, row[ours], said[theirs], factors.get(unit, 1.0), name=f"{name} {ours.replace('_', ' ')}", unit=unit
        )
        for ours, (theirs, unit) in ROW.items()
    ]


def last_row(job: Job) -> dict[str, float]:
    """Return the last row of thermo."""
    return {str(name): float(value) for name, value in job.wait(LONG).thermo.iloc[-1].items()}


def strained(symbol: str, length: float) -> Atoms:
    """Return a crystal out of order in a skewed cell, which lies as LAMMPS wants cells to lie."""
    atoms = bulk(symbol, a=length, cubic=True) * (3, 3, 3)
    atoms.set_cell(atoms.cell.array @ np.array([[0.99, 0, 0], [0.02, 1.0, 0], [-0.03, 0.01, 0.98]]), scale_atoms=True)
    atoms.rattle(0.05, seed=3)
    return atoms


def from_the_library(lab: Lab) -> Collect:
    """Copper and silicon in LAMMPS's library: at rest, and after some steps."""
    copper, silicon = strained("Cu", 3.615), strained("Si", 5.431)
    metal: dict[str, Any] = {"engine": "lammps", "cache": False, "potential": "Cu_u3.eam"}
    covalent = {**metal, "potential": "Si.sw"}
    moving: dict[str, Any] = {"task": "md", "steps": 50, "every": 50}
    still = lab.submit(copper, task="static", **metal), lab.submit(silicon, task="static", **covalent)
    nve = lab.submit(copper, ensemble="nve", temperature=600, timestep=2.0, seed=11, **moving, **metal)
    npt = lab.submit(silicon, ensemble="npt", temperature=300, pressure=1.0, seed=12, **moving, **covalent)

    def collect() -> list[Quantity]:
        cu = partial(crystal_by_hand, copper, "eam", "Cu_u3.eam")
        si = partial(crystal_by_hand, silicon, "sw", "Si.sw Si")
        found = []
        for name, job, alone in zip(("Cu_u3.eam", "Si.sw"), still, (cu, si), strict=True):
            found += at_rest(name, job.result(LONG), last_row(job), alone(STILL))
        found += on_the_way("Cu_u3.eam nve", last_row(nve), cu(COPPER_MOTION), GPa=BAR)
        found += on_the_way("Si.sw npt", last_row(npt), si(SILICON_MOTION), GPa=BAR)
        return found

    return collect


def in_real_units(lab: Lab) -> Collect:
    """Water with long-range charges, bonds and angles, in LAMMPS's units ``real``: at rest, and after some steps."""
    # A job has copies of its files.
    with tempfile.TemporaryDirectory() as folder:
        atoms, forces = water(Path(folder))
        given: dict[str, Any] = {"engine": "lammps", "cache": False, **forces, "force_field": EXACT_WATER}
        still = lab.submit(atoms, task="static", **given)
        motion: dict[str, Any] = {"ensemble": "nvt", "temperature": 300, "timestep": 0.5, "seed": 13}
        nvt = lab.submit(atoms, task="md", steps=20, every=20, **motion, **given)

    def collect() -> list[Quantity]:
        here, moved = water_by_hand(STILL), water_by_hand(WATER_MOTION)
        rest = at_rest("SPC/E water", still.result(LONG), last_row(still), here, energy=KCAL, pressure=ATM)
        return [*rest, *on_the_way("SPC/E water nvt", last_row(nvt), moved, eV=KCAL, GPa=ATM)]

    return collect


def from_an_executable(_: Lab) -> Collect:
    """A model of OpenKIM through an executable of the user's own, which is Debian's too."""

    def collect() -> list[Quantity]:
        atoms = strained("Cu", 3.615)
        alone = partial(crystal_by_hand, atoms, f"kim {MISHIN}", "Cu")
        motion = {"ensemble": "nve", "temperature": 600, "timestep": 2.0, "steps": 50, "every": 50, "seed": 11}
        results, row = run_executable(atoms, "static")
        _, moved = run_executable(atoms, "md", **motion)
        return [
            *at_rest("KIM Cu", results, row, alone(STILL)),
            *on_the_way("KIM Cu nve", moved, alone(COPPER_MOTION), GPa=BAR),
        ]

    return collect


def run_executable(atoms: Atoms, task: str, **parameters: Any) -> tuple[Mapping[str, Any], dict[str, float]]:
    """Run a task of the engine with Debian's executable; return its results and its last row of thermo."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("NANOOS_LMP", debians_lmp())
        request, files = submitted(atoms, task, potential=f"kim:{MISHIN}", **parameters)
        context = RecordingContext(workdir=Path(folder), files=files)
        results = LammpsEngine().run(request, context)
    return results.properties, dict(zip(context.columns, context.samples[-1].row, strict=True))
