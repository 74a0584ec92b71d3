"""Meshes of k-points, paths through the Brillouin zone, and the gap along them, for all programs; pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from ase.dft.kpoints import BandPath

Array = np.ndarray[Any, Any]
Mesh = tuple[int, int, int]


def mesh(cell: Array, pbc: Sequence[bool], spacing: float) -> Mesh:
    """Return the divisions of the coarsest mesh whose k-points are no further apart: one where nothing is periodic.

    Parameters
    ----------
    cell
        Cell vectors as rows, in Å, shape (3, 3).
    pbc
        Periodicity along them.
    spacing
        Largest distance of k-points in 1/Å, factor 2π included.
    """
    lengths = 2 * math.pi * np.linalg.norm(np.linalg.inv(cell), axis=0)
    # A length that is a multiple of the spacing save for rounding does not need one division more.
    counts = np.where(pbc, np.maximum(1, np.ceil(lengths / spacing - 1e-9)), 1)
    first, second, third = (int(count) for count in counts)
    return first, second, third


def band_path(atoms: Atoms, path: str | None, points: int) -> BandPath:
    """Return k-points along a path through the Brillouin zone.

    Parameters
    ----------
    atoms
        A structure that is periodic somewhere.
    path
        Special points such as ``"LGXUG"``, a comma where it jumps; None for ASE's for the lattice.
    points
        Number of k-points.

    Raises
    ------
    ParameterError
        If the lattice has no such points.
    """
    try:
        found: BandPath = atoms.cell.bandpath(path, npoints=points, pbc=atoms.pbc)
    except (KeyError, ValueError, RuntimeError) as error:
        known = ", ".join(sorted(atoms.cell.bandpath(npoints=0, pbc=atoms.pbc).special_points))
        raise ParameterError("path", path, f"special points of the lattice, {known} ({error})") from None
    return found


def along(path: BandPath) -> dict[str, Any]:
    """Return, as results, where its points are.

    ``distances``, in 1/Å with factor 2π, shape (k-points,), are the lengths along it; ``special_distances`` and
    ``special_labels``, with commas between them, say where the special points are; ``path`` is its name.
    """
    distances, special, labels = path.get_linear_kpoint_axis()
    places = {"distances": distances, "special_distances": special}
    return {**places, "path": path.path, "special_labels": ",".join(labels)}


def gap(values: Array | None, occupied: Array | None) -> dict[str, float]:
    """Return the gap of an insulator in eV, as the result ``band_gap``; {} if there is none.

    Parameters
    ----------
    values
        Levels in eV, shape (spins, k-points, bands).
    occupied
        How far those of the same structure at other k-points are occupied, from 0 to 1, shape (spins, k-points, bands).
    """
    if values is None or occupied is None:
        return {}
    filled = occupied.sum(axis=2)
    # A metal has levels that are full in part, or other numbers of full ones at other k-points.
    if np.ptp(filled, axis=1).max() > 1e-3 or np.abs(filled - filled.round()).max() > 1e-3:
        return {}
    tops, bottoms = [], []
    for spin, number in enumerate(filled[:, 0].round().astype(int)):
        if number < values.shape[2]:
            bottoms.append(values[spin, :, number:].min())
        if number:
            tops.append(values[spin, :, :number].max())
    if not tops or not bottoms or min(bottoms) <= max(tops):
        return {}
    return {"band_gap": float(min(bottoms) - max(tops))}
