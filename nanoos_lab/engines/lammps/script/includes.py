"""The texts that a script is made of: its own, and those of the files that it includes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.lammps.script import rules
from nanoos_lab.engines.lammps.script.text import lines_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from nanoos_lab.engines.lammps.script.text import Line


@dataclass(frozen=True)
class Text:
    """The script, or a file that it includes."""

    #: Name of the file; empty for the script itself.
    name: str
    #: Its logical lines.
    lines: Sequence[Line]
    #: The words of each line.
    commands: Sequence[Sequence[str]]

    @classmethod
    def of(cls, name: str, content: str, *, allow_shell: bool) -> Self:
        """Read a text, and check it by the rules unless it may do what they refuse."""
        lines = lines_of(content) if allow_shell else rules.check_script(content)
        return cls(name, lines, [[word.text for word in words_of(line.text)] for line in lines])

    @property
    def included(self) -> Iterator[str]:
        """The names of the files that it includes."""
        return filter(None, map(included_by, self.commands))

    def where(self, line: Line) -> str:
        """Return where a line is, for who reads of it."""
        return f"{self.name}, line {line.number}" if self.name else f"line {line.number}"


def included_by(words: Sequence[str]) -> str:
    """Return the name of the file that a command includes, in the working directory; empty for any other."""
    return os.path.normpath(words[1]) if words[0] == "include" and len(words) > 1 else ""


def texts_of(script: str, files: Mapping[str, Path], *, allow_shell: bool) -> list[Text]:
    """Return the script and the files among the given ones that it includes, each once, checked by the rules.

    Parameters
    ----------
    script
        The script.
    files
        The user's files by name.
    allow_shell
        Whether it may do what the rules refuse.

    Raises
    ------
    InputError
        Names the line, the command and why it is refused.
    """
    text = Text.of("", script, allow_shell=allow_shell)
    return list(_with_included(text, files, set(), allow_shell=allow_shell))


def _with_included(text: Text, files: Mapping[str, Path], seen: set[str], *, allow_shell: bool) -> Iterator[Text]:
    yield text
    for name in text.included:
        if name in files and name not in seen:
            seen.add(name)
            read = _read(name, files[name], allow_shell=allow_shell)
            yield from _with_included(read, files, seen, allow_shell=allow_shell)


def commands_of(texts: Sequence[Text]) -> Iterator[Sequence[str]]:
    """Yield the commands of texts in their order, those of a file in the place of the first that includes it.

    Commands that include what is not among the texts are there too.
    """
    return _in_order(texts[0], {text.name: text for text in texts}, {""})


def _in_order(text: Text, known: Mapping[str, Text], seen: set[str]) -> Iterator[Sequence[str]]:
    for words in text.commands:
        name = included_by(words)
        if name not in known or not name:
            yield words
        elif name not in seen:
            seen.add(name)
            yield from _in_order(known[name], known, seen)


def _read(name: str, path: Path, *, allow_shell: bool) -> Text:
    try:
        return Text.of(name, path.read_text(encoding="utf-8"), allow_shell=allow_shell)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name!r} cannot be included: {error}") from None
    except InputError as error:
        raise InputError(f"{name}, {error}") from None
