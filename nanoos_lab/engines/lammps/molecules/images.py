"""Whether bonded atoms are near enough to each other that LAMMPS knows which of their images are meant. Pure.

A bond names two atoms, not their images. For bonds, angles, dihedrals and impropers LAMMPS takes the nearest ones.
Where forces between atoms of a molecule are taken off (manual, page ``special_bonds``), it takes them off for the image
that is within half of the box along x, y and z (``Domain::minimum_image_check`` of its source). In a cell that is thin
for its molecules either may be another one than is meant; it warns only sometimes, and sometimes where all is well.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import StructureError
from nanoos_lab.engines.lammps.box import Box

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms

    Array = np.ndarray[Any, Any]

#: A part of the cell that is too small to count.
_NOTHING = 1e-6
_THIN = "the cell is too thin for its molecules"
_REMEDY = "LAMMPS would take another image for the one that is meant. Repeat the structure and its data file along it"


def check(atoms: Atoms, bonds: Array, *, weighed: int = 3, placed: int = 2, spare: float = 1.0) -> None:
    """Raise if LAMMPS would take another image of a bonded atom for the one that is meant.

    Parameters
    ----------
    atoms
        The structure.
    bonds
        The atoms of each bond by their indices, shape (bonds, 2).
    weighed
        The most bonds between atoms whose forces on each other are taken off, all or some of them; 0 to 3.
    placed
        The most bonds from an atom to another one that is in the same angle, dihedral or improper; 1 or 2.
    spare
        So many times farther than they are now atoms may be from each other.

    Raises
    ------
    StructureError
        Names the atoms, and the cell vector along which the structure must be repeated.
    """
    if not atoms.pbc.any() or not len(bonds):
        return
    if len(selves := bonds[bonds[:, 0] == bonds[:, 1]]):
        raise StructureError(f"{_THIN}: atom {selves[0, 0]} is bonded to itself; {_REMEDY}")
    box = Box.around(atoms)
    vectors = _between(atoms, bonds) @ box.rotation
    sizes = np.where(box.pbc, np.diag(box.cell), np.inf)
    shifts = _shifts(atoms) @ box.rotation
    last = max(weighed, placed)
    if last * spare * np.linalg.norm(vectors, axis=1).max() < 0.5 * sizes.min() * (1.0 - _NOTHING):
        return
    for apart, (one, other, way) in enumerate(_paths(bonds, vectors, last), start=1):
        parts = np.abs(way) / sizes
        wrong = (spare * parts > 0.5 - _NOTHING).any(axis=1) & (apart <= weighed)
        if apart <= placed:
            wrong |= _in_doubt(spare * way, shifts)
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise _error(int(one[first]), int(other[first]), apart, parts[first], 0.5 / spare)


def _error(one: int, other: int, apart: int, parts: Array, most: float) -> StructureError:
    axis = int(parts.argmax())
    those = f"atom {one} and an image of itself" if one == other else f"atoms {one} and {other}"
    near = "bonded" if apart == 1 else f"{apart} bonds apart"
    return StructureError(
        f"{_THIN}: {those}, {near}, are {parts[axis]:.2f} of it apart along cell vector {'abc'[axis]}, where less than "
        f"{most:.2f} is surely right; {_REMEDY}"
    )


def _between(atoms: Atoms, bonds: Array) -> Array:
    """Return the vectors between bonded atoms in Å, shape (bonds, 3)."""
    from ase.geometry import find_mic

    found, _ = find_mic(atoms.positions[bonds[:, 1]] - atoms.positions[bonds[:, 0]], atoms.cell, atoms.pbc)
    return np.asarray(found)


def _shifts(atoms: Atoms) -> Array:
    """Return the vectors to those images of a place that may be nearest to another place, in Å, shape (images, 3)."""
    from ase.geometry.minkowski_reduction import minkowski_reduce

    vectors, _ = minkowski_reduce(atoms.cell.complete(), atoms.pbc)
    ranges = [(-1, 0, 1) if periodic else (0,) for periodic in atoms.pbc]
    shifts: Array = np.array([times for times in product(*ranges) if any(times)]) @ vectors
    return shifts


def _in_doubt(ways: Array, shifts: Array) -> Array:
    """Say of each vector whether another image is as near as that to which it leads, or nearer, shape (vectors,)."""
    reach = np.linalg.norm(ways, axis=1) * (1.0 + _NOTHING)
    doubt = np.zeros(len(ways), dtype=bool)
    for shift in shifts:
        doubt |= np.linalg.norm(ways + shift, axis=1) <= reach
    return doubt


def _paths(bonds: Array, vectors: Array, last: int) -> Iterator[tuple[Array, Array, Array]]:
    """Yield for one bond, two, and so on: where paths along bonds begin and end, and what is in between."""
    number = len(bonds)
    # Each bond both ways; the way back of one is `number` further on, or before.
    start, end = np.concatenate([bonds, bonds[:, ::-1]]).T
    step = np.concatenate([vectors, -vectors])
    order = np.argsort(start, kind="stable")
    count = np.bincount(start, minlength=int(bonds.max()) + 1)
    begin = np.cumsum(count) - count
    first, to, between, came = start, end, step, np.arange(2 * number)
    for _ in range(last):
        yield first, to, between
        onward = count[to]
        path = np.repeat(np.arange(len(to)), onward)
        following = order[np.arange(len(path)) - np.repeat(np.cumsum(onward) - onward, onward) + begin[to][path]]
        path, following = (each[following != (came[path] + number) % (2 * number)] for each in (path, following))
        first, to, came = first[path], end[following], following
        between = between[path] + step[following]
