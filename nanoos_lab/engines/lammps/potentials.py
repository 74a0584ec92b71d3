"""What potential files say of themselves: pure readers of LAMMPS's formats.

Formats: LAMMPS manual, pages ``pair_eam``, ``pair_meam``, ``pair_tersoff``, ``pair_sw`` and their kin.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby, islice, product
from typing import TYPE_CHECKING

from ase.data import atomic_numbers, chemical_symbols

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.lammps.script.text import is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

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
#: Where its forces end in Å unless a parameter file says otherwise (manual, page ``pair_meam``).
_MEAM_CUTOFF = 4.0
#: Place of the general parameter of a ReaxFF file that says where its forces end.
_TAPER = 12
#: Pair style → where forces end in Å, from the parameters of three elements in the order of the manual.
_REACH: dict[str, Callable[[Sequence[float]], float]] = {
    "tersoff": lambda given: given[10] + given[11],
    "tersoff/mod": lambda given: given[7] + given[8],
    "tersoff/mod/c": lambda given: given[7] + given[8],
    "tersoff/zbl": lambda given: given[10] + given[11],
    "sw": lambda given: given[1] * given[2],
    "vashishta": lambda given: given[8],
    "edip": lambda given: given[2],
}


@dataclass(frozen=True, kw_only=True)
class Potential:
    """A potential file: what it is for and where it comes from."""

    #: LAMMPS pair style.
    style: str
    #: Names by which it knows elements, in its own order, with the chemical symbol of each.
    elements: dict[str, str]
    #: Combinations of three elements without parameters; only for styles that need all.
    gaps: tuple[tuple[str, str, str], ...] = ()
    #: Distances in Å beyond which atoms do not act on each other, by the elements that they are for; () for all.
    cutoffs: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    #: LAMMPS unit system; "metal" if it does not say.
    units: str = "metal"
    #: The publication, if it says.
    citation: str = ""

    def name_of(self, symbol: str) -> str | None:
        """Return the file's name for a chemical symbol, None if it does not have the element."""
        if self.elements.get(symbol) == symbol:
            return symbol
        return next((name for name, known in self.elements.items() if known == symbol), None)

    def cutoff(self, symbols: Collection[str]) -> float | None:
        """Return the distance in Å beyond which atoms of these elements do not act on each other, if the file says."""
        return max((far for elements, far in self.cutoffs.items() if set(elements) <= set(symbols)), default=None)


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
        content = reader(head, supply)
    except (ValueError, IndexError, KeyError):
        raise InputError(f"it is not a {style} potential file") from None
    if not content.elements:
        raise InputError(f"it is not a {style} potential file: it names no element")
    if style in _REACH:
        content = replace(content, cutoffs=_cutoffs(content.entries, _REACH[style]))
    return Potential(
        style=style,
        elements=content.elements,
        gaps=content.gaps,
        cutoffs=content.cutoffs,
        units=units_in(head[0] if head else "") or ("real" if style in REAL else "metal"),
        citation=_tag(head[0] if head else "", "CITATION"),
    )


@dataclass(frozen=True, kw_only=True)
class _Content:
    """What the body of a file says."""

    #: As those of a potential.
    elements: dict[str, str]
    gaps: tuple[tuple[str, str, str], ...] = ()
    cutoffs: Mapping[tuple[str, ...], float] = field(default_factory=dict)
    #: Parameters of each combination of elements that has some.
    entries: Mapping[tuple[str, ...], Sequence[str]] = field(default_factory=dict)


def _read_funcfl(head: list[str], lines: Iterable[str]) -> _Content:
    second = next(iter(lines), "").split()
    symbol = chemical_symbols[int(second[0])]
    float(second[1])
    return _Content(elements={symbol: symbol}, cutoffs=_of_table(next(iter(lines), "")))


def _read_setfl(head: list[str], lines: Iterable[str]) -> _Content:
    words = list(islice(lines, 3))[2].split()
    names = words[1 : 1 + int(words[0])]
    if len(names) != int(words[0]):
        raise ValueError(words)
    return _Content(elements={name: name for name in names}, cutoffs=_of_table(next(iter(lines), "")))


def _of_table(line: str) -> dict[tuple[str, ...], float]:
    """Return the cut-off from the line that says how long the tables of an EAM file are."""
    with suppress(ValueError, IndexError):
        return {(): float(line.split()[4])}
    return {}


def _read_meam_library(head: list[str], lines: Iterable[str]) -> _Content:
    words = [word.strip("'\"") for word in _words([*head, *lines])]
    if len(words) % _MEAM_WORDS:
        raise ValueError(len(words))
    starts = range(0, len(words), _MEAM_WORDS)
    return _Content(elements={words[start]: _meam_symbol(words[start], words[start + 3]) for start in starts})


def _meam_symbol(name: str, number: str) -> str:
    """Return the symbol of a library's entry; some libraries have 1 for every atomic number."""
    return name if name in atomic_numbers else chemical_symbols[round(float(number))]


def _read_triples(head: list[str], lines: Iterable[str]) -> _Content:
    entries: dict[tuple[str, ...], Sequence[str]] = {}
    entry: tuple[str, ...] = ()
    for named, group in groupby(_words([*head, *lines]), key=lambda word: not is_number(word)):
        words = list(group)
        if named and len(words) != 3:
            raise ValueError(words)
        if named:
            entry = tuple(words)
        entries[entry] = () if named else words
    entries.pop((), None)
    names = sorted({name for entry in entries for name in entry if name in atomic_numbers})
    gaps = tuple((a, b, c) for a, b, c in product(names, repeat=3) if (a, b, c) not in entries)
    return _Content(elements={name: name for name in names}, gaps=gaps, entries=entries)


def _cutoffs(
    entries: Mapping[tuple[str, ...], Sequence[str]], reach: Callable[[Sequence[float]], float]
) -> dict[tuple[str, ...], float]:
    found = {}
    for elements, words in entries.items():
        # LAMMPS tells of what is missing; it knows more of its formats.
        with suppress(ValueError, IndexError):
            found[elements] = reach([float(word) for word in words])
    return found


def _read_reaxff(head: list[str], lines: Iterable[str]) -> _Content:
    supply = iter(lines)
    general = int(next(supply, "").split()[0])
    first = list(islice(supply, general + 1))
    count = int(first[general].split()[0])
    far = float(first[_TAPER].split()[0]) if general > _TAPER else None
    # Three more lines of headings, then four lines for each element.
    names = [line.split()[0] for line in list(islice(supply, 3 + 4 * count))[3::4]]
    if len(names) != count:
        raise ValueError(names)
    known = {name: name for name in names if name in atomic_numbers and name != "X"}
    return _Content(elements=known, cutoffs={(): far} if far else {})


def meam_cutoff(lines: Iterable[str]) -> float:
    """Return where forces end in Å, as a parameter file of MEAM says it, or else as LAMMPS has it."""
    settings = (line.split("#")[0].replace("=", " ").split() for line in lines)
    said = [words[1] for words in settings if words[:1] == ["rc"] and len(words) > 1]
    with suppress(ValueError, IndexError):
        return float(said[-1])
    return _MEAM_CUTOFF


def _words(lines: Iterable[str]) -> list[str]:
    return [word for line in lines for word in line.split("#", 1)[0].split()]


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
