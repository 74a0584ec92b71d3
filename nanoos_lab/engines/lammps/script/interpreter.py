"""Executes a script line by line: what decides where it goes is done here, all else by LAMMPS.

``run`` is advanced in chunks; ``if``, ``jump``, ``label``, ``next``, ``include`` and ``quit`` are followed
here, since LAMMPS's library has no file to jump in, and since every command must pass the rules with its
variables filled in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import EngineError, InputError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.lammps.program import CutOffError
from nanoos_lab.engines.lammps.script import datafiles, rules
from nanoos_lab.engines.lammps.script.text import (
    Line,
    check_characters,
    lines_of,
    outside_quotes,
    without_comment,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.lammps.program import Program
    from nanoos_lab.engines.lammps.script.runner import Runner
    from nanoos_lab.engines.lammps.script.text import Word

_CONDITION = "nanoos_lab_condition"
_DEEPEST = 20


@dataclass
class _Place:
    """Where the interpreter is in one text."""

    lines: Sequence[Line]
    index: int = 0
    name: str = "script"

    @cached_property
    def labels(self) -> dict[str, int]:
        """Label → index of the line after it."""
        commands = [[word.text for word in words_of(line.text)] for line in self.lines]
        return {words[1]: index for index, words in enumerate(commands, start=1) if words[0] == "label" and words[1:]}

    def go_to(self, label: str) -> None:
        """Continue after a label."""
        if label not in self.labels:
            raise InputError(f"there is no label {label!r}")
        self.index = self.labels[label]


@dataclass
class Interpreter:
    """Executes one script, once."""

    #: LAMMPS.
    program: Program
    #: Advances runs and samples them.
    runner: Runner
    #: Asked for stops and the policy.
    context: RunContext
    #: Texts that are being executed, an included one above the one that includes it.
    places: list[_Place] = field(default_factory=list)
    #: Whether ``next`` has found a variable at its end, so that the next ``jump`` is not taken.
    exhausted: bool = False

    def execute(self, script: str) -> None:
        """Execute a script to its end, or until the context asks to stop.

        Raises
        ------
        EngineError
            If a line is refused or LAMMPS cannot execute it; names the line.
        """
        self.places.append(_Place(lines_of(script)))
        while self.places and self.context.stop is None:
            place = self.places[-1]
            if place.index >= len(place.lines):
                self.places.pop()
                continue
            line = place.lines[place.index]
            place.index += 1
            try:
                self._execute(line.text)
            except InputError as error:
                message = f"{place.name}, line {line.number}: {error}"
                raise EngineError(message, reason=Reason.INPUT) from None
            except CutOffError:
                raise
            except EngineError as error:
                message = f"{place.name}, line {line.number}, {line.text!r}: {error.message}"
                raise EngineError(message, reason=error.reason, remedy=error.remedy) from None

    def _execute(self, text: str) -> None:
        command = self._filled_in(text)
        words = words_of(command)
        if not words:
            return
        if not self.context.policy.allow_shell:
            check_characters(command)
            rules.check_command(words)
            _check_data(words)
        self._follow(command, words)

    def _follow(self, command: str, words: Sequence[Word]) -> None:
        match words[0].text:
            case "run" | "minimize":
                self.runner.run(command, [word.text for word in words])
            case "if":
                self._if(words)
            case "jump":
                self._jump(words)
            case "label":
                pass
            case "include":
                self._include(words)
            case "quit":
                self._quit(words)
            case _:
                self.program.command(command)
                texts = [word.text for word in words]
                self.runner.notice(texts)
                if texts[0] == "next" and len(texts) > 1:
                    self.exhausted = not self.program.has_variable(texts[1])

    def _filled_in(self, text: str) -> str:
        """Return a command with its variables filled in, once: LAMMPS must find none left that nobody has checked."""
        plain = without_comment(text).strip()
        if "$" not in plain:
            return plain
        filled = self.program.expand(plain)
        if "$" in outside_quotes(filled):
            raise InputError(f"the value of a variable must not contain '$': {filled!r}")
        return filled

    def _if(self, words: Sequence[Word]) -> None:
        for condition, commands in rules.branches_of(words):
            if self._holds(condition):
                for command in commands:
                    if self.places:
                        self._execute(command)
                return

    def _holds(self, condition: str) -> bool:
        quote = next((mark for mark in ('"', "'", '"""') if mark not in condition), None)
        if quote is None:
            raise InputError(f"too many kinds of quotes in a condition: {condition!r}")
        # LAMMPS's own if decides, by its own rules for texts and numbers.
        yes, no = (f"'variable {_CONDITION} equal {value}'" for value in (1, 0))
        self.program.command(f"if {quote}{condition}{quote} then {yes} else {no}")
        return self.program.variable(_CONDITION) == 1

    def _jump(self, words: Sequence[Word]) -> None:
        if len(words) != 3 or words[1].text != "SELF":
            raise InputError("jump goes only to a label of the same script: jump SELF label")
        if self.exhausted:
            self.exhausted = False
        else:
            self.places[-1].go_to(words[2].text)

    def _include(self, words: Sequence[Word]) -> None:
        if len(words) != 2:
            raise InputError("include needs one file name")
        if len(self.places) > _DEEPEST:
            raise InputError("files include each other without an end")
        try:
            text = Path(words[1].text).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{words[1].text!r} cannot be included: {error}") from None
        self.places.append(_Place(lines_of(text), name=words[1].text))

    def _quit(self, words: Sequence[Word]) -> None:
        if len(words) > 1 and words[1].text != "0":
            raise EngineError(f"the script quit with status {words[1].text}", reason=Reason.ENGINE)
        self.places.clear()


def _check_data(words: Sequence[Word]) -> None:
    """Raise if the data file that is to be read names what it must not; of one that is not there LAMMPS tells."""
    path = Path(words[1].text) if words[0].text == "read_data" and len(words) > 1 else None
    if path is not None and path.is_file():
        datafiles.check(path)
