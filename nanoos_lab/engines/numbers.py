"""Numbers as Fortran prints them: without a gap between them if they are long, and as stars if they are too long."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(
    r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][-+]?\d+)?|\*+|(?<![A-Za-z])[-+]?(?i:nan|inf(?:inity)?)(?![A-Za-z])"
)


def numbers(text: str) -> list[float]:
    """Return all numbers in a text; not a number for stars."""
    return [number(word) for word in _NUMBER.findall(text)]


def number(word: str) -> float:
    """Return one number."""
    if word.startswith("*"):
        return math.nan
    return float(word.replace("D", "E").replace("d", "e"))
