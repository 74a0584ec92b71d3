"""A structure as LAMMPS wants it: types, positions, velocities and charges in its frame and units."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from ase import units

from nanoos_lab.core.errors import StructureError
from nanoos_lab.engines.lammps.box import Box
from nanoos_lab.engines.lammps.units import SYSTEMS

if TYPE_CHECKING:
    from ase import Atoms

    from nanoos_lab.engines.lammps.units import UnitSystem

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class System:
    """A structure as LAMMPS wants it; atom i has LAMMPS's id i + 1."""

    #: The user's structure.
    atoms: Atoms
    #: The simulation box.
    box: Box
    #: Type of each atom, from 1, shape (atoms,).
    types: Array
    #: Chemical symbol of each type.
    symbols: tuple[str, ...]
    #: Mass of each type in amu.
    masses: tuple[float, ...]
    #: Name of LAMMPS's unit system; one with Å and amu.
    unit_system: Literal["metal", "real"] = "metal"
    #: Whether atoms have charges.
    charged: bool = False

    @classmethod
    def of(cls, atoms: Atoms, unit_system: Literal["metal", "real"] = "metal", *, charged: bool = False) -> Self:
        """Describe a structure; atoms of one element and mass share a type."""
        keys = np.column_stack([atoms.numbers, atoms.get_masses()])
        kinds, index = np.unique(keys, axis=0, return_inverse=True)
        symbols = [atoms.symbols[int(np.argmax(index.ravel() == kind))] for kind in range(len(kinds))]
        return cls(
            atoms=atoms,
            box=Box.around(atoms),
            types=index.ravel() + 1,
            symbols=tuple(symbols),
            masses=tuple(float(mass) for mass in kinds[:, 1]),
            unit_system=unit_system,
            charged=charged,
        )

    @property
    def units(self) -> UnitSystem:
        """Factors from LAMMPS's units to ours."""
        return SYSTEMS[self.unit_system]

    @property
    def charges(self) -> Array:
        """Initial charges in e, shape (atoms,)."""
        charges: Array = self.atoms.get_initial_charges()
        return charges

    @property
    def positions(self) -> Array:
        """Positions in LAMMPS's frame, in Å, shape (atoms, 3)."""
        return self.box.inwards(self.atoms.positions)

    @property
    def velocities(self) -> Array | None:
        """Velocities in LAMMPS's frame, in Å per unit of time, shape (atoms, 3); None if the structure is at rest."""
        if not self.atoms.has("momenta") or not self.atoms.arrays["momenta"].any():
            return None
        return self.box.inwards(self.atoms.get_velocities()) * (self.units.time * units.fs)

    @cached_property
    def fixed(self) -> Array:
        """Indices of the atoms that must not move, ascending."""
        return fixed_atoms(self.atoms)


def fixed_atoms(atoms: Atoms) -> Array:
    """Return the indices of the atoms that must not move, ascending.

    Raises
    ------
    StructureError
        For a constraint other than `ase.constraints.FixAtoms`.
    """
    from ase.constraints import FixAtoms

    fixed = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise StructureError(
                f"engine 'lammps' knows no constraint {type(constraint).__name__}, only FixAtoms; "
                "engine='ase' knows them all"
            )
        fixed[constraint.index] = True
    return np.flatnonzero(fixed)
