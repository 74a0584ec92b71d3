"""What potential files say of themselves: pure readers of LAMMPS's formats.

Formats: LAMMPS manual, pages ``pair_eam``, ``pair_meam``, ``pair_tersoff``, ``pair_sw`` and their kin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby, islice, product
from typing import TYPE_CHECKING

from ase.data import atomic_numbers, chemical_symbols

from nanoos_lab.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Ending of a file name → pair style; the longest ending that fits counts.
STYLES: dict[str, str] = {
    ".eam": "eam",
    ".eam.alloy": "eam/alloy",
    ".eam.fs": "eam/fs",
    ".adp": "adp",
    ".meam": "meam",
    ".tersoff": "tersoff",
    ".tersoff.mod": "tersoff/mod",
    ".tersoff.modc": "tersoff/mod/c",
    ".tersoff.zbl": "tersoff/zbl",
    ".sw": "sw",
    ".vashishta": "vashishta",
    ".edip": "edip",
}

#: Beginning of the name of a ReaxFF file, which has no ending of its own.
_REAXFF = "ffield.reax"
#: Pair styles that can be chosen.
NAMES = frozenset((*STYLES.values(), "reaxff"))
#: Pair styles whose files are in ``real`` units; those of all others are in ``metal`` ones.
REAL = frozenset(("reaxff",))

#: Words of one element in a MEAM library.
_MEAM_WORDS = 19


@dataclass(frozen=True, kw_only=True)
class Potential:
    """A potential file: what it is for and where it comes from."""

    #: LAMMPS pair style.
    style: str
    #: Names by which it knows elements, in its own order, with the chemical symbol of each.
    elements: dict[str, str]
    #: Combinations of three elements without parameters; only for styles that need all.
    gaps: tuple[tuple[str, str, str], ...] = ()
    #: LAMMPS unit system; "metal" if it does not say.
    units: str = "metal"
    #: The publication, if it says.
    citation: str = ""

    def name_of(self, symbol: str) -> str | None:
        """Return the file's name for a chemical symbol, None if it does not have the element."""
        if self.elements.get(symbol) == symbol:
            return symbol
        return next((name for name, known in self.elements.items() if known == symbol), None)


def style_of(file_name: str) -> str | None:
    """Return the pair style that the ending of a file name stands for, None if unknown."""
    lower = file_name.lower()
    if lower.startswith(_REAXFF) and not lower.endswith(".lg"):
        # One with the correction of low gradients needs an option of its own.
        return "reaxff"
    fitting = [ending for ending in STYLES if lower.endswith(ending)]
    return STYLES[max(fitting, key=len)] if fitting else None


def parse(lines: Iterable[str], style: str) -> Potential:
    """Read what a potential file is for; only as many lines as that takes.

    Parameters
    ----------
    lines
        The lines of the file.
    style
        Its pair style.

    Raises
    ------
    InputError
        If the text is not what the style asks for.
    """
    reader = _READERS.get(style)
    if reader is None:
        raise InputError(f"pair style {style!r} is not one of {', '.join(sorted(_READERS))}")
    supply = iter(lines)
    head = list(islice(supply, 1))
    try:
        elements, gaps = reader(head, supply)
    except (ValueError, IndexError, KeyError):
        raise InputError(f"it is not a {style} potential file") from None
    if not elements:
        raise InputError(f"it is not a {style} potential file: it names no element")
    return Potential(
        style=style,
        elements=elements,
        gaps=gaps,
        units=units_in(head[0] if head else "") or ("real" if style in REAL else "metal"),
        citation=_tag(head[0] if head else "", "CITATION"),
    )


_Content = tuple[dict[str, str], tuple[tuple[str, str, str], ...]]


def _read_funcfl(head: list[str], lines: Iterable[str]) -> _Content:
    second = next(iter(lines), "").split()
    symbol = chemical_symbols[int(second[0])]
    float(second[1])
    return {symbol: symbol}, ()


def _read_setfl(head: list[str], lines: Iterable[str]) -> _Content:
    words = list(islice(lines, 3))[2].split()
    names = words[1 : 1 + int(words[0])]
    if len(names) != int(words[0]):
        raise ValueError(words)
    return {name: name for name in names}, ()


def _read_meam_library(head: list[str], lines: Iterable[str]) -> _Content:
    words = [word.strip("'\"") for word in _words([*head, *lines])]
    if len(words) % _MEAM_WORDS:
        raise ValueError(len(words))
    starts = range(0, len(words), _MEAM_WORDS)
    return {words[start]: _meam_symbol(words[start], words[start + 3]) for start in starts}, ()


def _meam_symbol(name: str, number: str) -> str:
    """Return the symbol of a library's entry; some libraries have 1 for every atomic number."""
    return name if name in atomic_numbers else chemical_symbols[round(float(number))]


def _read_triples(head: list[str], lines: Iterable[str]) -> _Content:
    entries: set[tuple[str, ...]] = set()
    for named, group in groupby(_words([*head, *lines]), key=lambda word: not _is_number(word)):
        words = list(group)
        if named and len(words) != 3:
            raise ValueError(words)
        if named:
            entries.add(tuple(words))
    names = sorted({name for entry in entries for name in entry if name in atomic_numbers})
    gaps = tuple((a, b, c) for a, b, c in product(names, repeat=3) if (a, b, c) not in entries)
    return {name: name for name in names}, gaps


def _read_reaxff(head: list[str], lines: Iterable[str]) -> _Content:
    supply = iter(lines)
    general = int(next(supply, "").split()[0])
    count = int(list(islice(supply, general + 1))[general].split()[0])
    # Three more lines of headings, then four lines for each element.
    names = [line.split()[0] for line in list(islice(supply, 3 + 4 * count))[3::4]]
    if len(names) != count:
        raise ValueError(names)
    return {name: name for name in names if name in atomic_numbers and name != "X"}, ()


def _words(lines: Iterable[str]) -> list[str]:
    return [word for line in lines for word in line.split("#", 1)[0].split()]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _tag(first: str, name: str) -> str:
    """Return the value of a tag in the first line, such as ``UNITS: metal``."""
    found = re.search(rf"\b{name}:\s*(.*?)\s*(?:\b[A-Z]{{4,}}:|$)", first)
    return found.group(1) if found else ""


def units_in(first: str) -> str:
    """Return the units that the first line of a potential file names; empty if it does not."""
    # The first word: some files repeat other tags after it.
    return _tag(first, "UNITS").split(" ")[0]


_READERS: dict[str, Callable[[list[str], Iterable[str]], _Content]] = {
    "eam": _read_funcfl,
    "eam/alloy": _read_setfl,
    "eam/fs": _read_setfl,
    "adp": _read_setfl,
    "meam": _read_meam_library,
    "reaxff": _read_reaxff,
    **dict.fromkeys(
        ["tersoff", "tersoff/mod", "tersoff/mod/c", "tersoff/zbl", "sw", "vashishta", "edip"], _read_triples
    ),
}
