"""Durations as people write them."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(rf"\s*(\d+(?:\.\d+)?) *({'|'.join(_UNITS)})?\s*", re.ASCII)


def seconds_in(text: str) -> float | None:
    """Read a duration such as "90", "90s", "30min", "1.5h", "30d" or "2w"; return it in s, or None if it is none."""
    found = _DURATION.fullmatch(text)
    return float(found.group(1)) * _UNITS[found.group(2) or "s"] if found else None
