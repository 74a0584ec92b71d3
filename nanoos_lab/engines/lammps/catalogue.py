"""The potential files that come with LAMMPS: which elements they are for, and where they are from."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.base import PotentialInfo
from nanoos_lab.engines.lammps import library, potentials

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

#: The library that a MEAM parameter file goes with unless told otherwise.
_MEAM_LIBRARY = "library.meam"
_SYMBOL = re.compile(r"[A-Z][a-z]?")


def covering(elements: Collection[str]) -> list[PotentialInfo]:
    """Return the files that have all of these elements, by name."""
    folder = library.potentials_folder()
    if folder is None:
        return []
    wanted = set(elements)
    return [
        info
        for info, gaps in _all(folder)
        if wanted <= set(info.elements) and not any(set(gap) <= wanted for gap in gaps)
    ]


@cache
def _all(folder: Path) -> tuple[tuple[PotentialInfo, tuple[tuple[str, str, str], ...]], ...]:
    """Read every file once; what is installed does not change while we run."""
    meam = _read(folder / _MEAM_LIBRARY, "meam")
    found = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name.lower()):
        style = potentials.style_of(path.name)
        if style is None or (style == "meam" and path.name.startswith("library")):
            continue
        potential = meam if style == "meam" else _read(path, style)
        if potential is None:
            continue
        elements = tuple(dict.fromkeys(potential.elements.values()))
        if style == "meam":
            elements = _meam_elements(path, elements)
        if elements:
            info = PotentialInfo(
                name=path.name, kind=style, elements=elements, units=potential.units, citation=potential.citation
            )
            found.append((info, potential.gaps))
    return tuple(found)


def _read(path: Path, style: str) -> potentials.Potential | None:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return potentials.parse(lines, style)
    except (OSError, InputError):
        return None


def _meam_elements(path: Path, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the elements of a MEAM parameter file: only its name says them; none if the library lacks one."""
    symbols = tuple(_SYMBOL.findall(path.stem))
    return symbols if "".join(symbols) == path.stem and set(symbols) <= set(known) else ()
