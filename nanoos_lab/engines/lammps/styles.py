"""The styles that the LAMMPS of this machine has: it says so itself."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import UnknownNameError
from nanoos_lab.engines import program
from nanoos_lab.engines.lammps import executable, library

if TYPE_CHECKING:
    from pathlib import Path

#: Endings of the variants of a style that LAMMPS chooses by itself.
_VARIANTS = ("/omp", "/opt", "/gpu", "/intel", "/kk")


def check(kind: str, style: str) -> None:
    """Raise if LAMMPS has no such style; where it is not installed nobody knows.

    Parameters
    ----------
    kind
        What it is for, such as "pair" or "kspace".
    style
        Its name.

    Raises
    ------
    UnknownNameError
        Carries the nearest.
    """
    known = names(kind)
    if known and style not in (*known, "none"):
        raise UnknownNameError(f"{kind}_style", style, [name for name in known if not name.endswith(_VARIANTS)])


def names(kind: str) -> frozenset[str]:
    """Return the styles of a kind that LAMMPS has here; none if it cannot be asked."""
    path = program.find(executable.NAME) if os.environ.get(program.variable(executable.NAME)) else executable.of_wheel()
    if path is None:
        return frozenset()
    text = _help(path, path.stat().st_mtime_ns)
    found = re.search(rf"^\* {kind} styles:?\s*\n(.*?)(?=^\* |\Z)", text, re.MULTILINE | re.DOTALL | re.IGNORECASE)
    return frozenset(found.group(1).split()) if found else frozenset()


@lru_cache(maxsize=10)
def _help(path: Path, _changed: int) -> str:
    """Ask an executable for what it has; one that was replaced has another time."""
    mpi = library.mpi_library()
    environment = {"LD_LIBRARY_PATH": str(mpi.parent)} if mpi and path == executable.of_wheel() else {}
    return program.answer(path, "-h", environment=environment)
