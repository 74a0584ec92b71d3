"""What a run starts from: the structure as LAMMPS wants it, and the commands of its force field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nanoos_lab.engines.lammps import forces
from nanoos_lab.engines.lammps.molecules import task as molecules
from nanoos_lab.engines.lammps.system import System

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.engines.lammps.parameters import PotentialParameters


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a run starts from."""

    #: The structure.
    system: System
    #: Commands of the force field.
    force_field: list[str]
    #: Its pair style.
    style: str


def of(atoms: Atoms, parameters: PotentialParameters, files: Mapping[str, Path], names: Mapping[str, str]) -> Place:
    """Return what a run of these atoms starts from.

    Parameters
    ----------
    atoms, parameters
        What is simulated, and how.
    files
        The input files by their role.
    names
        What they are called where LAMMPS runs, by their role.

    Raises
    ------
    InputError
        If the files do not suit the structure.
    """
    if parameters.data is not None:
        data, force_field = molecules.read(parameters, files)
        molecules.check_structure(atoms, data, force_field, spare=molecules.spare(parameters))
        return Place(
            system=System.of_data(atoms, data, force_field),
            force_field=[*force_field.commands, *forces.room(parameters)],
            style=force_field.chosen["pair"],
        )
    system = System.of(atoms, forces.unit_system(parameters), charged=forces.charged(parameters))
    read = forces.read(parameters, files)
    forces.check(parameters, read, system.symbols)
    commands = forces.commands(parameters, names, read, system.symbols)
    return Place(system=system, force_field=commands, style=forces.style(parameters))
