"""A data file and its force field at submit and at the run: the files, and whether they suit the structure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_masses, chemical_symbols

from nanoos_lab.core.errors import InputError, ParameterError, StructureError
from nanoos_lab.engines.lammps import checks, conversion, inputs, library
from nanoos_lab.engines.lammps.molecules import datafile, forcefield, images, reach
from nanoos_lab.engines.lammps.parameters import LammpsMDParameters
from nanoos_lab.engines.lammps.script.text import lines_of, words_of
from nanoos_lab.engines.paths import users_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ase import Atoms

    from nanoos_lab.engines.lammps.molecules.datafile import DataFile
    from nanoos_lab.engines.lammps.molecules.forcefield import ForceField
    from nanoos_lab.engines.lammps.parameters import PotentialParameters

    Array = np.ndarray[Any, Any]

#: Role of the data file; those of the other files are their names.
_ROLE = "data"
_RESERVED = frozenset((_ROLE, inputs.DATA_FILE, "in.lammps", "log.lammps"))
_PLAIN = re.compile(r"[A-Za-z0-9_.+-]+")
#: A mass in u that is so near to that of an element is meant for it; united atoms and heavy hydrogens are not.
_SAME_MASS = 0.015
#: So many times its length a bond comes to have in a run, at most (``BONDSTRETCH`` of LAMMPS's source).
_STRETCHED = 1.1
#: A bond that is longer than in the data file by this factor and by this length in Å is one between wrong atoms.
_LONGER, _MUCH = 3.0, 3.0


def check(parameters: PotentialParameters, atoms: Atoms, files: Mapping[str, Path] | None) -> Mapping[str, Path]:
    """Check data file, force field and structure; return their files by role, those given or else those that are named.

    Raises
    ------
    InputError
        Names the file, the line and what is wrong.
    StructureError
        If the structure is not one of these atoms.
    """
    found = _find(parameters) if files is None else files
    data, force_field = read(parameters, found)
    check_structure(atoms, data, force_field, spare=spare(parameters))
    commands = [[word.text for word in words_of(command)] for command in force_field.commands]
    for style, word in conversion.arguments(commands):
        if word in found:
            conversion.check(found[word], style, force_field.unit_system, "force_field")
    if isinstance(parameters, LammpsMDParameters) and not parameters.thin_cell:
        checks.check_images(atoms, reach.of(commands, found))
    return found


def read(parameters: PotentialParameters, files: Mapping[str, Path]) -> tuple[DataFile, ForceField]:
    """Read the data file and its force field from files by their role.

    Raises
    ------
    InputError
        Names what is wrong.
    """
    name = Path(parameters.data or "").name
    try:
        with files[_ROLE].open(encoding="utf-8", errors="replace") as lines:
            data = datafile.parse(lines)
        texts = _Texts({role: path for role, path in files.items() if role != _ROLE})
        force_field = forcefield.read(parameters.force_field or "", texts, data)
        data.atoms(force_field.atom_style)
    except OSError as error:
        raise ParameterError("data", name, f"it cannot be read: {error.strerror}") from None
    except ParameterError:
        raise
    except InputError as error:
        where = "" if str(error).startswith("force_field") else f"data={name!r}: "
        raise InputError(f"{where}{error}") from None
    return data, force_field


class _Texts(dict[str, Any]):
    """Files by name, read when they are asked for: most are tables that nobody includes."""

    def __getitem__(self, name: str) -> str:
        path: Path = super().__getitem__(name)
        return path.read_text(encoding="utf-8", errors="replace")


def _find(parameters: PotentialParameters) -> dict[str, Path]:
    """Find the files, by role: the user's, and those of LAMMPS that commands name."""
    given = users_path(parameters.data or "", "data")
    if not given.is_file():
        raise ParameterError("data", parameters.data, f"there is no file {given.absolute()}")
    found = {_ROLE: given.absolute()}
    for name in parameters.files:
        path = users_path(name, "files")
        if not path.is_file():
            raise ParameterError("files", name, f"there is no file {path.absolute()}")
        if path.name in found or path.name in _RESERVED or path.name == given.name:
            raise ParameterError("files", name, f"there is another file {path.name!r} where LAMMPS runs")
        if not _PLAIN.fullmatch(path.name):
            raise ParameterError("files", name, "letters, digits and ._+- in its name, as commands have it")
        found[path.name] = path.absolute()
    folder = library.potentials_folder()
    for word in _named(parameters.force_field or "", found):
        if folder and word not in found and _PLAIN.fullmatch(word) and (folder / word).is_file():
            found[word] = folder / word
    return found


