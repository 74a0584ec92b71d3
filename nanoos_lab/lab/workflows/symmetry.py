"""What the symmetry of a crystal leaves of tensors of the second and the fourth rank: pure functions.

Symmetric tensors are vectors of six here, by Mandel's convention: xx, yy, zz, √2 yz, √2 xz, √2 xy. Rotations of
crystals are then rotations of these vectors, unlike by Voigt's.
"""

from __future__ import annotations

import warnings
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import ParameterError

if TYPE_CHECKING:
    from ase import Atoms

    Array = np.ndarray[Any, Any]

#: Where the six components stand in the tensor, in Voigt's order.
ROWS, COLUMNS = (0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1)
#: Mandel's component of each component of a stress, as Voigt has them.
MANDEL = np.array([1.0, 1.0, 1.0, *[np.sqrt(2)] * 3])
#: In steps of this many µB and e, initial magnetic moments and charges are compared.
_STEP = 1e-2


def vector(tensor: Array) -> Array:
    """Return symmetric tensors, shape (..., 3, 3), as vectors, shape (..., 6)."""
    return np.asarray(np.asarray(tensor)[..., ROWS, COLUMNS] * MANDEL)


def point_group(atoms: Atoms, symprec: float | None) -> Array:
    """Return the rotations of a crystal's symmetry, improper ones included, by spglib.

    What moves atoms of different initial magnetic moments or charges onto each other is none. A crystal with
    constraints, or with moments that are vectors, has the identity alone.

    Parameters
    ----------
    atoms
        The crystal, as its primitive cell or as any other.
    symprec
        How far an atom may be from where symmetry has it, in Å; None for the identity alone.

    Returns
    -------
    numpy.ndarray, shape (rotations, 3, 3)
        Orthogonal matrices that act on Cartesian vectors.

    Raises
    ------
    ParameterError
        If spglib finds no group of symmetries within this distance.
    """
    if symprec is None or atoms.constraints or atoms.get_initial_magnetic_moments().ndim > 1:
        return np.eye(3)[None]
    found = _operations(atoms, symprec)
    if found is None:
        raise ParameterError(
            "symprec", symprec, "a distance in Å within which spglib finds a symmetry; None seeks none"
        )
    lattice, fractional = found
    # The nearest rotation: the cell is symmetric only within symprec.
    left, _, right = np.linalg.svd(lattice.T @ fractional @ np.linalg.inv(lattice.T))
    return np.asarray(left @ right)


def _operations(atoms: Atoms, symprec: float) -> tuple[Array, Array] | None:
    """Return the primitive cell, a vector in each row, and the rotations that act on its fractional coordinates."""
    import spglib
    from spglib.error import SpglibError

    labels = np.stack([atoms.get_initial_magnetic_moments(), atoms.get_initial_charges()], axis=1)
    _, kinds = np.unique(np.column_stack([atoms.numbers, np.round(labels / _STEP)]), axis=0, return_inverse=True)
    cell = (atoms.cell.array, atoms.get_scaled_positions(), kinds.ravel())
    with warnings.catch_warnings():
        # Before version 3, what raises an error then is None and a warning.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            # A supercell may lack rotations that its crystal has.
            primitive = spglib.standardize_cell(cell, to_primitive=True, no_idealize=True, symprec=symprec)
            found = primitive and spglib.get_symmetry(primitive, symprec=symprec)
        except SpglibError:
            return None
    if not primitive or not found:
        return None
    return np.asarray(primitive[0]), np.unique(found["rotations"], axis=0)


def invariants(rotations: Array) -> tuple[Array, Array]:
    """Return what a group of rotations leaves unchanged.

    Parameters
    ----------
    rotations : numpy.ndarray, shape (rotations, 3, 3)
        A group of them, such as `point_group` finds.

    Returns
    -------
    numpy.ndarray, shape (constants, 6, 6)
        Orthonormal symmetric matrices, of which every stiffness of such a crystal is a sum; three for a cubic one, 21
        for one without symmetry.
    numpy.ndarray, shape (stresses, 6)
        Orthonormal vectors, of which every stress that does not break the symmetry is a sum.
    """
    units = np.array([_unit(row, column) for row, column in zip(ROWS, COLUMNS, strict=True)])
    turns = np.swapaxes(vector(np.einsum("gij,kjl,gml->gkim", rotations, units, rotations)), 1, 2)
    pairs = list(combinations_with_replacement(range(6), 2))
    matrices = np.array([_unit(row, column, 6) for row, column in pairs])
    # The mean over a group projects on what the group leaves unchanged.
    turned = np.einsum("gij,njk,glk->nil", turns, matrices, turns) / len(rotations)
    stiffness = np.einsum("nij,mij->nm", matrices, turned)
    return np.einsum("cn,nij->cij", _unchanged(stiffness), matrices), _unchanged(turns.mean(axis=0))


def _unit(row: int, column: int, size: int = 3) -> Array:
    """Return a symmetric matrix of norm 1 with only one element, or one pair of them."""
    found = np.zeros((size, size))
    found[row, column] = found[column, row] = 1.0
    return np.asarray(found / np.linalg.norm(found))


def _unchanged(projection: Array) -> Array:
    """Return orthonormal vectors that span what a projection leaves unchanged, one in each row."""
    sizes, vectors = np.linalg.eigh((projection + projection.T) / 2)
    return np.asarray(vectors.T[sizes > 0.5])
