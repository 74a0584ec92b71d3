"""How far the forces of a force field reach, as far as its commands and files say: pure but for reading these files."""

from __future__ import annotations

from contextlib import suppress
from itertools import takewhile
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.lammps import conversion, potentials, styles
from nanoos_lab.engines.lammps.script.text import is_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

#: First part of pair styles whose arguments end with cut-offs → how many coefficients a pair of types has without a
#: cut-off of its own (manual, pages of the styles).
_PAIRWISE = {"born": 5, "buck": 3, "coul": 0, "lj": 2, "lj96": 2, "mie": 4, "morse": 3, "zbl": 2}
#: Parts of the names of their kin that end with other numbers.
_EXCEPT = frozenset({"slater", "soft", "streitz"})
#: Parts of the names of styles whose charges act on each other at any distance, whatever the cut-off.
_ENDLESS = frozenset({"long", "msm"})
#: Parts of the names of styles whose first number is a damping.
_DAMPED = frozenset({"debye", "dsf", "wolf"})
#: Place of the cut-off of styles that begin with the four types and the length of TIP4P.
_TIP4P = 5


def of(commands: Sequence[Sequence[str]], files: Mapping[str, Path]) -> float | None:
    """Return the distance in Å to which forces reach at least; None if nothing says it.

    At least, for there are styles that do not say theirs, and forces between charges that have no end, which whoever
    repeats a cell does not get rid of.

    Parameters
    ----------
    commands
        The words of each command, in units of Å.
    files
        Potential files by the name that commands have for them.
    """
    # Another pair_style makes LAMMPS forget the one before, and its coefficients.
    last = max((place for place, words in enumerate(commands) if words[0] == "pair_style"), default=0)
    mine = commands[last:]
    return max((far for far in (*_of_styles(mine), *_of_files(mine, files)) if far > 0), default=None)


def _of_styles(commands: Sequence[Sequence[str]]) -> Iterator[float]:
    parts = styles.parts_of(commands).get("pair", frozenset())
    for name, *words in commands:
        if name != "pair_style" or not words:
            continue
        scaled = words[0].startswith("hybrid/scaled")
        starts = [place for place, word in enumerate(words) if place == 0 or word in parts]
        for start, end in zip(starts, [*starts[1:], len(words)], strict=True):
            # Before each style of a scaled one is its factor.
            given = words[start + 1 : end - (scaled and end < len(words))]
            if not _has_others(words[start], commands, hybrid=bool(parts)):
                yield from _cutoffs(words[start], given)


def _cutoffs(style: str, words: Sequence[str]) -> Iterator[float]:
    pieces = _plain(style).split("/")
    if pieces[0] not in _PAIRWISE or _EXCEPT & set(pieces):
        return
    if "off" in words:
        # Of dispersion or charges, one of which the cut-off would be that of.
        return
    numbers = [float(word) for word in takewhile(is_number, reversed(words))][::-1]
    if "tip4p" in pieces:
        yield from numbers[_TIP4P : _TIP4P + 1]
    elif not _ENDLESS & set(pieces):
        yield from numbers[1:] if _DAMPED & set(pieces) else numbers
    elif pieces[0] != "coul":
        # Of CHARMM's there are two before that of the charges.
        yield from numbers[1:2] if pieces[1].startswith("charmm") else numbers[:1]


def _has_others(style: str, commands: Sequence[Sequence[str]], *, hybrid: bool) -> bool:
    """Whether a pair of types has a cut-off of its own, instead of that of the style, or might have."""
    usual = _PAIRWISE.get(style.split("/")[0], 0)
    allowed = {usual, 4} if "/charmm" in style else {usual}
    given = [words[3:] for words in commands if words[0] == "pair_coeff"]
    if hybrid:
        given = [words[1:] for words in given if words[:1] == [style]]
    return any(len(words) not in allowed for words in given)


def _of_files(commands: Sequence[Sequence[str]], files: Mapping[str, Path]) -> Iterator[float]:
    coefficients = [words for words in commands if words[0] == "pair_coeff"]
    named = {word for words in coefficients for word in words[1:]}
    for style, word in sorted(set(conversion.arguments(commands))):
        kind = _plain(style) or potentials.style_of(word) or ""
        if word not in files or kind not in potentials.NAMES:
            continue
        with files[word].open(encoding="utf-8", errors="replace") as lines:
            if kind == "meam":
                # Its library says nothing of it, and where the other file says nothing either, LAMMPS does.
                yield potentials.meam_cutoff(lines)
                continue
            # LAMMPS tells of a file that is none of these.
            with suppress(InputError):
                yield potentials.parse(lines, kind).cutoff(named) or 0.0


def _plain(style: str) -> str:
    """Return the name of a style without that of an accelerated variant."""
    return next((style.removesuffix(end) for end in styles.VARIANTS if style.endswith(end)), style)
