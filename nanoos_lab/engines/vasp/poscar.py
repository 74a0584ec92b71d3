"""POSCAR: atoms sorted by species, and results put back into the user's order; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nanoos_lab.core.errors import StructureError
from nanoos_lab.engines import constraints

if TYPE_CHECKING:
    from ase import Atoms

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Order:
    """The order of atoms in VASP's files: species in the order in which they first occur."""

    #: Chemical symbols of the species.
    species: tuple[str, ...]
    #: Number of atoms of each.
    counts: tuple[int, ...]
    #: Place in the user's structure of each atom in the POSCAR, shape (atoms,).
    to_vasp: Array

    @classmethod
    def of(cls, symbols: list[str]) -> Self:
        """Sort by species."""
        species = tuple(dict.fromkeys(symbols))
        rank = {symbol: place for place, symbol in enumerate(species)}
        to_vasp = np.argsort([rank[symbol] for symbol in symbols], kind="stable")
        return cls(species=species, counts=tuple(symbols.count(each) for each in species), to_vasp=to_vasp)

    def restore(self, rows: Array) -> Array:
        """Return rows in VASP's order in the user's."""
        restored = np.empty_like(rows)
        restored[self.to_vasp] = rows
        return restored


def write(atoms: Atoms, order: Order, *, velocities: bool = False) -> str:
    """Return the text of a POSCAR.

    Parameters
    ----------
    atoms
        Positions and cell in Å.
    order
        The order of the atoms.
    velocities
        Whether to write the atoms' velocities, in Å/fs, after the positions.

    Raises
    ------
    StructureError
        For constraints that VASP does not have.
    """
    free = movable(atoms)
    lines = [atoms.get_chemical_formula(), "1.0", *(_numbers(vector) for vector in atoms.cell.array)]
    lines += [" ".join(order.species), " ".join(str(count) for count in order.counts)]
    lines += ["Selective dynamics"] if not free.all() else []
    lines += ["Direct"]
    scaled = np.linalg.solve(atoms.cell.array.T, atoms.positions.T).T
    for index in order.to_vasp:
        flags = "" if free.all() else "  " + " ".join("T" if flag else "F" for flag in free[index])
        lines.append(_numbers(scaled[index]) + flags)
    if velocities:
        from ase import units

        lines += ["", *(_numbers(each * units.fs) for each in atoms.get_velocities()[order.to_vasp])]
    return "\n".join(lines) + "\n"


def _numbers(values: Array) -> str:
    return " ".join(f"{value:21.16f}" for value in values)


def movable(atoms: Atoms) -> Array:
    """Return which coordinates may change, along the cell vectors, shape (atoms, 3).

    Raises
    ------
    StructureError
        For constraints that VASP does not have.
    """
    return constraints.movable(atoms, along="cell", program="VASP")


def masses(atoms: Atoms, order: Order) -> list[float] | None:
    """Return the mass of each species in u, in the order of the POSCAR; None if all atoms have those of their elements.

    Raises
    ------
    StructureError
        If atoms of a species differ in mass: VASP has one for each species.
    """
    from ase.data import atomic_masses

    own = atoms.get_masses()
    if np.array_equal(own, atomic_masses[atoms.numbers]):
        return None
    found = []
    for species, rows in zip(order.species, np.split(own[order.to_vasp], np.cumsum(order.counts)[:-1]), strict=True):
        if np.ptp(rows):
            raise StructureError(
                f"VASP has one mass for all atoms of an element; those of {species} have {rows.min():g} to "
                f"{rows.max():g} u"
            )
        found.append(float(rows[0]))
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """What a CONTCAR has."""

    #: Cell vectors as rows, in Å, shape (3, 3).
    cell: Array
    #: Positions in units of the cell vectors, in VASP's order, shape (atoms, 3).
    scaled: Array


def read(text: str, order: Order, *, velocities: bool = False) -> Cell:
    """Read a CONTCAR.

    Parameters
    ----------
    text
        The file.
    order
        The order of the atoms.
    velocities
        Whether it must have the atoms' velocities, as after a step of molecular dynamics.

    Raises
    ------
    ValueError
        If it is not whole, or of other atoms.
    """
    lines = text.splitlines()
    try:
        scale = float(lines[1])
        cell = scale * np.array([[float(word) for word in line.split()[:3]] for line in lines[2:5]])
        species, counts = lines[5].split(), [int(word) for word in lines[6].split()]
        start = 9 if lines[7].strip()[:1] in "sS" else 8
        direct = lines[start - 1].strip()[:1] in "dD"
        rows = lines[start : start + sum(counts)]
        scaled = np.array([[float(word) for word in line.split()[:3]] for line in rows])
        if velocities:
            _check_velocities(lines[start + sum(counts) :], sum(counts))
    except IndexError as error:
        raise ValueError("the file is cut off") from error
    if tuple(name.split("/")[0].split("_")[0] for name in species) != order.species or tuple(counts) != order.counts:
        raise ValueError(f"it has other atoms: {' '.join(species)} {counts}")
    if scaled.shape != (sum(counts), 3) or not direct or not np.isfinite(scaled).all() or cell.shape != (3, 3):
        raise ValueError("the file is cut off or not in direct coordinates")
    if not text.endswith("\n"):
        raise ValueError("the file is cut off")
    return Cell(cell=cell, scaled=scaled)


def _check_velocities(lines: list[str], atoms: int) -> None:
    """Check that velocities of all atoms follow: after a line that may be blank (VASP wiki, page POSCAR)."""
    # A cell that changes has velocities, too: a heading, a flag, and twice three vectors.
    start = 1 + (8 if lines[0].strip()[:1] in ("L", "l") else 0)
    rows = [[float(word) for word in line.split()] for line in lines[start : start + atoms]]
    if len(rows) < atoms or not all(len(row) == 3 and np.isfinite(row).all() for row in rows):
        raise ValueError("the file is cut off")
