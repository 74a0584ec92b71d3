"""What the executable writes, read as it comes: its table of thermo, its dumps, its heading. Pure but for files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    Array = np.ndarray[Any, Any]

_VERSION = re.compile(r"^LAMMPS \((.+)\)")
_GRID = re.compile(r"(\d+) by (\d+) by (\d+) MPI processor grid")


@dataclass(frozen=True, kw_only=True, eq=False)
class Dump:
    """One frame of a dump."""

    #: LAMMPS's step.
    step: int
    #: LAMMPS's lower triangular cell in its unit of length, shape (3, 3).
    cell: Array
    #: The lower corner of the box, shape (3,).
    origin: Array
    #: Its columns by name, each of shape (atoms,), ordered by id.
    columns: dict[str, Array]

    def vectors(self, *names: str) -> Array:
        """Return some columns side by side, shape (atoms, names)."""
        return np.column_stack([self.columns[name] for name in names])


class Table:
    """Finds the rows of thermo in the output."""

    def __init__(self) -> None:
        self._headings: list[str] = []

    def feed(self, line: str) -> dict[str, float] | None:
        """Look at a line; return the row in it by its headings, if it is one."""
        words = line.split()
        if words[:1] == ["Step"]:
            self._headings = words
            return None
        if line.startswith("Loop time"):
            self._headings = []
        if not self._headings or len(words) != len(self._headings):
            return None
        try:
            values = [float(word) for word in words]
        except ValueError:
            return None
        return dict(zip(self._headings, values, strict=True))


class DumpReader:
    """Reads the frames of a dump that is being written.

    Parameters
    ----------
    path
        The file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def read(self, step: int) -> Dump | None:
        """Return the frame of a step, skipping earlier ones; None if it is not there, or not all of it, yet."""
        if self._file is None:
            if not self._path.exists():
                return None
            self._file = self._path.open(encoding="ascii")
        while True:
            place = self._file.tell()
            dump = _read(self._file)
            if dump is None or dump.step > step:
                self._file.seek(place)
                return None
            if dump.step == step:
                return dump

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _read(file: IO[str]) -> Dump | None:
    """Read the next frame; None if it is not complete."""
    head = _lines(file, 9)
    if head is None:
        return None
    step, atoms = int(head[1]), int(head[3])
    names = head[8].split()[2:]
    lines = _lines(file, atoms)
    if lines is None:
        return None
    rows = np.fromstring("".join(lines), sep=" ").reshape(atoms, len(names))
    cell, origin = _box(head[5:8])
    return Dump(step=step, cell=cell, origin=origin, columns=dict(zip(names, rows.T, strict=True)))


def _lines(file: IO[str], count: int) -> list[str] | None:
    """Read so many lines; None as soon as one is not complete: the file may grow before the next is read."""
    lines = []
    for _ in range(count):
        line = file.readline()
        if not line.endswith("\n"):
            return None
        lines.append(line)
    return lines


def _box(lines: list[str]) -> tuple[Array, Array]:
    """Return cell and lower corner; of a skewed box LAMMPS tells what bounds it (manual, ``Howto_triclinic``)."""
    bounds = np.array([[float(word) for word in line.split()] for line in lines])
    xy, xz, yz = bounds[:, 2] if bounds.shape[1] > 2 else (0.0, 0.0, 0.0)
    low = bounds[:, 0] - [min(0.0, xy, xz, xy + xz), min(0.0, yz), 0.0]
    high = bounds[:, 1] - [max(0.0, xy, xz, xy + xz), max(0.0, yz), 0.0]
    x, y, z = high - low
    return np.array([[x, 0.0, 0.0], [xy, y, 0.0], [xz, yz, z]]), low


def last_dump(path: Path) -> Dump | None:
    """Return the only frame of a dump that is written at once; None if it is not there, or not all of it."""
    if not path.exists():
        return None
    with path.open(encoding="ascii") as file:
        return _read(file)


def version_in(line: str) -> str | None:
    """Return the version in the first line of the output, such as ``22 Jul 2025 - Update 4``."""
    found = _VERSION.match(line)
    return found.group(1) if found else None


def ranks_in(line: str) -> int | None:
    """Return the number of MPI ranks in the line that tells their grid."""
    found = _GRID.search(line)
    return int(found.group(1)) * int(found.group(2)) * int(found.group(3)) if found else None
