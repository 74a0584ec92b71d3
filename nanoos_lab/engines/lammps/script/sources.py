"""Whether the files that a script includes, and the potentials that it names, are there, and these in its units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.engines.lammps import conversion, potentials
from nanoos_lab.engines.lammps.script.includes import commands_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nanoos_lab.engines.lammps.script.includes import Text

_MISSING = "there is no such file; bring it with files=[…]"
#: LAMMPS's units where a script does not say.
_USUAL = "lj"
#: Commands through which a script may have units that it does not say itself.
_ELSEWHERE = frozenset({"if", "include", "read_restart"})


def check(texts: Sequence[Text], found: Mapping[str, Path]) -> None:
    """Check the files of the commands ``include``, and the potential files of the commands ``pair_coeff``.

    Parameters
    ----------
    texts
        The script, and what it includes.
    found
        The files that go with it, by name.

    Raises
    ------
    ParameterError
        If a file is neither there nor written by the script, or is in units in which LAMMPS could not take it.
    """
    commands = list(commands_of(texts))
    reads = ("include", "pair_coeff")
    others = " ".join(word for words in commands if words[0] not in reads for word in words[1:])
    for text in texts:
        for name in text.included:
            if name not in found and "$" not in name and Path(name).name not in others:
                raise ParameterError("script", f"include {name}", _MISSING)
    unit_system = _units(commands)
    for style, word in conversion.arguments(commands):
        name = Path(word).name
        if name in found and unit_system is not None:
            conversion.check(found[name], style, unit_system, "script")
        elif name not in found and _is_missing(word, others):
            raise ParameterError("script", f"pair_coeff … {word}", _MISSING)


def _is_missing(word: str, others: str) -> bool:
    """Whether a word can only be a potential file that nobody has brought, and that no other command may write."""
    path = Path(word)
    is_file = potentials.style_of(word) is not None and "$" not in word and not path.is_absolute()
    return is_file and path.name not in others


def _units(commands: Sequence[Sequence[str]]) -> str | None:
    """Return the units of a script; None if its text alone does not say."""
    said = {words[1] for words in commands if words[0] == "units" and len(words) > 1}
    if len(said) == 1 and "$" not in "".join(said):
        return said.pop()
    return None if said or any(words[0] in _ELSEWHERE for words in commands) else _USUAL
