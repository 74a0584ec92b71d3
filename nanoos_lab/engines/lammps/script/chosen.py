"""Whether LAMMPS has the styles that a script chooses by name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.lammps import executable, styles
from nanoos_lab.engines.lammps.script.includes import commands_of, included_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nanoos_lab.engines.lammps.script.includes import Text
    from nanoos_lab.engines.lammps.script.text import Line

#: What brings other styles, and what asks whether there are some.
_PLUGIN, _ASKS = "plugin", "is_available("
_JUMP = re.compile(r"\bjump\s+SELF\s+([^\s'\"]+)")


def check(texts: Sequence[Text]) -> None:
    """Check the styles of the commands that are surely executed, by LAMMPS's library, which runs all scripts.

    Raises
    ------
    InputError
        Names the line, and the nearest style.
    """
    commands = [words for text in texts for words in text.commands]
    library = executable.of_wheel()
    if library is None or any(words[0] == _PLUGIN or _ASKS in " ".join(words) for words in commands):
        return
    parts = styles.parts_of(list(commands_of(texts)), library)
    for text, line, words in _executed(texts[0], {text.name: text for text in texts}, set()):
        try:
            styles.check_command(words, library)
            styles.check_coefficients(words, parts, library)
        except InputError as error:
            raise InputError(f"{text.where(line)}: {error}") from None


def _executed(text: Text, known: Mapping[str, Text], seen: set[str]) -> Iterator[tuple[Text, Line, Sequence[str]]]:
    """Yield the commands that are surely executed, those of included files too."""
    skipped = set(_skipped(text))
    for index, (line, words) in enumerate(zip(text.lines, text.commands, strict=True)):
        if index in skipped:
            continue
        yield text, line, words
        name = included_by(words)
        if name in known and name not in seen | {""}:
            seen.add(name)
            yield from _executed(known[name], known, seen)


def _skipped(text: Text) -> Iterator[int]:
    """Yield the indices of commands over which a ``jump`` may lead, also one inside another command."""
    for index, line in enumerate(text.lines):
        for label in _JUMP.findall(line.text):
            places = [place for place, words in enumerate(text.commands) if list(words[:2]) == ["label", label]]
            yield from range(index + 1, places[0] if places else len(text.lines))
