"""Wait for conditions, never for time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def until(condition: Callable[[], object], *, what: str = "what was waited for", seconds: float = 90.0) -> None:
    """Return as soon as the condition holds; fail if it does not within the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def quickest(attempt: Callable[[], float], *, limit: float, tries: int = 5) -> float:
    """Return how many seconds the first attempt took that took less than the limit; if none did, the fewest.

    What else the machine has to do only ever makes an attempt longer.
    """
    took = float("inf")
    for _ in range(tries):
        took = min(took, attempt())
        if took < limit:
            break
    return took
