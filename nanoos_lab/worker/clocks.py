"""Time as an attempt sees it: a clock that nobody sets, and how long a run has run."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanoos_lab.core.resources import Limits


def now() -> float:
    """Return seconds of a clock that nobody sets and that runs while the computer sleeps, as a lease does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class RunningTime:
    """How long a run has run, pauses not counted, by a clock that stands still while the computer sleeps.

    Parameters
    ----------
    before
        Seconds that count from earlier attempts.
    """

    def __init__(self, before: float = 0.0) -> None:
        self._before = before
        self._sum = 0.0
        self._since: float | None = time.monotonic()

    @property
    def here(self) -> float:
        """Seconds of this attempt."""
        return self._sum + (0.0 if self._since is None else time.monotonic() - self._since)

    @property
    def total(self) -> float:
        """Seconds of all attempts that count."""
        return self._before + self.here

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self._since is None

    def pause(self) -> None:
        """Stand still."""
        self._sum, self._since = self.here, None

    def resume(self) -> None:
        """Run again."""
        if self._since is None:
            self._since = time.monotonic()


def passed(limits: Limits, total: float) -> str | None:
    """Return which time limit has been passed: "hard", "soft" or None."""
    if limits.hard is not None and total >= limits.hard:
        return "hard"
    if limits.soft is not None and total >= limits.soft:
        return "soft"
    return None


def left(limits: Limits, total: float) -> float:
    """Return the seconds until the next time limit is passed; infinity if none is ahead."""
    ahead = [limit - total for limit in (limits.soft, limits.hard) if limit is not None and limit > total]
    return min(ahead, default=math.inf)
