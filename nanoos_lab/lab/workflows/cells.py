"""Crystals under strain: pure functions of `ase.Atoms`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import StructureError
from nanoos_lab.core.structures import check
from nanoos_lab.lab.job import Job

if TYPE_CHECKING:
    from ase import Atoms
    from ase.cell import Cell

    Array = np.ndarray[Any, Any]

#: How far a lattice may be from a symmetric one, in cell vectors.
_TOLERANCE = 1e-3


def crystal(structure: Atoms | Job) -> Atoms:
    """Return a structure that is periodic in all directions.

    Parameters
    ----------
    structure
        It, or a job that has succeeded, whose final structure is meant.

    Raises
    ------
    StructureError
        If it is not periodic in all directions.
    JobError
        If the job has not succeeded.
    """
    atoms = structure.structure if isinstance(structure, Job) else structure
    check(atoms)
    if not atoms.pbc.all():
        raise StructureError(f"a crystal, periodic in all directions, is needed; pbc is {atoms.pbc.tolist()}")
    return atoms


def strained(atoms: Atoms, strain: Array) -> Atoms:
    """Return a copy whose cell and positions are stretched.

    Parameters
    ----------
    atoms
        The crystal.
    strain : numpy.ndarray, shape (3, 3)
        Symmetric strain; vectors r become (1 + strain) r.
    """
    found: Atoms = atoms.copy()
    found.set_cell(atoms.cell.array @ (np.eye(3) + strain).T, scale_atoms=True)
    return found


def lattice_constant(cell: Cell) -> float | None:
    """Return the edge of the conventional cube of a cubic lattice in Å, None for another lattice.

    A supercell's is that of the supercell.
    """
    lattice = cell.get_bravais_lattice(eps=_TOLERANCE)
    return float(lattice.a) if lattice.name in ("CUB", "FCC", "BCC") else None
