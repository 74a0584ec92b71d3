"""The texts that a script is made of: its own, and those of the files that it includes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

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

    @cached_property
    def commands(self) -> Sequence[Sequence[str]]:
        """The words of each line."""
        return [[word.text for word in words_of(line.text)] for line in self.lines]

    @property
    def included(self) -> Iterator[str]:
        """The names of the files that it includes."""
        return (words[1] for words in self.commands if words[0] == "include" and len(words) > 1)

    def where(self, line: Line) -> str:
        """Return where a line is, for who reads of it."""
        return f"{self.name}, line {line.number}" if self.name else f"line {line.number}"


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
    return list(
        _with_included(Text("", _checked(script, allow_shell=allow_shell)), files, set(), allow_shell=allow_shell)
    )


def _with_included(text: Text, files: Mapping[str, Path], seen: set[str], *, allow_shell: bool) -> Iterator[Text]:
    yield text
    for name in text.included:
        if name in files and name not in seen:
            seen.add(name)
            read = Text(name, _lines_of(name, files[name], allow_shell=allow_shell))
            yield from _with_included(read, files, seen, allow_shell=allow_shell)


def commands_of(texts: Sequence[Text]) -> Iterator[Sequence[str]]:
    """Yield the commands of texts in their order, those of a file in the place of the command that includes it."""
    return _in_order(texts[0], {text.name: text for text in texts}, frozenset())


def _in_order(text: Text, known: Mapping[str, Text], within: frozenset[str]) -> Iterator[Sequence[str]]:
    for words in text.commands:
        name = words[1] if words[0] == "include" and len(words) > 1 else ""
        if name in known and name not in within | {""}:
            yield from _in_order(known[name], known, within | {name})
        else:
            yield words


def _checked(content: str, *, allow_shell: bool) -> list[Line]:
    return lines_of(content) if allow_shell else rules.check_script(content)


def _lines_of(name: str, path: Path, *, allow_shell: bool) -> list[Line]:
    try:
        return _checked(path.read_text(encoding="utf-8"), allow_shell=allow_shell)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name!r} cannot be included: {error}") from None
    except InputError as error:
        raise InputError(f"{name}, {error}") from None
