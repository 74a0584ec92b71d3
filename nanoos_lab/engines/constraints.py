"""Which coordinates may change under ASE's constraints, for programs that fix them one by one; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase.constraints import FixAtoms, FixCartesian, FixScaled

from nanoos_lab.core.errors import StructureError

if TYPE_CHECKING:
    from ase import Atoms

Array = np.ndarray[Any, Any]


def movable(atoms: Atoms, *, along: Literal["axes", "cell"], program: str) -> Array:
    """Return which coordinates may change, shape (atoms, 3).

    Parameters
    ----------
    atoms
        A structure with constraints.
    along
        Whether the program counts coordinates along x, y and z, or along the cell vectors.
    program
        Its name, for the message.

    Raises
    ------
    StructureError
        For a constraint that it cannot keep.
    """
    own, other = (FixCartesian, FixScaled) if along == "axes" else (FixScaled, FixCartesian)
    free = np.ones((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            free[constraint.index] = False
            continue
        if not isinstance(constraint, (own, other)):
            kind = type(constraint).__name__
            raise StructureError(
                f"constraint {kind} cannot be kept by {program}; FixAtoms and {own.__name__}, for coordinates, can"
            )
        fixed = np.asarray(constraint.mask, dtype=bool)
        if isinstance(constraint, other) and not fixed.all() and not _along_axes(atoms.cell.array):
            place = "x, y and z" if along == "axes" else "the cell vectors"
            raise StructureError(
                f"{program} fixes coordinates along {place}, which are others than those of {other.__name__} in this "
                f"cell, so it cannot be kept; use {own.__name__} or FixAtoms"
            )
        free[constraint.index] &= ~fixed
    return free


def _along_axes(cell: Array) -> bool:
    return bool(np.allclose(cell, np.diag(np.diag(cell)), atol=1e-9))