def _named(text: str, files: Mapping[str, Path], depth: int = 0) -> Iterator[str]:
    """Yield the arguments of all commands, those of included files too."""
    for line in lines_of(text):
        words = [word.text for word in words_of(line.text)]
        yield from words[1:]
        # Whether files include each other without an end is asked later.
        if words[0] == "include" and words[1:] and words[1] in files and depth < 20:
            yield from _named(files[words[1]].read_text(encoding="utf-8", errors="replace"), files, depth + 1)


def spare(parameters: PotentialParameters) -> float:
    """Return how many times farther than they are now bonded atoms may come to be from each other."""
    moves = isinstance(parameters, LammpsMDParameters) and not parameters.thin_cell
    return _STRETCHED if moves else 1.0


def check_structure(atoms: Atoms, data: DataFile, force_field: ForceField, *, spare: float = 1.0) -> None:
    """Raise unless a structure can be one of the atoms of a data file, in the order of their ids.

    Parameters
    ----------
    atoms
        The structure.
    data, force_field
        What it is to be.
    spare
        As `images.check` takes it.

    Raises
    ------
    StructureError
        Names the atoms that do not agree.
    """
    count = data.counts["atoms"]
    if len(atoms) != count:
        raise StructureError(f"the structure has {len(atoms)} atoms, and the data file {count}")
    types, _ = data.atoms(force_field.atom_style)
    _check_species(atoms, types, np.array(force_field.masses))
    pairs = _check_bonds(atoms, data, force_field.atom_style)
    placed = 2 if {"dihedrals", "impropers"} & data.counts.keys() else 1
    images.check(atoms, pairs, weighed=force_field.weighed, placed=placed, spare=spare)


def _check_species(atoms: Atoms, types: Array, masses: Array) -> None:
    """Raise if atoms of a type are of two elements, or of another one than its mass says."""
    for kind in np.unique(types).tolist():
        members = np.flatnonzero(types == kind)
        first, mass = int(members[0]), float(masses[kind - 1])
        symbol = atoms.symbols[first]
        other = next((int(index) for index in members if atoms.numbers[index] != atoms.numbers[first]), None)
        if other is not None:
            raise StructureError(
                f"atoms {first} and {other} are of one type, {kind}, in the data file, and {symbol} and "
                f"{atoms.symbols[other]} in the structure; is its order that of the file's ids?"
            )
        nearest = int(np.abs(atomic_masses[1:] - mass).argmin()) + 1
        meant = abs(atomic_masses[nearest] - mass) < _SAME_MASS and nearest != atoms.numbers[first]
        if meant and abs(float(atoms.get_masses()[first]) - mass) >= _SAME_MASS:
            raise StructureError(
                f"atom {first} is {symbol} in the structure, and {chemical_symbols[nearest]} in the data file: its "
                f"type {kind} has a mass of {mass:g}; is its order that of the file's ids?"
            )


def _check_bonds(atoms: Atoms, data: DataFile, style: str) -> Array:
    """Raise if a bond is much longer than in the data file, as it is between wrong atoms.

    Returns
    -------
    np.ndarray
        The atoms of each bond by their indices, shape (bonds, 2).
    """
    lines = data.connections.get("Bonds", ())
    if not lines:
        return np.empty((0, 2), dtype=int)
    try:
        pairs = np.array([line.split()[2:4] for line in lines], dtype=int) - 1
        before = data.positions(style)
    except (ValueError, IndexError):
        raise InputError("its section Bonds has a line that is not: number, type, and two atoms") from None
    if pairs.min() < 0 or pairs.max() >= len(atoms):
        raise InputError(f"its section Bonds has an atom {pairs.max() + 1}, and there are {len(atoms)}")
    old = _lengths(before, pairs, np.array(data.cell), np.array([True] * 3))
    new = _lengths(atoms.positions, pairs, atoms.cell.array, atoms.pbc)
    wrong = np.flatnonzero((new > _LONGER * old) & (new > old + _MUCH))
    if len(wrong):
        index = int(wrong[0])
        one, other = pairs[index].tolist()
        raise StructureError(
            f"atoms {one} and {other} are bonded, and {new[index]:.1f} Å apart in the structure, not "
            f"{old[index]:.1f} Å as in the data file; is its order that of the file's ids, and its cell the right one?"
        )
    return pairs


def _lengths(positions: Array, pairs: Array, cell: Array, pbc: Array) -> Array:
    """Return the distances of pairs of atoms, of their nearest images, in Å, shape (pairs,)."""
    from ase.geometry import find_mic

    _, lengths = find_mic(positions[pairs[:, 1]] - positions[pairs[:, 0]], cell, pbc)
    return np.asarray(lengths)
