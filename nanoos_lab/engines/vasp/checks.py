"""What engine ``vasp`` asks of a structure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nanoos_lab.core.errors import ParameterError, StructureError
from nanoos_lab.engines import distances
from nanoos_lab.engines.vasp import poscar, states
from nanoos_lab.engines.vasp.parameters import Given, VaspBandsParameters, VaspMDParameters, changes_cell, moves

if TYPE_CHECKING:
    from ase import Atoms


def check_structure(atoms: Atoms, given: Given) -> None:
    """Raise an InputError if VASP cannot run the structure with these parameters."""
    _check_cell(atoms, given)
    _check_mesh(atoms, given)
    distances.check(atoms, periodic=True)
    free = poscar.movable(atoms)
    if moves(given) and not free.any():
        raise StructureError("constraints fix all atoms, so there is nothing to move")
    if changes_cell(given) and not free.all():
        raise StructureError("atoms cannot be fixed in a cell that changes: they would move with it")
    _check_spin(atoms, given)
    if isinstance(given, VaspBandsParameters):
        states.check(atoms, given)
    if isinstance(given, VaspMDParameters):
        poscar.masses(atoms, poscar.Order.of(atoms.get_chemical_symbols()))


def _check_cell(atoms: Atoms, given: Given) -> None:
    if atoms.cell.rank < 3:
        raise StructureError(
            "VASP needs a cell even for a molecule, with enough room around it: atoms.center(vacuum=6)"
        )
    if np.linalg.det(atoms.cell.array) < 0:
        raise StructureError("the cell vectors are left-handed, which VASP refuses; exchange two of them")
    if changes_cell(given) and not atoms.pbc.all():
        raise StructureError(f"a cell can change only if it is periodic in all directions; pbc is {atoms.pbc.tolist()}")


def _check_mesh(atoms: Atoms, given: Given) -> None:
    if given.kpts is not None:
        for axis, (points, periodic) in enumerate(zip(given.kpts, atoms.pbc, strict=True)):
            if points > 1 and not periodic:
                raise ParameterError(
                    "kpts", given.kpts, f"the structure is not periodic along axis {axis}, where one k-point is enough"
                )
    if given.kspacing is not None and not atoms.pbc.any():
        raise ParameterError("kspacing", given.kspacing, "a molecule has no k-points: the structure is not periodic")
    if given.smearing == "tetrahedron" and not atoms.pbc.any():
        raise ParameterError("smearing", given.smearing, "the tetrahedron method needs k-points; take 'gaussian'")


def _check_spin(atoms: Atoms, given: Given) -> None:
    moments = atoms.arrays.get("initial_magmoms")
    if moments is None or not np.any(moments):
        return
    if moments.ndim > 1 and not given.soc:
        raise ParameterError("soc", False, "magnetic moments with three components need soc=True")
    if given.spin is False:
        raise ParameterError("spin", False, "the structure has magnetic moments")
