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
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Endings of the variants of a style that LAMMPS chooses by itself.
VARIANTS = ("/omp", "/opt", "/gpu", "/intel", "/kk")


#: What a command chooses a style of, and which of its words that is.
_PLACES = {
    **{f"{kind}_style": (kind, 1) for kind in ("angle", "atom", "bond", "dihedral", "improper", "kspace", "pair")},
    "run_style": ("integrate", 1),
    "min_style": ("minimize", 1),
    "region": ("region", 2),
    "write_dump": ("dump", 2),
    "compute": ("compute", 3),
    "dump": ("dump", 3),
    "fix": ("fix", 3),
}
#: Words in the place of a style that stand for the absence of one.
_NONE = frozenset(("none", "delete", "skip"))
#: Commands that may bring styles of which a text says nothing.
_ELSE = ("include", "read_restart")
#: Which word of the commands of coefficients names one of the styles that a hybrid style is made of.
_PARTS = {"pair": 3, "bond": 2, "angle": 2, "dihedral": 2, "improper": 2}


def check_command(words: Sequence[str], path: Path | None = None) -> None:
    """Raise if a command chooses a style that LAMMPS does not have; where it is not installed nobody knows.

    Parameters
    ----------
    words
        The command; a style with a variable in it is let through, and so is one in capitals, which LAMMPS keeps to
        itself.
    path
        The executable that has the same styles; that of the tasks static, relax and md unless given.

    Raises
    ------
    UnknownNameError
        Carries the nearest.
    """
    kind, place = _PLACES.get(words[0], ("", 0))
    style = words[place] if kind and len(words) > place else ""
    field = words[0] if words[0].endswith("_style") else f"style of {words[0]}"
    _check(field, style, kind, path)
    if kind in _PARTS and style.startswith("hybrid"):
        # Before the first style of a scaled one is its factor; what follows may be an argument of it.
        first = place + 2 if style.startswith("hybrid/scaled") else place + 1
        _check(f"style in {words[0]} {style}", words[first] if len(words) > first else "", kind, path)


def _check(field: str, style: str, kind: str, path: Path | None) -> None:
    if not style or style in _NONE or "$" in style or style != style.lower():
        return
    known = names(kind, path)
    if known and style not in known:
        raise UnknownNameError(field, style, [name for name in known if not name.endswith(VARIANTS)])


def parts_of(commands: Sequence[Sequence[str]], path: Path | None = None) -> dict[str, frozenset[str]]:
    """Return the styles that the hybrid styles of commands are made of, by kind; not where their text does not say.

    Parameters
    ----------
    commands
        All commands, in the place of those that include files the ones that are there.
    path
        As for `check_command`.
    """
    found: dict[str, frozenset[str]] = {}
    if any(name in words[0] or (words[0] == "if" and name in " ".join(words)) for words in commands for name in _ELSE):
        return found
    for kind in _PARTS:
        command = f"{kind}_style"
        chosen = [words[1:] for words in commands if words[0] == command]
        nested = any(command in word for words in commands for word in words[1:])
        if chosen and not nested and all(words and words[0].startswith("hybrid") for words in chosen):
            said = {word for words in chosen for word in words[1:]}
            # LAMMPS too takes for a style, not an argument of the one before, what is one.
            known = names(kind, path)
            if known and "$" not in "".join(said):
                found[kind] = known & said
    return found


def check_coefficients(words: Sequence[str], parts: Mapping[str, frozenset[str]], path: Path | None = None) -> None:
    """Raise if a command of coefficients is for a style that the hybrid one is not made of.

    Parameters
    ----------
    words
        The command.
    parts
        As `parts_of` returns it.
    path
        As for `check_command`.

    Raises
    ------
    UnknownNameError
        Carries the nearest.
    """
    kind, _, rest = words[0].partition("_")
    place = _PARTS.get(kind, 0)
    style = words[place] if rest == "coeff" and kind in parts and len(words) > place else ""
    if not style or style in _NONE or "$" in style or style in parts[kind]:
        return
    _check(f"style in {words[0]}", style, kind, path)
    raise UnknownNameError(f"style in {words[0]}", style, parts[kind], f"It is not in {kind}_style hybrid.")


def names(kind: str, path: Path | None = None) -> frozenset[str]:
    """Return the styles of a kind, such as "pair" or "kspace", that LAMMPS has here; none if it cannot be asked."""
    path = path or _of_tasks()
    if path is None:
        return frozenset()
    text = _help(path, path.stat().st_mtime_ns)
    found = re.search(rf"^\* {kind} styles:?\s*\n(.*?)(?=^\* |\Z)", text, re.MULTILINE | re.DOTALL | re.IGNORECASE)
    return frozenset(found.group(1).split()) if found else frozenset()


def _of_tasks() -> Path | None:
    """Return the executable that the user has named, or else that of the wheel."""
    named = os.environ.get(program.variable(executable.NAME))
    return program.find(executable.NAME) if named else executable.of_wheel()


@lru_cache(maxsize=10)
def _help(path: Path, _changed: int) -> str:
    """Ask an executable for what it has; one that was replaced has another time."""
    mpi = library.mpi_library()
    environment = {"LD_LIBRARY_PATH": str(mpi.parent)} if mpi and path == executable.of_wheel() else {}
    return program.answer(path, "-h", environment=environment)
