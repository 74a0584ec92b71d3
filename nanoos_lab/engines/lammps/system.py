"""A structure as LAMMPS wants it: types, positions, velocities and charges in its frame and units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from ase import units

from nanoos_lab.core.errors import StructureError
from nanoos_lab.engines.lammps.box import Box
from nanoos_lab.engines.lammps.molecules.datafile import COLUMNS
from nanoos_lab.engines.lammps.units import SYSTEMS

if TYPE_CHECKING:
    from ase import Atoms

    from nanoos_lab.engines.lammps.molecules.datafile import DataFile
    from nanoos_lab.engines.lammps.molecules.forcefield import ForceField
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
    #: Name of LAMMPS's unit system: one with Å and amu, or reduced units, which the structure's own numbers are in.
    unit_system: Literal["metal", "real", "lj"] = "metal"
    #: Whether atoms have charges.
    charged: bool = False
    #: LAMMPS's atom style.
    atom_style: str = "atomic"
    #: The user's data file, if atoms and bonds are those of one.
    data: DataFile | None = None

    @classmethod
    def of(cls, atoms: Atoms, unit_system: Literal["metal", "real", "lj"] = "metal", *, charged: bool = False) -> Self:
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
            atom_style="charge" if charged else "atomic",
        )

    @classmethod
    def of_data(cls, atoms: Atoms, data: DataFile, force_field: ForceField) -> Self:
        """Describe a structure whose types, masses, charges and bonds are those of a data file.

        Raises
        ------
        InputError
            If the file is not of the force field's atom style.
        """
        types, _ = data.atoms(force_field.atom_style)
        atoms = with_masses(atoms, np.array(force_field.masses)[types - 1])
        box = Box.around(atoms)
        if box.aligned and all(box.pbc):
            # LAMMPS's grids begin there, so that its sums are to the last digit those of the user's own input.
            box = replace(box, origin=np.array(data.origin))
        symbols = dict(zip(types.tolist(), atoms.symbols, strict=True))
        return cls(
            atoms=atoms,
            box=box,
            types=types,
            symbols=tuple(symbols.get(kind, "X") for kind in range(1, len(force_field.masses) + 1)),
            masses=force_field.masses,
            unit_system=force_field.unit_system,
            charged="charge" in COLUMNS[force_field.atom_style],
            atom_style=force_field.atom_style,
            data=data,
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
        # ASE's unit of velocity, √(eV/amu), is already that of reduced units.
        time = 1.0 if self.units.mass is None else self.units.time * units.fs
        return self.box.inwards(self.atoms.get_velocities()) * time

    @cached_property
    def fixed(self) -> Array:
        """Indices of the atoms that must not move, ascending."""
        return fixed_atoms(self.atoms)


def with_masses(atoms: Atoms, masses: Array) -> Atoms:
    """Return a copy with these masses in amu, shape (atoms,), and the same velocities."""
    atoms = atoms.copy()
    velocities = atoms.get_velocities() if atoms.has("momenta") else None
    atoms.set_masses(masses)
    if velocities is not None:
        # Past the constraints: the structure is as it was.
        atoms.arrays["momenta"][:] = velocities * masses[:, None]
    return atoms


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
