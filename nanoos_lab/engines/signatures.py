"""Failures as they show in a program's output: tables of them are data, one row each, with a class and a remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.record import Correction

if TYPE_CHECKING:
    from nanoos_lab.core.status import Reason

#: From the parameters of the task to what another attempt should change; None if it knows nothing (more).
Correct = Callable[[Mapping[str, Any]], Correction | None]


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One way in which a program fails."""

    #: A short name, for tests and logs.
    name: str
    #: Regular expression, searched in each line of the output.
    pattern: str
    #: The class of the failure.
    reason: Reason
    #: What it means, in plain words.
    meaning: str
    #: One sentence: what the user can do next.
    remedy: str
    #: What may help, if anything does by itself.
    correct: Correct | None = None


@dataclass(frozen=True, kw_only=True)
class Sign:
    """A signature that was found."""

    #: Which.
    signature: Signature
    #: The program's own line.
    line: str

    def error(self, program: str, parameters: Mapping[str, Any]) -> EngineError:
        """Return the error that says what failed, why, and what to do next.

        Parameters
        ----------
        program
            Name of the program, for the message.
        parameters
            Those of the task, from which a correction is made.
        """
        found = self.signature
        return EngineError(
            f"{found.meaning}. {program} says: {self.line}",
            reason=found.reason,
            remedy=found.remedy,
            correction=found.correct(parameters) if found.correct else None,
        )


class Scanner:
    """Looks for signatures in output that comes line by line; remembers the first line of each.

    Parameters
    ----------
    table
        The signatures, the most telling first.
    """

    def __init__(self, table: Sequence[Signature]) -> None:
        self._table = table
        # One search for all; which of them it was is asked only of the few lines that have one.
        self._any = re.compile("|".join(f"(?:{one.pattern})" for one in table))
        self._found: dict[str, Sign] = {}

    def feed(self, line: str) -> Sign | None:
        """Look at a line; return the sign in it, if there is one."""
        if not self._any.search(line):
            return None
        signature = next(one for one in self._table if re.search(one.pattern, line))
        sign = Sign(signature=signature, line=" ".join(line.split()))
        return self._found.setdefault(signature.name, sign)

    def scan(self, lines: Iterable[str]) -> Sign | None:
        """Look at many lines; return the most telling sign so far."""
        for line in lines:
            self.feed(line)
        return self.worst

    @property
    def worst(self) -> Sign | None:
        """The most telling sign so far."""
        return next((self._found[one.name] for one in self._table if one.name in self._found), None)

    def __contains__(self, name: str) -> bool:
        """Whether a signature of that name was seen."""
        return name in self._found


def scaled(name: str, factor: float, lowest: float, why: str, *, default: float, from_start: bool = False) -> Correct:
    """Return a correction that multiplies a parameter, until it has become too small.

    Parameters
    ----------
    name
        The parameter.
    factor, lowest
        What it is multiplied with, and where that ends.
    why
        One sentence; ``{before}`` and ``{after}`` are replaced by its values.
    default
        Its value if the task does not have it.
    from_start
        Whether the next attempt begins at step 0.
    """

    def correct(parameters: Mapping[str, Any]) -> Correction | None:
        before = parameters.get(name)
        before = default if before is None else float(before)
        after = before * factor
        if after < lowest:
            return None
        said = why.format(before=f"{before:g}", after=f"{after:g}")
        return Correction(changes={name: after}, why=said, from_start=from_start)

    return correct


def ladder(name: str, rungs: Sequence[Any], why: str, *, default: Any, from_start: bool = False) -> Correct:
    """Return a correction that sets a parameter to the next of some values, until the last was tried.

    Parameters
    ----------
    name
        The parameter.
    rungs
        Its values in the order in which they are tried; one that is not among them is followed by the first.
    why
        One sentence; ``{before}`` and ``{after}`` are replaced by its values.
    default
        Its value if the task does not have it.
    from_start
        Whether the next attempt begins at step 0.
    """

    def correct(parameters: Mapping[str, Any]) -> Correction | None:
        before = parameters.get(name)
        before = default if before is None else before
        place = rungs.index(before) + 1 if before in rungs else 0
        if place >= len(rungs):
            return None
        said = why.format(before=before, after=rungs[place])
        return Correction(changes={name: rungs[place]}, why=said, from_start=from_start)

    return correct
