"""The user's data file: what the atoms are and how they are bonded; where they are, the structure says. Pure.

Format: LAMMPS manual, page ``read_data``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Array = np.ndarray[Any, Any]

#: Columns between the id and the positions of an atom, by atom style.
COLUMNS: dict[str, tuple[str, ...]] = {
    "atomic": ("type",),
    "charge": ("type", "charge"),
    "bond": ("molecule", "type"),
    "angle": ("molecule", "type"),
    "molecular": ("molecule", "type"),
    "full": ("molecule", "type", "charge"),
}
#: What connects atoms, as sections and counts name it.
CONNECTIONS = ("bond", "angle", "dihedral", "improper")
#: Sections that are kept as they are.
_KEPT = {f"{kind.capitalize()}s": kind for kind in CONNECTIONS}
#: Section of coefficients → the command that does the same, and the word that follows the type in it.
_COEFFICIENTS = {
    "Pair Coeffs": ("pair", ""),
    "PairIJ Coeffs": ("pair", ""),
    **{f"{kind.capitalize()} Coeffs": (kind, "") for kind in CONNECTIONS},
    "BondBond Coeffs": ("angle", "bb"),
    "BondAngle Coeffs": ("angle", "ba"),
    "MiddleBondTorsion Coeffs": ("dihedral", "mbt"),
    "EndBondTorsion Coeffs": ("dihedral", "ebt"),
    "AngleTorsion Coeffs": ("dihedral", "at"),
    "AngleAngleTorsion Coeffs": ("dihedral", "aat"),
    "BondBond13 Coeffs": ("dihedral", "bb13"),
    "AngleAngle Coeffs": ("improper", "aa"),
}
#: Sections of names for types, which LAMMPS writes even where its types are numbers; they are left out.
_LABELS = tuple(f"{kind.capitalize()} Type Labels" for kind in ("atom", *CONNECTIONS))
_SECTIONS = frozenset(("Atoms", "Masses", "Velocities", *_KEPT, *_COEFFICIENTS, *_LABELS))
#: Lines of the header that are the structure's business.
_BOX = re.compile(r"(?:\S+ ){2}([xyz])lo [xyz]hi$|(?:\S+ ){3}(xy) xz yz$")
_COUNT = re.compile(r"(\d+)\s+(atoms|(?:bond|angle|dihedral|improper)s|(?:atom|bond|angle|dihedral|improper) types)$")
#: Lines of the header of a box that is not turned into LAMMPS's frame.
_GENERAL = re.compile(r"(?:\S+ ){3}([abc]vec|abc origin)$")
_EXTRA = re.compile(r"\d+\s+extra (bond|angle|dihedral|improper|special) (types|per atom)$")


@dataclass(frozen=True, kw_only=True, eq=False)
class DataFile:
    """A data file; atom i of the structure has LAMMPS's id i + 1."""

    #: LAMMPS's atom style; empty if the file does not say one that is known.
    atom_style: str
    #: Lines of the header, those of the box left out.
    header: tuple[str, ...]
    #: Lower corner of its box in Å, shape (3,).
    origin: tuple[float, ...]
    #: Lower triangular cell vectors as rows, in Å, shape (3, 3).
    cell: tuple[tuple[float, ...], ...]
    #: How many there are, such as "atoms", "bonds" and "bond types"; none is zero.
    counts: Mapping[str, int]
    #: Words of each atom after its id, in the order of the ids.
    words: tuple[tuple[str, ...], ...]
    #: Mass of types in amu, as far as the file has them.
    masses: Mapping[int, float]
    #: Commands of the file's coefficients, by what they are for, such as "pair".
    coefficients: Mapping[str, tuple[str, ...]]
    #: Lines of the sections that connect atoms, by name.
    connections: Mapping[str, tuple[str, ...]]

    def atoms(self, style: str) -> tuple[Array, tuple[str, ...]]:
        """Return the type of each atom, and its words between id and positions, if the file is of an atom style.

        Raises
        ------
        InputError
            Names the atom whose line does not fit the style.
        """
        names = COLUMNS[style]
        # Positions follow, and perhaps three image flags.
        allowed = (len(names) + 3, len(names) + 6)
        wrong = next((index for index, words in enumerate(self.words) if len(words) not in allowed), None)
        place = names.index("type")
        try:
            if wrong is not None:
                raise ValueError(wrong)
            types = np.array([int(words[place]) for words in self.words])
        except ValueError:
            number = 1 if wrong is None else wrong + 1
            form = " ".join(("id", *names, "x", "y", "z"))
            raise InputError(f"the line of atom {number} is not one of atom_style {style}: {form}") from None
        if types.min() < 1 or types.max() > self.counts.get("atom types", 0):
            raise InputError(f"it has atoms of type {types.max()}, and {self.counts.get('atom types', 0)} atom types")
        return types, tuple(" ".join(words[: len(names)]) for words in self.words)

    def positions(self, style: str) -> Array:
        """Return the positions in Å of a file of an atom style, shape (atoms, 3)."""
        first = len(COLUMNS[style])
        return np.array([words[first : first + 3] for words in self.words], dtype=float)


