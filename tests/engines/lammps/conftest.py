"""LAMMPS outside of pytest's process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nanoos_lab.engines.lammps import executable, library
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
def own_lmp(tmp_path: Path) -> dict[str, str]:
    """An executable of the user's own, and what has the engine take it."""
    mpi, launcher = library.mpi_library(), executable.launcher_of_wheel()
    assert mpi
    path = tmp_path / "my lmp"
    path.write_text(f'#!/bin/sh\nexport LD_LIBRARY_PATH="{mpi.parent}"\nexec "{library.folder() / "lmp"}" "$@"\n')
    path.chmod(0o755)
    return {"NANOOS_LMP": str(path), "NANOOS_MPIRUN": str(launcher)}


@pytest.fixture
def doomed_lammps(tmp_path: Path) -> Iterator[Callable[..., Outcome]]:
    """Run one task in a process of its own, which an error may leave with a broken heap."""
    process = Outside()
    yield lambda *args, **kwargs: process.run(tmp_path / "doomed", *args, **kwargs)
    process.close()
