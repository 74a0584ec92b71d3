"""Whether LAMMPS has the styles that a script chooses by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.lammps import executable, styles
from nanoos_lab.engines.lammps.script.text import words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nanoos_lab.engines.lammps.script.text import Line

#: What brings other styles, and what asks whether there are some.
_PLUGIN, _ASKS = "plugin", "is_available("
_JUMP = re.compile(r"\bjump\s+SELF\s+([^\s'\"]+)")


def check(lines: Sequence[Line]) -> None:
    """Check the styles of the commands that are surely executed, by LAMMPS's library, which runs all scripts.

    Raises
    ------
    InputError
        Names the line, and the nearest style.
    """
    commands = [[word.text for word in words_of(line.text)] for line in lines]
    library = executable.of_wheel()
    if library is None or any(words[0] == _PLUGIN or _ASKS in " ".join(words) for words in commands):
        return
    skipped = set(_skipped(lines, commands))
    for index, (line, words) in enumerate(zip(lines, commands, strict=True)):
        try:
            if index not in skipped:
                styles.check_command(words, library)
        except InputError as error:
            raise InputError(f"line {line.number}: {error}") from None


def _skipped(lines: Sequence[Line], commands: Sequence[Sequence[str]]) -> Iterator[int]:
    """Yield the indices of commands over which a ``jump`` may lead, also one inside another command."""
    for index, line in enumerate(lines):
        for label in _JUMP.findall(line.text):
            places = [place for place, words in enumerate(commands) if list(words[:2]) == ["label", label]]
            yield from range(index + 1, places[0] if places else len(commands))