def parse(lines: Iterable[str]) -> DataFile:
    """Read a data file.

    Raises
    ------
    InputError
        If it is not one, or has what cannot be kept.
    """
    header, sections, hint = _split(lines)
    origin, cell = _box([line for line in header if _BOX.match(line)])
    header = [line for line in header if not _BOX.match(line)]
    counts = {}
    for line in header:
        if found := _COUNT.match(line):
            counts[found.group(2)] = int(found.group(1))
        elif _GENERAL.match(line):
            raise InputError(
                f"its box is a general triclinic one ({line!r}); LAMMPS writes a restricted one, with xlo xhi and "
                "xy xz yz, by write_data without 'triclinic/general'"
            )
        elif not _EXTRA.match(line):
            raise InputError(f"its header has a line {line!r}, which is not understood")
    atoms = counts.get("atoms", 0)
    if not atoms or len(sections.get("Atoms", ())) != atoms:
        raise InputError(f"it is no data file of {atoms} atoms: its section Atoms has {len(sections.get('Atoms', ()))}")
    connections = {name: sections.get(name, ()) for name in _KEPT}
    for name, rows in connections.items():
        told = counts.get(name.lower(), 0)
        if len(rows) != told:
            raise InputError(f"its header tells of {told} {name.lower()}; there are {len(rows)}")
    return DataFile(
        atom_style=hint,
        header=tuple(header),
        origin=origin,
        cell=cell,
        counts={name: count for name, count in counts.items() if count},
        words=_by_id(sections["Atoms"]),
        masses=_masses(sections.get("Masses", ())),
        coefficients=_commands(sections),
        connections={name: lines for name, lines in connections.items() if lines},
    )


def _split(lines: Iterable[str]) -> tuple[list[str], dict[str, tuple[str, ...]], str]:
    """Split a file into its header, its sections, and the atom style that a comment names."""
    header: list[str] = []
    sections: dict[str, list[str]] = {}
    into, hint = header, ""
    for number, raw in enumerate(lines):
        text, _, comment = raw.partition("#")
        text = " ".join(text.split())
        if not number or not text:
            continue
        if not text[0].isalpha():
            into.append(text)
            continue
        if text.split()[0] in _labels(sections):
            raise _labelled(text)
        if text not in _SECTIONS:
            raise UnknownNameError("section of a data file", text, _SECTIONS)
        into = sections.setdefault(text, [])
        if text == "Atoms":
            hint = comment.strip() if comment.strip() in COLUMNS else ""
    labels = _labels(sections)
    for name in ("Atoms", *_KEPT):
        for line in sections.get(name, ()):
            if not labels.isdisjoint(line.split()):
                raise _labelled(line)
    return header, {name: tuple(found) for name, found in sections.items()}, hint


def _labels(sections: Mapping[str, Iterable[str]]) -> set[str]:
    return {line.split()[-1] for name in _LABELS for line in sections.get(name, ())}


def _labelled(line: str) -> InputError:
    return InputError(f"{line!r} names a type by its label; LAMMPS writes numbers by 'write_data … types numeric'")


def _box(lines: Iterable[str]) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Return the lower corner and the cell vectors of the header's box."""
    ends, tilt = {"x": (-0.5, 0.5), "y": (-0.5, 0.5), "z": (-0.5, 0.5)}, (0.0, 0.0, 0.0)
    for line in lines:
        words = line.split()
        try:
            if words[-1] == "yz":
                tilt = (float(words[0]), float(words[1]), float(words[2]))
            else:
                ends[words[-1][0]] = (float(words[0]), float(words[1]))
        except ValueError:
            raise InputError(f"its header has a line {line!r}, which is not understood") from None
    x, y, z = (high - low for low, high in ends.values())
    xy, xz, yz = tilt
    return tuple(low for low, _ in ends.values()), ((x, 0.0, 0.0), (xy, y, 0.0), (xz, yz, z))


def _by_id(lines: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    split = [line.split() for line in lines]
    try:
        found = {int(words[0]): tuple(words[1:]) for words in split}
    except ValueError:
        raise InputError("its section Atoms has a line that does not begin with the number of an atom") from None
    if set(found) != set(range(1, len(split) + 1)):
        raise InputError(f"its atoms must have the ids 1 to {len(split)}, each once")
    return tuple(found[number] for number in range(1, len(split) + 1))


def _masses(lines: Iterable[str]) -> dict[int, float]:
    try:
        return {int(kind): float(mass) for kind, mass in (line.split() for line in lines)}
    except ValueError:
        raise InputError("its section Masses has a line that is not a type and a mass") from None


def _commands(sections: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return the coefficients as commands: a run that goes on from a restart file reads no data file."""
    found: dict[str, list[str]] = {}
    for name, (kind, word) in _COEFFICIENTS.items():
        for line in sections.get(name, ()):
            words = line.split()
            if name == "Pair Coeffs":
                words.insert(0, words[0])
            if word:
                # Behind the name of the style, where a hybrid one has it there.
                words.insert(2 if words[1:2] and words[1][0].isalpha() else 1, word)
            found.setdefault(kind, []).append(" ".join((f"{kind}_coeff", *words)))
    return {kind: tuple(lines) for kind, lines in found.items()}
