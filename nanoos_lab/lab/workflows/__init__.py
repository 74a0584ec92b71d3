"""Ready-made sets of jobs, and what follows from their results."""

from __future__ import annotations

from nanoos_lab.engines import displacements


def lacking() -> list[str]:
    """Return what workflows lack here, a sentence for each."""
    return [why] if (why := displacements.missing()) else []
