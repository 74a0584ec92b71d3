"""LAMMPS's view of a cell: rotated so that it is lower triangular, and back.

LAMMPS wants the first cell vector along x and the second in the xy plane. The rotation is the orthogonal
factor of a QR decomposition, as in `ase.calculators.lammps.Prism`, but to full precision for strongly skewed
cells, and for cells that lack vectors along directions that are not periodic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

    Array = np.ndarray[Any, Any]

#: Room around the atoms along directions that are not periodic, in Å.
_MARGIN = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Box:
    """The simulation box, and the way between its frame and the user's."""

    #: Lower triangular cell vectors as rows, in Å, shape (3, 3).
    cell: Array
    #: Lower corner, in Å, shape (3,); along periodic directions it is zero unless a data file says otherwise.
    origin: Array
    #: Orthogonal matrix: a row vector of the user's frame times this is in LAMMPS's frame. Shape (3, 3).
    rotation: Array
    #: Periodicity along the three cell vectors.
    pbc: tuple[bool, bool, bool]
    #: The user's cell, in Å, shape (3, 3); its vectors along non-periodic directions may be zero.
    user_cell: Array

    @classmethod
    def around(cls, atoms: Atoms) -> Self:
        """Return the box of a structure.

        Along a direction that is not periodic the user's cell vector has no meaning for LAMMPS: the box
        reaches there at right angles to the periodic directions from the lowest to the highest atom, with a
        margin.
        """
        pbc = (bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2]))
        user_cell = np.array(atoms.cell.array, dtype=float)
        cell, rotation = _lower_triangular(_completed(user_cell, pbc))
        positions = atoms.positions @ rotation
        origin = np.zeros(3)
        for axis in range(3):
            if not pbc[axis]:
                low, high = positions[:, axis].min() - _MARGIN, positions[:, axis].max() + _MARGIN
                origin[axis], cell[axis, axis] = low, high - low
        return cls(cell=cell, origin=origin, rotation=rotation, pbc=pbc, user_cell=user_cell)

    @property
    def volume(self) -> float:
        """Volume of the user's cell in Å³; not a number if it lacks a vector."""
        volume = abs(float(np.linalg.det(self.user_cell)))
        return volume if volume > 1e-8 else float("nan")

    def inwards(self, vectors: Array) -> Array:
        """Turn row vectors of the user's frame into LAMMPS's."""
        return vectors if self.aligned else vectors @ self.rotation

    def positions_outwards(self, positions: Array, origin: Array) -> Array:
        """Turn positions of LAMMPS's frame into the user's.

        Parameters
        ----------
        positions
            In Å, shape (atoms, 3).
        origin
            Present lower corner of the box: it moves when LAMMPS resizes the box around its centre.
        """
        moved = np.where(np.array(self.pbc), origin - self.origin, 0.0)
        return self.outwards(positions - moved if moved.any() else positions)

    def outwards(self, vectors: Array) -> Array:
        """Turn row vectors of LAMMPS's frame into the user's."""
        return vectors if self.aligned else vectors @ self.rotation.T

    def tensor_outwards(self, tensor: Array) -> Array:
        """Turn a tensor of LAMMPS's frame, shape (3, 3), into the user's."""
        turned: Array = self.rotation @ tensor @ self.rotation.T
        return turned

    def cell_outwards(self, cell: Array) -> Array:
        """Return the user's cell for the present cell of LAMMPS, shape (3, 3)."""
        return np.where(np.array(self.pbc)[:, None], self.outwards(cell), self.user_cell)

    @cached_property
    def aligned(self) -> bool:
        """Whether both frames are the same."""
        return bool((self.rotation == np.eye(3)).all())


def _completed(cell: Array, pbc: tuple[bool, bool, bool]) -> Array:
    """Put unit vectors at right angles to all others in the place of those that are not periodic."""
    complete = np.where(np.array(pbc)[:, None], cell, 0.0)
    missing = [axis for axis in range(3) if not pbc[axis]]
    if len(missing) == 3:
        return np.eye(3)
    if missing:
        # The last right singular vectors span what is at right angles to the periodic directions.
        normals = np.linalg.svd(complete)[2][3 - len(missing) :]
        complete[missing] = normals
    return complete


def _lower_triangular(cell: Array) -> tuple[Array, Array]:
    """Return the lower triangular cell with positive diagonal, and the rotation to its frame."""
    q, r = np.linalg.qr(cell.T)
    signs = np.sign(np.diagonal(r))
    signs[signs == 0] = 1.0
    lower = np.tril((r * signs[:, None]).T)
    # Rounding noise would make LAMMPS treat an orthogonal cell as a skewed one.
    lower[np.abs(lower) < 1e-12 * np.abs(lower).max()] = 0.0
    return lower, _clean(q * signs)


def _clean(rotation: Array) -> Array:
    """Make the rotation of an aligned cell exactly the unit matrix."""
    return np.eye(3) if np.allclose(rotation, np.eye(3), rtol=0, atol=1e-15) else rotation
