"""The file in which ph.x leaves its dynamical matrix at q = 0, and the vibrations that follow from it; pure.

Electric fields: P. Giannozzi, S. de Gironcoli, P. Pavone, S. Baroni, Phys. Rev. B 43, 7231 (1991).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.numbers import numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, Any]

#: From frequencies in ASE's units, angular, to THz, not angular.
_THZ = 1000 * units.fs / (2 * np.pi)
#: e²/ε₀ in eV Å.
_COULOMB = 4 * np.pi * units.Hartree * units.Bohr
#: Words that part the file.
_MATRIX, _DIELECTRIC, _CHARGES, _END = (
    "Dynamical  Matrix in cartesian axes",
    "Dielectric Tensor:",
    "Effective Charges E-U:",
    "Diagonalizing the dynamical matrix",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Response:
    """How a crystal responds to displacements of its atoms, the same in every cell, and to an electric field."""

    #: Force constants in eV/Å², shape (atoms, atoms, 3, 3): the second derivatives of the energy of a cell.
    force_constants: Array
    #: Dielectric tensor for atoms that stand still, shape (3, 3); None if it was not asked for.
    dielectric_tensor: Array | None = None
    #: Born charges in e, shape (atoms, 3, 3): the force on an atom along the second axis by a field along the first.
    born_charges: Array | None = None


def read(text: str, natoms: int) -> Response:
    """Read the file.

    Parameters
    ----------
    text
        All of it.
    natoms
        Number of atoms.

    Raises
    ------
    EngineError
        If it is not whole: ph.x begins it before it is at its end.
    """
    parts = dict(zip((_MATRIX, _DIELECTRIC, _CHARGES, _END), _parted(text), strict=True))
    matrix = _rows(parts[_MATRIX], 6)
    frequencies = re.findall(r"freq \( *\d+\) =", parts[_END])
    if matrix.shape != (3 * natoms**2, 6) or len(frequencies) != 3 * natoms or not np.isfinite(matrix).all():
        raise EngineError("ph.x has left no whole dynamical matrix", reason=Reason.ENGINE)
    # Each number is a real and an imaginary part, of which the second is nothing at Γ.
    constants = matrix[:, ::2].reshape(natoms, natoms, 3, 3) * (units.Ry / units.Bohr**2)
    dielectric, charges = _rows(parts[_DIELECTRIC], 3), _rows(parts[_CHARGES], 3)
    return Response(
        force_constants=(constants + constants.transpose(1, 0, 3, 2)) / 2,
        dielectric_tensor=dielectric if dielectric.shape == (3, 3) else None,
        born_charges=charges.reshape(natoms, 3, 3) if charges.shape == (3 * natoms, 3) else None,
    )


def _parted(text: str) -> list[str]:
    """Return what comes after each of the words, up to the next that is there."""
    found = []
    for word in (_MATRIX, _DIELECTRIC, _CHARGES, _END):
        rest = text.partition(word)[2]
        found.append(re.split("|".join(map(re.escape, (_DIELECTRIC, _CHARGES, _END))), rest, maxsplit=1)[0])
    return found


def _rows(text: str, count: int) -> Array:
    """Return the rows of so many numbers."""
    rows = [row for row in map(numbers, text.splitlines()) if len(row) == count]
    return np.array(rows)


def invariant(found: Response) -> Response:
    """Return the nearest response for which a crystal that is moved as a whole feels no force, and has no charge.

    That is the projection of the force constants, as dynmat.x's ``asr = 'crystal'`` makes it; it keeps all symmetry.
    """
    constants = found.force_constants
    constants = constants - constants.mean(axis=0, keepdims=True)
    constants = constants - constants.mean(axis=1, keepdims=True)
    charges = found.born_charges
    return replace(
        found,
        force_constants=constants,
        born_charges=None if charges is None else charges - charges.mean(axis=0, keepdims=True),
    )


def in_field(found: Response, volume: float, direction: Sequence[float]) -> Array:
    """Return the force constants in eV/Å² for waves that are long but not infinite, shape (atoms, atoms, 3, 3).

    Longitudinal ones have an electric field then, which depends on their direction.

    Parameters
    ----------
    found
        With dielectric tensor and Born charges.
    volume
        That of the cell, in Å³.
    direction
        Where the waves go to; its length does not matter.
    """
    if found.dielectric_tensor is None or found.born_charges is None:
        raise ValueError("the response to an electric field is not known")
    along = np.asarray(direction, dtype=float)
    charges = np.einsum("a,iab->ib", along, found.born_charges)
    screening = float(along @ found.dielectric_tensor @ along)
    added: Array = _COULOMB / volume * np.einsum("ia,jb->ijab", charges, charges) / screening
    return found.force_constants + added


def vibrations(force_constants: Array, masses: Array) -> tuple[Array, Array]:
    """Return frequencies and eigenvectors.

    Parameters
    ----------
    force_constants
        In eV/Å², shape (atoms, atoms, 3, 3).
    masses
        In u, shape (atoms,).

    Returns
    -------
    frequencies
        In THz, not angular, from the lowest up, an imaginary one as a negative number, shape (3 atoms,).
    eigenvectors
        Of the dynamical matrix, orthonormal, shape (3 atoms, atoms, 3); an atom moves along its part / √mass.
    """
    size = 3 * len(masses)
    weights = 1 / np.sqrt(np.repeat(masses, 3))
    matrix = force_constants.transpose(0, 2, 1, 3).reshape(size, size) * np.outer(weights, weights)
    squares, vectors = np.linalg.eigh(matrix)
    frequencies = np.sign(squares) * np.sqrt(np.abs(squares)) * _THZ
    return frequencies, vectors.T.reshape(size, len(masses), 3).copy()
