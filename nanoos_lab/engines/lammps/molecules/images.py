"""Whether bonded atoms are near enough to each other that LAMMPS knows which of their images are meant. Pure.

A bond names two atoms, not their images: LAMMPS takes the nearest one, for bonds, angles and dihedrals, and where it
takes forces off between atoms that are up to three bonds apart (manual, page ``special_bonds``). In a cell that is
thin for its molecules that is another one, of which it only warns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms

    Array = np.ndarray[Any, Any]

#: Bonds up to which atoms are one molecule's to LAMMPS.
_FAR = 3
#: A part of the cell between two atoms: one half, less what bonds stretch in a run (LAMMPS's own tenth).
_MOST = 0.5 / 1.1
_THIN = "the cell is too thin for its molecules"
_REMEDY = "LAMMPS would take a nearer image for the one that is meant. Repeat the structure and its data file along it"


def check(atoms: Atoms, bonds: Array) -> None:
    """Raise if two atoms at most three bonds apart are apart by half of the cell, or nearly so.

    Parameters
    ----------
    atoms
        The structure.
    bonds
        The atoms of each bond by their indices, shape (bonds, 2).

    Raises
    ------
    StructureError
        Names the atoms, and the cell vector along which the structure must be repeated.
    """
    if not atoms.pbc.any() or not len(bonds):
        return
    if len(selves := bonds[bonds[:, 0] == bonds[:, 1]]):
        raise StructureError(f"{_THIN}: atom {selves[0, 0]} is bonded to itself; {_REMEDY}")
    parts = _between(atoms, bonds)
    if _FAR * np.abs(parts).max() <= _MOST:
        return
    for apart, (first, last, between) in enumerate(_paths(bonds, parts), start=1):
        path, axis = np.unravel_index(np.abs(between).argmax(), between.shape)
        if (part := abs(between[path, axis])) > _MOST:
            one, other = first[path], last[path]
            those = f"atom {one} and an image of itself" if one == other else f"atoms {one} and {other}"
            near = "bonded" if apart == 1 else f"{apart} bonds apart"
            raise StructureError(
                f"{_THIN}: {those}, {near}, are {part:.2f} of it apart along cell vector {'abc'[axis]}; {_REMEDY}"
            )


def _between(atoms: Atoms, bonds: Array) -> Array:
    """Return the vectors between bonded atoms in parts of the periodic cell vectors, shape (bonds, 3)."""
    from ase.geometry import find_mic

    vectors, _ = find_mic(atoms.positions[bonds[:, 1]] - atoms.positions[bonds[:, 0]], atoms.cell, atoms.pbc)
    parts: Array = np.asarray(vectors) @ np.linalg.inv(atoms.cell.complete())
    parts[:, ~atoms.pbc] = 0.0
    return parts


def _paths(bonds: Array, parts: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Yield for one bond, two and three: where paths along bonds begin and end, and what is in between."""
    number = len(bonds)
    # Each bond both ways; the way back of one is `number` further on, or before.
    start, end = np.concatenate([bonds, bonds[:, ::-1]]).T
    step = np.concatenate([parts, -parts])
    order = np.argsort(start, kind="stable")
    count = np.bincount(start, minlength=int(bonds.max()) + 1)
    begin = np.cumsum(count) - count
    first, last, between, way = start, end, step, np.arange(2 * number)
    for _ in range(_FAR):
        yield first, last, between
        onward = count[last]
        path = np.repeat(np.arange(len(last)), onward)
        following = order[np.arange(len(path)) - np.repeat(np.cumsum(onward) - onward, onward) + begin[last][path]]
        path, following = (one[following != (way[path] + number) % (2 * number)] for one in (path, following))
        first, last, way = first[path], end[following], following
        between = between[path] + step[following]
