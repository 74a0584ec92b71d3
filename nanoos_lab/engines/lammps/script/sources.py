"""Whether the files that a script includes, and the potentials that it names, are there, and these in its units."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.engines.lammps import conversion, potentials
from nanoos_lab.engines.lammps.script.includes import commands_of, included_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nanoos_lab.engines.lammps.script.includes import Text

_MISSING = "there is no such file; bring it with files=[…]"
_VARIABLE = re.compile(r"\$(?:\{\w+\}|\(.*\)|\w)")
#: LAMMPS's units where a script does not say.
_USUAL = "lj"
#: Commands through which a script may have units that it does not say itself.
_ELSEWHERE = frozenset({"if", "include", "read_restart"})


def check(texts: Sequence[Text], found: Mapping[str, Path], *, allow_shell: bool) -> None:
    """Check the files of the commands ``include``, and the potential files of the commands ``pair_coeff``.

    Parameters
    ----------
    texts
        The script, and what it includes.
    found
        The files that go with it, by name.
    allow_shell
        Whether it may bring files by programs, and include them from anywhere.

    Raises
    ------
    ParameterError
        If a file is neither there nor written by the script, or is in units in which LAMMPS could not take it.
    """
    commands = list(commands_of(texts))
    reads = ("include", "pair_coeff")
    others = [" ".join(words).split() for words in commands if words[0] not in reads]
    for name in () if allow_shell else map(included_by, commands):
        if name and name not in found and "$" not in name and not _may_be_written(name, others):
            raise ParameterError("script", f"include {name}", _MISSING)
    unit_system = _units(commands)
    for style, word in conversion.arguments(commands):
        name = Path(word).name
        if name in found and unit_system is not None:
            conversion.check(found[name], style, unit_system, "script")
        elif name not in found and _is_potential(word) and not _may_be_written(name, others):
            raise ParameterError("script", f"pair_coeff … {word}", _MISSING)


def _is_potential(word: str) -> bool:
    """Whether a word can only be the name of a potential file."""
    return potentials.style_of(word) is not None and "$" not in word and not Path(word).is_absolute()


def _may_be_written(name: str, others: Sequence[Sequence[str]]) -> bool:
    """Whether a file may be one that another command writes, whose name may be in it with variables."""
    for words in others:
        for before, word in pairwise(words):
            writes = before in ("append", "file", "log") or before.startswith("write_")
            if name in word or _stands_for(word.strip("'\""), name, alone=writes):
                return True
    return False


def _stands_for(word: str, name: str, *, alone: bool) -> bool:
    """Whether a word with variables may be a name once they are filled in; nothing but variables only if `alone`."""
    literal = _VARIABLE.split(word)
    if len(literal) < 2 or not (alone or re.search(r"\w", "".join(literal))):
        return False
    return re.fullmatch(".*".join(map(re.escape, literal)), name) is not None


def _units(commands: Sequence[Sequence[str]]) -> str | None:
    """Return the units of a script; None if its text alone does not say."""
    said = {words[1] for words in commands if words[0] == "units" and len(words) > 1}
    if len(said) == 1 and "$" not in "".join(said):
        return said.pop()
    return None if said or any(words[0] in _ELSEWHERE for words in commands) else _USUAL
