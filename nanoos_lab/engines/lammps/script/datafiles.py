"""What a data file may name: its coefficients are arguments of commands, which LAMMPS executes unseen."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from itertools import islice
from typing import IO, TYPE_CHECKING

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.lammps.script import rules
from nanoos_lab.engines.lammps.script.text import Word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

#: How packed files are read, by what follows the last dot of their names; LAMMPS has programs for these and others.
_PACKED: Mapping[str, Callable[..., IO[str]]] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
_ALSO_PACKED = ("zst", "lz4", "lzma")


def check(path: Path) -> None:
    """Raise if a data file names a file outside of the working directory.

    Raises
    ------
    InputError
        Names the line.
    """
    if _ending(path) in _ALSO_PACKED:
        raise InputError(f"data file {path.name!r} cannot be looked at; unpack it first")
    try:
        with _opened(path) as lines:
            # The first line is a title.
            for number, line in enumerate(islice(lines, 1, None), start=2):
                if "/" in line or "~" in line or ".." in line:
                    _check_line(path.name, number, line)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"data file {path.name!r} cannot be read: {error}") from None


def _ending(path: Path) -> str:
    """Return what LAMMPS takes for the ending of a name: of one that begins with its only dot it is all the rest."""
    _, dot, ending = path.name.rpartition(".")
    return ending.lower() if dot else ""


def _opened(path: Path) -> IO[str]:
    unpacked: Callable[..., IO[str]] = _PACKED.get(_ending(path), open)
    return unpacked(path, "rt", encoding="utf-8", errors="replace")


def _check_line(name: str, number: int, line: str) -> None:
    words = line.partition("#")[0].split()
    try:
        rules.check_files([Word(word.strip("'\""), quoted=False) for word in words])
    except InputError as error:
        raise InputError(f"data file {name!r}, line {number}: {error}") from None
