"""Engines that are tested only where they are found, each against its program run by hand, in a process of its own.

CHGNet is asked by its own interface instead of the one for ASE, and GPAW by what its log says.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units
from ase.build import bulk

from nanoos_lab.engines import registry
from tests.correctness.table import Quantity, as_printed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms

    from nanoos_lab.lab.lab import Lab

    Collect = Callable[[], list[Quantity]]

LONG = 600.0
#: Names of the elements of a stress, their rows and columns.
VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
ROWS, COLUMNS = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
CHGNET = """
import json, sys
from ase.io import read
from chgnet.model.model import CHGNet
from pymatgen.io.ase import AseAtomsAdaptor
atoms = read(sys.argv[1])
model = CHGNet.load(model_name=sys.argv[2], use_device="cpu", verbose=False)
found = model.predict_structure(AseAtomsAdaptor.get_structure(atoms))
print(json.dumps({name: found[name].tolist() for name in "efsm"}))
"""
GPAW = """
import sys
from ase.io import read
from gpaw import GPAW, PW
atoms = read(sys.argv[1])
atoms.calc = GPAW(mode=PW(300), xc="PBE", kpts={"size": (3, 3, 3), "gamma": True}, occupations={"name": "fermi-dirac",
    "width": 0.1}, txt="by_hand.txt")
atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()
"""


def found() -> list[Callable[[Lab], Collect]]:
    """Return the checks of those that are there."""
    return [check for name, check in (("chgnet", chgnet), ("gpaw", gpaw)) if registry.found(name).found]


def _salt() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def _iron() -> Atoms:
    atoms = bulk("Fe", cubic=True) * (2, 1, 1)
    atoms.rattle(0.05, seed=2)
    return atoms


def chgnet(lab: Lab) -> Collect:
    """Energy, forces, stress and magnetic moments of all weights."""
    cases = [("0.3.0", _salt()), ("0.3.0", _iron()), ("0.2.0", _iron()), ("r2scan", _iron())]
    jobs = [lab.submit(atoms, engine="chgnet", task="static", model=weights, cache=False) for weights, atoms in cases]

    def collect() -> list[Quantity]:
        return [
            quantity
            for (weights, atoms), job in zip(cases, jobs, strict=True)
            for quantity in _of_chgnet(weights, atoms, job.result(LONG))
        ]

    return collect


def _of_chgnet(weights: str, atoms: Atoms, ours: Any) -> list[Quantity]:
    with tempfile.TemporaryDirectory() as place:
        theirs = json.loads(_by_hand(CHGNET, atoms, Path(place), weights).splitlines()[-1])
    one = partial(Quantity, engine="chgnet", source="CHGNet's own interface without nanoos_lab")
    what = f"{atoms.get_chemical_formula()} {weights}"
    forces, stress = np.array(theirs["f"]), np.array(theirs["s"])
    voigt = stress[ROWS, COLUMNS]
    # Single precision of numbers of this size.
    return [
        one(
            name=f"{what} energy",
            value=float(ours["energy"]),
            reference=theirs["e"] * len(atoms),
            tolerance=1e-5 * len(atoms),
            unit="eV",
        ),
        *_each(one, f"{what} force", np.asarray(ours["forces"])[0], forces[0], 1e-5, "eV/Å", "xyz"),
        *_each(one, f"{what} stress", np.asarray(ours["stress"]) / units.GPa, voigt, 1e-5, "GPa", VOIGT),
        *_each(one, f"{what} moment", np.asarray(ours["magmoms"])[:1], theirs["m"][:1], 1e-5, "μB", ("1",)),
    ]


def _each(
    one: Callable[..., Quantity],
    name: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    tolerance: float,
    unit: str,
    names: Sequence[str],
) -> list[Quantity]:
    return [
        one(name=f"{name} {part}", value=float(a), reference=float(b), tolerance=tolerance, unit=unit)
        for part, a, b in zip(names, ours, theirs, strict=True)
    ]


def gpaw(lab: Lab) -> Collect:
    """Energy, forces and stress of silicon out of order, as the log of GPAW says them."""
    atoms = bulk("Si", a=5.3)
    atoms.positions[1] += (0.1, 0.05, 0.0)
    job = lab.submit(
        atoms, engine="gpaw", task="static", xc="PBE", ecut=300, kpoints=(3, 3, 3), smearing=0.1, cache=False
    )

    def collect() -> list[Quantity]:
        ours = job.result(LONG)
        with tempfile.TemporaryDirectory() as place:
            _by_hand(GPAW, atoms, Path(place))
            log = (Path(place) / "by_hand.txt").read_text()
        one = partial(Quantity, engine="gpaw", source="GPAW's log, run by hand")
        forces, stress = (_rows(log, heading) for heading in ("Forces", "Stress tensor"))
        return [
            as_printed(one, ours["energy"], log.split("Extrapolated:")[1].split()[0], name="Si energy", unit="eV"),
            *(
                as_printed(one, value, said, name=f"Si force {axis}", unit="eV/Å")
                for axis, value, said in zip("xyz", ours["forces"][0], forces[0], strict=True)
            ),
            *(
                as_printed(one, value, stress[row][column], name=f"Si stress {name}", unit="eV/Å³")
                for name, value, row, column in zip(VOIGT, ours["stress"], ROWS, COLUMNS, strict=True)
            ),
        ]

    return collect


def _rows(log: str, heading: str) -> list[tuple[str, ...]]:
    """Return the numbers of a table in GPAW's log."""
    table = log.split(f"\n{heading}  #")[1]
    return re.findall(r"^\| +(-?[\d.]+) \| +(-?[\d.]+) \| +(-?[\d.]+) \|", table, re.MULTILINE)


def _by_hand(script: str, atoms: Atoms, place: Path, *arguments: str) -> str:
    """Run a script on a structure in an empty directory; return what it prints."""
    atoms.write(place / "atoms.traj")
    command = [sys.executable, "-W", "ignore", "-c", script, "atoms.traj", *arguments]
    return subprocess.run(command, cwd=place, check=True, capture_output=True, text=True, timeout=LONG).stdout
