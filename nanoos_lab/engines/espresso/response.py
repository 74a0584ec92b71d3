"""What ph.x says while it runs, read line by line: iterations towards responses to a field and displacements; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nanoos_lab.engines.numbers import PATTERN, number

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """One iteration."""

    #: Its number in the whole run, from 1.
    count: int
    #: Its number towards this response, from 1.
    number: int
    #: Its error, as `response_thr`.
    error: float


@dataclass(frozen=True, kw_only=True)
class Responded:
    """The end of the iterations towards one response."""

    #: What it is the response to.
    cause: str
    #: Iterations that it took.
    iterations: int
    #: The error of the last one.
    error: float


@dataclass(kw_only=True)
class Reader:
    """Reads the lines of one run.

    `feed` returns what a line completes: an iteration, all towards a response, or nothing.
    """

    #: Version of the program; empty until it says.
    version: str = ""
    #: Number of irreducible representations of the displacements; 0 until it is said.
    representations: int = 0
    #: Whether the program has come to its regular end, which it also does after failures.
    done: bool = False
    #: The last iteration.
    last: Iteration | None = None
    _cause: str = ""
    _number: int = 0

    def feed(self, line: str) -> Iteration | Responded | None:
        """Take one line of output."""
        for pattern, read_ in _RULES:
            if found := pattern.search(line):
                return read_(self, found)
        return None

    def _program(self, found: re.Match[str]) -> None:
        self.version = found.group(1)

    def _count(self, found: re.Match[str]) -> None:
        self.representations = int(found.group(1))

    def _field(self, _: re.Match[str]) -> None:
        self._cause, self._number = "an electric field", 0

    def _representation(self, found: re.Match[str]) -> None:
        modes = ", ".join(found.group(2).split())
        self._cause = f"representation {int(found.group(1))} of {self.representations}, mode {modes}"
        self._number = 0

    def _begin(self, found: re.Match[str]) -> None:
        self._number = int(found.group(1))

    def _error(self, found: re.Match[str]) -> Iteration:
        count = 1 if self.last is None else self.last.count + 1
        self.last = Iteration(count=count, number=self._number, error=number(found.group(1)))
        return self.last

    def _responded(self, _: re.Match[str]) -> Responded | None:
        if self.last is None:
            return None
        return Responded(cause=self._cause, iterations=self._number, error=self.last.error)

    def _job_done(self, _: re.Match[str]) -> None:
        self.done = True


_Rule = tuple[re.Pattern[str], "Callable[[Reader, re.Match[str]], Iteration | Responded | None]"]
_RULES: tuple[_Rule, ...] = tuple(
    (re.compile(pattern), read_)
    for pattern, read_ in (
        (r"Program PHONON v\.(\S+)", Reader._program),
        (r"There are +(\d+) irreducible representations", Reader._count),
        (r"Electric Fields Calculation", Reader._field),
        (r"Representation # *(\d+) modes? #([ \d]+)", Reader._representation),
        (r"iter # *(\d+) total cpu time", Reader._begin),
        (rf"\|ddv_scf\|\^2 = *({PATTERN})", Reader._error),
        (r"End of (?:electric fields|self-consistent) calculation", Reader._responded),
        (r"JOB DONE\.", Reader._job_done),
    )
)
