"""Meshes of k-points, for programs that take their divisions; pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

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
