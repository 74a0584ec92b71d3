"""LAMMPS outside of pytest's process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engines.lammps.outside import Outside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.engines.lammps.outside import Outcome


@pytest.fixture(scope="session")
def outside() -> Iterator[Outside]:
    """A process that runs LAMMPS."""
    process = Outside()
    yield process
    process.close()


@pytest.fixture
def lammps(outside: Outside, tmp_path: Path) -> Callable[..., Outcome]:
    """Run a task there: ``lammps(atoms, "md", steps=…)``."""
    count = iter(range(1000))

    def run(*args: object, **kwargs: object) -> Outcome:
        return outside.run(tmp_path / f"work{next(count)}", *args, **kwargs)

    return run


@pytest.fixture
def doomed_lammps(tmp_path: Path) -> Iterator[Callable[..., Outcome]]:
    """Run one task in a process of its own, which an error may leave with a broken heap."""
    process = Outside()
    yield lambda *args, **kwargs: process.run(tmp_path / "doomed", *args, **kwargs)
    process.close()
