"""Data files as users of LAMMPS have them: a box of water, and chains of united atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.io import read

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

#: SPC/E, with springs for its bonds and angles.
WATER = """\
units real
atom_style full
pair_style lj/cut/coul/long 6.0
bond_style harmonic
angle_style harmonic
kspace_style pppm 1.0e-5
pair_modify tail yes
pair_coeff 1 1 0.1553 3.166   # oxygen
pair_coeff * 2 0.0 1.0
special_bonds lj/coul 0.0 0.0 1.0
include bonds.lmp
"""
BONDS = "bond_coeff 1 1000.0 1.0\nangle_coeff 1 100.0 109.47\n"
#: United atoms; all coefficients but those of pairs are in the data file.
CHAINS = """\
units real
atom_style molecular
pair_style lj/cut 9.0
pair_modify mix arithmetic
bond_style harmonic
angle_style harmonic
dihedral_style opls
special_bonds lj 0.0 0.0 0.0
pair_coeff 1 1 0.175 3.905
pair_coeff 2 2 0.118 3.905
"""


def water(folder: Path, n: int = 3) -> tuple[Atoms, dict[str, object]]:
    """Write n³ molecules of water, 3.1 Å apart; return the structure and the parameters of their forces."""
    random = np.random.default_rng(1)
    oxygen_hydrogen = np.array([[0, 0, 0], [1.0, 0, 0], [-0.3333, 0.9428, 0]])
    rows, bonds, angles = [], [], []
    low = -1.5
    for molecule, corner in enumerate(np.ndindex(n, n, n), start=1):
        turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
        first = 3 * molecule - 2
        for offset, place in enumerate(oxygen_hydrogen @ turn + np.array(corner) * 3.1):
            kind, charge = (1, -0.8476) if offset == 0 else (2, 0.4238)
            rows.append(f"{first + offset} {molecule} {kind} {charge} " + " ".join(f"{x:.6f}" for x in place))
        bonds += [f"{2 * molecule - 1} 1 {first} {first + 1}", f"{2 * molecule} 1 {first} {first + 2}"]
        angles.append(f"{molecule} 1 {first + 1} {first} {first + 2}")
    random.shuffle(rows)
    counts = f"{len(rows)} atoms\n{len(bonds)} bonds\n{len(angles)} angles\n2 atom types\n1 bond types\n1 angle types\n"
    box = "".join(f"{low} {low + 3.1 * n:.6f} {axis}lo {axis}hi\n" for axis in "xyz")
    parts = {"Masses": ["1 15.9994", "2 1.008"], "Atoms # full": rows, "Bonds": bonds, "Angles": angles}
    sections = "".join(f"\n{name}\n\n" + "\n".join(lines) + "\n" for name, lines in parts.items())
    return _written(folder, "water.data", f"water\n\n{counts}\n{box}{sections}", WATER, {"bonds.lmp": BONDS})


def chains(folder: Path) -> tuple[Atoms, dict[str, object]]:
    """Write eight chains of four united atoms, in a skewed cell; return the structure and their parameters."""
    shape = np.array([[0, 0, 0], [1.53, 0, 0], [2.05, 1.44, 0], [3.5, 1.5, 0.5]])
    atoms = [shape + np.array([x, y, z]) * (6.5, 5.5, 5.0) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    parts: dict[str, list[str]] = {name: [] for name in ("Atoms", "Bonds", "Angles", "Dihedrals")}
    for molecule, places in enumerate(atoms):
        first = 4 * molecule + 1
        for offset, place in enumerate(places):
            words = f"{first + offset} {molecule + 1} {1 if offset in (0, 3) else 2} "
            parts["Atoms"].append(words + " ".join(f"{x:.4f}" for x in place) + " 0 0 0")
        parts["Bonds"] += [f"{3 * molecule + i + 1} 1 {first + i} {first + i + 1}" for i in range(3)]
        parts["Angles"] += [f"{2 * molecule + i + 1} 1 {first + i} {first + i + 1} {first + i + 2}" for i in range(2)]
        parts["Dihedrals"].append(f"{molecule + 1} 1 {first} {first + 1} {first + 2} {first + 3}")
    counts = "32 atoms\n2 atom types\n24 bonds\n1 bond types\n16 angles\n1 angle types\n8 dihedrals\n1 dihedral types\n"
    box = "0 13.0 xlo xhi\n0 11.0 ylo yhi\n0 10.0 zlo zhi\n1.0 0.5 0.0 xy xz yz\n"
    coefficients = {
        "Masses": ["1 15.035", "2 14.027"],
        "Bond Coeffs": ["1 260.0 1.526"],
        "Angle Coeffs": ["1 63.0 112.4"],
        "Dihedral Coeffs": ["1 3.4 -0.27 3.15 0.0"],
    }
    sections = "".join(f"\n{name}\n\n" + "\n".join(lines) + "\n" for name, lines in {**coefficients, **parts}.items())
    structure, parameters = _written(folder, "chains.data", f"chains\n\n{counts}{box}{sections}", CHAINS, {})
    structure.symbols[:] = "C"
    return structure, parameters


def endless(folder: Path, n: int) -> tuple[Atoms, dict[str, object]]:
    """Write one chain of united atoms that goes on in the next cell, n atoms to the cell."""
    rise, width = 1.27, 0.85
    places = [(10 + width * (index % 2), 10 + 0.2 * (index % 4 > 1), rise * index) for index in range(n)]
    rows = [f"{index + 1} 1 1 " + " ".join(f"{x:.4f}" for x in place) for index, place in enumerate(places)]
    around = [[(index + step) % n + 1 for step in range(4)] for index in range(n)]
    parts: dict[str, list[str]] = {"Atoms": rows}
    for name, length in (("Bonds", 2), ("Angles", 3), ("Dihedrals", 4)):
        lines = (" ".join(map(str, ids[:length])) for ids in around)
        parts[name] = [f"{number} 1 {ids}" for number, ids in enumerate(lines, start=1)]
    counts = "".join(f"{n} {name.lower()}\n" for name in parts)
    types = "1 atom types\n1 bond types\n1 angle types\n1 dihedral types\n"
    box = f"0 20 xlo xhi\n0 20 ylo yhi\n0 {rise * n:.4f} zlo zhi\n"
    coefficients = {
        "Masses": ["1 14.027"],
        "Bond Coeffs": ["1 260.0 1.526"],
        "Angle Coeffs": ["1 63.0 112.4"],
        "Dihedral Coeffs": ["1 3.4 -0.27 3.15 0.0"],
    }
    sections = "".join(f"\n{name}\n\n" + "\n".join(lines) + "\n" for name, lines in {**coefficients, **parts}.items())
    force_field = CHAINS.replace("pair_coeff 2 2 0.118 3.905\n", "")
    structure, parameters = _written(folder, f"{n}.data", f"endless\n\n{counts}{types}{box}{sections}", force_field, {})
    structure.symbols[:] = "C"
    return structure, parameters


def _written(
    folder: Path, name: str, text: str, force_field: str, others: dict[str, str]
) -> tuple[Atoms, dict[str, object]]:
    for other, content in {name: text, **others}.items():
        (folder / other).write_text(content)
    style = next(line.split()[1] for line in force_field.splitlines() if line.startswith("atom_style"))
    structure = read(folder / name, format="lammps-data", atom_style=style, units="real")
    return structure, {
        "data": str(folder / name),
        "force_field": force_field,
        "files": [str(folder / other) for other in others],
    }


def plain_input(force_field: str, data: str, rest: str) -> str:
    """Return the same as an input of the user's own."""
    lines = force_field.splitlines()
    styles = [line for line in lines if line.split()[0].endswith("_style") or line.startswith(("units", "special"))]
    others = [line for line in lines if line not in styles]
    return "\n".join([*styles, f"read_data {data}", *others, rest]) + "\n"
