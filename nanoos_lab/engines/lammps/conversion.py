"""In which units potential files are, and whether LAMMPS takes them in those of a run.

LAMMPS takes the numbers of a file that names no units as they are. Where the first line has ``UNITS: …``, some pair
styles convert from ``metal`` to ``real`` and back, and all others refuse the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.engines.lammps import library, potentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

#: Units between which LAMMPS converts, and first parts of the pair styles that do, as releases of 2021 and 2025 say
#: when they read the files.
_UNITS = frozenset({"metal", "real"})
_STYLES = frozenset(
    {"aip", "drip", "eam", "eim", "gw", "ilp", "kolmogorov", "lebedeva", "nb3b", "saip", "sw", "tersoff", "vashishta"}
)


def arguments(commands: Sequence[Sequence[str]]) -> Iterator[tuple[str, str]]:
    """Yield each argument of the commands ``pair_coeff``, after the pair style that it is for; "" if none says it."""
    chosen = ""
    for name, *words in commands:
        if name == "pair_style":
            chosen = words[0] if words else ""
        elif name == "pair_coeff":
            style = "".join(words[2:3]) if chosen.startswith("hybrid") else chosen
            for word in words[2:]:
                yield "" if "$" in style else style, word


def check(path: Path, style: str, unit_system: str, field: str) -> None:
    """Raise unless LAMMPS takes a potential file as it is meant.

    Parameters
    ----------
    path
        The file; one that does not say its units, and does not come with LAMMPS, is let through.
    style
        The pair style that reads it; "" if only its name says that.
    unit_system
        LAMMPS's units of the run.
    field
        The parameter that names the file.

    Raises
    ------
    ParameterError
        Names the units of both.
    """
    kind = style or potentials.style_of(path.name) or ""
    with path.open(encoding="utf-8", errors="replace") as lines:
        said = potentials.units_in(next(lines, ""))
    own = said or _unsaid(path, kind)
    if own in ("", unit_system):
        return
    units = f"units {unit_system}"
    if not said:
        silent = f"the potential {path.name} is in units {own!r} but does not say so, and LAMMPS would take it as it is"
        raise ParameterError(field, units, silent)
    if {own, unit_system} != _UNITS or kind.split("/")[0] not in _STYLES:
        raise ParameterError(field, units, f"the potential {path.name} is in units {own!r}; LAMMPS does not convert it")


def _unsaid(path: Path, style: str) -> str:
    """Return the units of a file that does not say them; "" if nobody knows."""
    if style.split("/")[0] in potentials.REAL:
        # Its formulas have constants in these units.
        return "real"
    return "metal" if path.parent == library.potentials_folder() and potentials.style_of(path.name) else ""
