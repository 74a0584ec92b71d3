"""Whether the potential files that a script names are there, and in its units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.engines.lammps import potentials
from nanoos_lab.engines.lammps.script.text import words_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nanoos_lab.engines.lammps.script.text import Line

#: LAMMPS's units where a script does not say.
_USUAL = "lj"
#: Commands through which a script may have units that it does not say itself.
_ELSEWHERE = frozenset({"if", "include", "read_restart"})
#: Units between which LAMMPS converts potentials, and the styles for which it does not.
_CONVERTED, _AS_THEY_ARE = frozenset({"metal", "real"}), frozenset({"meam", "reaxff"})


def check(lines: Sequence[Line], found: Mapping[str, Path]) -> None:
    """Check the potential files of the commands ``pair_coeff``.

    Parameters
    ----------
    lines
        The script.
    found
        The files that go with it, by name.

    Raises
    ------
    ParameterError
        If a file is neither there nor written by the script, or is in units in which LAMMPS could not take it.
    """
    commands = [[word.text for word in words_of(line.text)] for line in lines]
    others = " ".join(word for words in commands if words[0] != "pair_coeff" for word in words[1:])
    unit_system = _units(commands)
    for words in commands:
        for word in words[1:] if words[0] == "pair_coeff" else ():
            style, name = potentials.style_of(word), Path(word).name
            if style is None or "$" in word:
                continue
            if name in found:
                _check_units(found[name], style, unit_system)
            elif name not in others and not Path(word).is_absolute():
                raise ParameterError("script", f"pair_coeff … {word}", "there is no such file; bring it with files=[…]")


def _units(commands: Sequence[Sequence[str]]) -> str | None:
    """Return the units of a script; None if its text alone does not say."""
    said = {words[1] for words in commands if words[0] == "units" and len(words) > 1}
    if len(said) == 1 and "$" not in "".join(said):
        return said.pop()
    return None if said or any(words[0] in _ELSEWHERE for words in commands) else _USUAL


def _check_units(path: Path, style: str, unit_system: str | None) -> None:
    with path.open(encoding="utf-8", errors="replace") as file:
        own = potentials.units_in(file.readline())
    if unit_system is None or own in ("", unit_system):
        return
    if style not in _AS_THEY_ARE and {own, unit_system} == _CONVERTED:
        return
    raise ParameterError("script", f"units {unit_system}", f"the potential {path.name} is in units {own!r}")
