"""How a structure is brought into the frame in which NGL draws unit cells. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """A unit cell as NGL draws it, and the rotation into its frame.

    NGL knows a cell by lengths and angles alone, and draws it with a along x and b in the xy plane. Positions of any
    other cell must be turned the same way.
    """

    #: Lengths in Å and angles in degrees (a, b, c, alpha, beta, gamma); None without a three-dimensional cell.
    cell: tuple[float, ...] | None
    #: Rotation, shape (3, 3): drawn positions are ``positions @ rotation``.
    rotation: NDArray[np.float64]

    @classmethod
    def of(cls, cell: ArrayLike) -> Self:
        """Find the placement of a cell.

        Parameters
        ----------
        cell
            Cell vectors as rows, in Å, shape (3, 3); zero vectors where there is none.
        """
        from ase.cell import Cell

        vectors = np.asarray(cell, dtype=float)
        if abs(np.linalg.det(vectors)) < 1e-8:
            return cls(cell=None, rotation=np.eye(3))
        if np.linalg.det(vectors) < 0:
            # The same box with its vectors in another order; NGL draws right-handed cells only.
            vectors = vectors[[0, 2, 1]]
        standard, rotation = Cell(vectors).standard_form()
        return cls(cell=tuple(float(value) for value in standard.cellpar()), rotation=rotation.T)

    def place(self, positions: NDArray[Any]) -> NDArray[np.float32]:
        """Turn positions in Å, shape (atoms, 3), into the drawn frame."""
        return np.ascontiguousarray(positions @ self.rotation, dtype="<f4")
