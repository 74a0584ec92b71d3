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

#: First parts of pair styles whose arguments end with one or two cut-offs (manual, page ``pair_style`` and those of
#: the styles); a shorter number before them, such as a damping, does no harm.
_ENDS_WITH_CUTOFFS = frozenset(
    (
        *("beck", "born", "buck", "colloid", "coul", "gauss", "lj", "lj96", "mie"),
        *("mm3", "momb", "morse", "nm", "soft", "ufm", "wf", "yukawa", "zbl"),
    )
)
#: Last parts of their kin that end with other numbers.
_EXCEPT = frozenset({"soft"})


def of(commands: Sequence[Sequence[str]], files: Mapping[str, Path]) -> float | None:
    """Return the distance in Å to which forces reach at least; None if nothing says it.

    At least, for coefficients may have longer cut-offs of their own, and styles there are that do not say theirs.

    Parameters
    ----------
    commands
        The words of each command, in units of Å.
    files
        Potential files by the name that commands have for them.
    """
    return max((*_of_styles(commands), *_of_files(commands, files)), default=None)


def _of_styles(commands: Sequence[Sequence[str]]) -> Iterator[float]:
    parts = styles.parts_of(commands).get("pair", frozenset())
    for name, *words in commands:
        if name != "pair_style":
            continue
        starts = [place for place, word in enumerate(words) if place == 0 or word in parts]
        for start, end in zip(starts, [*starts[1:], len(words)], strict=True):
            yield from _cutoffs(words[start], words[start + 1 : end])


def _cutoffs(style: str, words: Sequence[str]) -> Iterator[float]:
    pieces = style.split("/")
    if pieces[0] in _ENDS_WITH_CUTOFFS and pieces[-1] not in _EXCEPT:
        yield from [float(word) for word in takewhile(is_number, reversed(words))][:2]


def _of_files(commands: Sequence[Sequence[str]], files: Mapping[str, Path]) -> Iterator[float]:
    coefficients = [words for words in commands if words[0] == "pair_coeff"]
    named = {word for words in coefficients for word in words[1:]}
    for style, word in set(conversion.arguments(commands)):
        kind = style or potentials.style_of(word) or ""
        if word not in files or kind not in potentials.NAMES:
            continue
        # LAMMPS tells of a file that is none of these.
        with suppress(InputError), files[word].open(encoding="utf-8", errors="replace") as lines:
            yield potentials.parse(lines, kind).cutoff(named) or 0.0
