"""Numbers as Fortran prints them: without a gap between them if they are long, and as stars if they are too long."""

from __future__ import annotations

import math
import re

#: The form of one number, a regular expression without groups.
PATTERN = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][-+]?\d+)?|\*+|(?<![A-Za-z])[-+]?(?i:nan|inf(?:inity)?)(?![A-Za-z])"
_NUMBER = re.compile(PATTERN)


def numbers(text: str) -> list[float]:
    """Return all numbers in a text; not a number for stars."""
    return [number(word) for word in _NUMBER.findall(text)]


def number(word: str) -> float:
    """Return one number, given by a word of the form `PATTERN`; not a number for stars."""
    if word.startswith("*"):
        return math.nan
    return float(word.replace("D", "E").replace("d", "e"))
