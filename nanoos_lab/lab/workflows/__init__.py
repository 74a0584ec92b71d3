"""Ready-made sets of jobs, and what follows from their results."""

from __future__ import annotations

from importlib.util import find_spec

#: What to say where phonopy is not installed.
NO_PHONOPY = "phonons need phonopy: pip install 'nanoos-lab[phonons]'"


def lacking() -> list[str]:
    """Return what workflows lack here, a sentence for each."""
    return [] if find_spec("phonopy") else [NO_PHONOPY]
