"""Atoms that are on top of each other: one search and one limit for all engines."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import StructureError

if TYPE_CHECKING:
    from ase import Atoms

    Array = np.ndarray[Any, Any]

#: Distance in Å below which two atoms are taken for a mistake: no bond is shorter than that of H₂, 0.74 Å.
NEAREST = 0.4
#: The same where lengths may be in reduced units, so that only what is in one place is surely a mistake.
SAME_PLACE = 0.01
#: The same for Lennard-Jones as a part of the diameter: the energy there is a million times the depth of the well.
_PART_OF_DIAMETER = 0.3
#: Atoms of a bin that are looked at: where there are more, these are too close already.
_CROWD = 64
#: Most bins along an axis, so that all of them can be counted in 63 bits.
_MOST_BINS = 2**20
#: Each two neighbouring bins once: those before a bin have it among theirs.
_OFFSETS = [offset for offset in product((-1, 0, 1), repeat=3) if offset >= (0, 0, 0)]


def check(atoms: Atoms, limit: float = NEAREST, *, periodic: bool = False) -> None:
    """Raise if two atoms overlap, or an atom and its own image.

    Parameters
    ----------
    atoms
        The structure.
    limit
        Distance in Å from which on they do not.
    periodic
        Whether the program repeats the cell in all directions, whatever the structure says.

    Raises
    ------
    StructureError
        Names the closest two.
    """
    found = closest(atoms, limit, periodic=periodic)
    if found is None:
        return
    first, second, distance = found
    those = f"atom {first} and its own image" if first == second else f"atoms {first} and {second}"
    raise StructureError(f"{those} overlap: they are {distance:.2g} Å apart, and forces there mean nothing")


def nearest_of(diameter: float) -> float:
    """Return the distance in Å below which two Lennard-Jones atoms of a diameter in Å overlap."""
    return min(NEAREST, _PART_OF_DIAMETER * diameter)


def closest(atoms: Atoms, limit: float, *, periodic: bool = False) -> tuple[int, int, float] | None:
    """Return the two atoms that are closest to each other and their distance in Å; None if that is ≥ `limit`.

    Every atom is put into a bin as wide as the limit, so that only those in neighbouring bins are compared: most bins
    are empty.

    Raises
    ------
    StructureError
        If the periodic cell vectors are not independent.
    """
    pbc = np.ones(3, dtype=bool) if periodic else np.array(atoms.pbc)
    cell = _completed(atoms, pbc)
    places, count, bins = _binned(atoms.positions, cell, pbc, limit)
    keys = np.ravel_multi_index(tuple(bins.T), tuple(count))
    order = np.argsort(keys, kind="stable")
    order = order[_place_in_bin(keys[order]) < _CROWD]
    places, bins, keys = places[order], bins[order], keys[order]
    best: tuple[int, int, float] | None = None
    for offset in _OFFSETS:
        shifts, beside = np.divmod(bins + offset, count)
        one, other = _pairs(np.ravel_multi_index(tuple(beside.T), tuple(count)), keys)
        apart = places[other] + np.where(pbc, shifts[one], 0) - places[one]
        distances = np.linalg.norm(apart @ cell, axis=1)
        # An atom meets itself in its own bin, and, where nothing is periodic, in a bin that is the only one.
        distances[(one == other) & ~(pbc & (shifts[one] != 0)).any(axis=1)] = np.inf
        nearest = int(np.argmin(distances)) if len(distances) else -1
        if nearest >= 0 and distances[nearest] < (best[2] if best else limit):
            first, second = sorted((int(order[one[nearest]]), int(order[other[nearest]])))
            best = first, second, float(distances[nearest])
    return best


def _completed(atoms: Atoms, pbc: Array) -> Array:
    """Return the cell with unit vectors, at right angles to all others, where it is not periodic."""
    from ase.geometry import complete_cell

    periodic = np.where(pbc[:, None], atoms.cell.array, 0.0)
    if np.linalg.matrix_rank(periodic) < pbc.sum():
        raise StructureError("the cell vectors along which the structure is periodic are not independent")
    cell: Array = complete_cell(periodic)
    return cell


def _binned(positions: Array, cell: Array, pbc: Array, limit: float) -> tuple[Array, Array, Array]:
    """Return fractional positions, the number of bins along each axis, and the bin of each atom, shape (atoms, 3)."""
    inverse = np.linalg.inv(cell)
    places = positions @ inverse
    places[:, pbc] %= 1.0
    places[:, ~pbc] -= places[:, ~pbc].min(axis=0)
    extent = np.where(pbc, 1.0, np.maximum(places.max(axis=0), limit))
    heights = extent / np.linalg.norm(inverse, axis=0)
    count = np.clip(heights // limit, 1, _MOST_BINS).astype(np.int64)
    return places, count, np.minimum((places / extent * count).astype(np.int64), count - 1)


def _place_in_bin(keys: Array) -> Array:
    """Return how many atoms of its bin are before each atom, from the sorted keys."""
    places: Array = np.arange(len(keys)) - np.searchsorted(keys, keys)
    return places


def _pairs(wanted: Array, keys: Array) -> tuple[Array, Array]:
    """Return all pairs of an atom that wants a key, and an atom that has it, from the sorted keys."""
    low, high = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
    number = high - low
    one = np.repeat(np.arange(len(wanted)), number)
    starts = np.repeat(low - (np.cumsum(number) - number), number)
    return one, starts + np.arange(len(one))
