"""What a task asks of a structure, whatever the calculator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nanoos_lab.core.errors import ParameterError, StructureError
from nanoos_lab.engines import displacements, distances
from nanoos_lab.engines.ase.parameters import (
    BandParameters,
    Calculated,
    DynamicsParameters,
    OptimizerParameters,
    PhononParameters,
)

if TYPE_CHECKING:
    from ase import Atoms

#: How far an atom at the end of a path may be from where constraints or the cell hold it, in Å.
_TOLERANCE = 1e-3
#: Most atoms of a supercell.
_LARGEST = 5000


def check_task(atoms: Atoms, given: Calculated, *, has_stress: bool) -> None:
    """Raise an InputError if a structure does not suit a task.

    Parameters
    ----------
    atoms
        The structure.
    given
        The task's parameters.
    has_stress
        Whether the calculator has a stress.
    """
    distances.check(atoms, given.nearest)
    _check_cell(atoms, given, has_stress=has_stress)
    if isinstance(given, DynamicsParameters):
        _check_freedom(atoms, given)
    if isinstance(given, BandParameters):
        _check_ends(atoms, given)
    if isinstance(given, PhononParameters):
        displacements.check(atoms)
        if len(atoms) * given.times > _LARGEST:
            raise ParameterError(
                "supercell",
                given.supercell,
                f"one of {_LARGEST} atoms at most, for the sake of memory; this is one of {len(atoms) * given.times}",
            )


def _check_cell(atoms: Atoms, given: Calculated, *, has_stress: bool) -> None:
    moves_cell = (isinstance(given, OptimizerParameters) and given.cell == "free") or (
        isinstance(given, DynamicsParameters) and given.ensemble == "npt"
    )
    what = "cell='free'" if isinstance(given, OptimizerParameters) else "ensemble='npt'"
    if moves_cell and not atoms.pbc.all():
        raise StructureError(f"{what} needs a structure that is periodic in all directions")
    if moves_cell and not has_stress:
        raise ParameterError("calculator", given.label, f"it has no stress, which {what} needs")


def _check_freedom(atoms: Atoms, given: DynamicsParameters) -> None:
    if atoms.constraints and given.ensemble == "npt":
        raise StructureError("ensemble='npt' moves every atom with the cell, so the structure must have no constraints")
    try:
        free = atoms.get_number_of_degrees_of_freedom()
    except NotImplementedError:
        names = ", ".join(type(constraint).__name__ for constraint in atoms.constraints)
        raise StructureError(f"task 'md' cannot count the degrees of freedom under the constraints {names}") from None
    if free <= 0:
        raise StructureError("constraints fix all atoms, so there is nothing for task 'md' to move")


def _check_ends(atoms: Atoms, given: BandParameters) -> None:
    final = given.final
    if len(final.positions) != len(atoms):
        raise StructureError(f"final has {len(final.positions)} atoms, but the structure has {len(atoms)}")
    if final.numbers is not None and not np.array_equal(final.numbers, atoms.numbers):
        first = int(np.argmax(np.asarray(final.numbers) != atoms.numbers))
        raise StructureError(f"final must have the same atoms in the same order; atom {first} is another element")
    if final.cell is not None and not np.allclose(final.cell, atoms.cell.array, atol=_TOLERANCE):
        raise StructureError("final must have the same cell as the structure; paths between cells are not implemented")
    moved = atoms.copy()
    moved.set_positions(final.positions)
    if not np.allclose(moved.positions, final.positions, atol=_TOLERANCE):
        away = np.abs(moved.positions - final.positions).max(axis=1)
        raise StructureError(
            f"constraints of the structure hold {int((away > _TOLERANCE).sum())} atom(s) away from where final has "
            f"them, the first is atom {int(np.argmax(away > _TOLERANCE))}"
        )
    if np.allclose(atoms.positions, final.positions, atol=_TOLERANCE):
        raise StructureError("final is the structure itself; there is no path between them")
    try:
        distances.check(moved, given.nearest)
    except StructureError as error:
        raise StructureError(f"final: {error}") from None
