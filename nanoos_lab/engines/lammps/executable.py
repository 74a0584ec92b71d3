"""LAMMPS's executable: where it is, and how it is started under MPI."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import EngineError, NotInstalledError
from nanoos_lab.core.resources import cores
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import program
from nanoos_lab.engines.lammps import library

if TYPE_CHECKING:
    from nanoos_lab.core.resources import Resources

#: Its usual name; ``NANOOS_LMP`` may name another one.
NAME = "lmp"


def is_wanted() -> bool:
    """Whether the user has named an executable; the wheel's library runs in MPI ranks, too."""
    return bool(os.environ.get(program.variable(NAME)))


def of_wheel() -> Path | None:
    """Return the executable inside the wheel: the binary itself, which its console script only wraps."""
    folder = library.folder()
    found = folder / NAME if folder else None
    return found if found and os.access(found, os.X_OK) else None


def command(*arguments: str, resources: Resources) -> program.Command:
    """Return what starts LAMMPS with the ranks and threads of a job.

    Raises
    ------
    EngineError
        If there is no executable, or fewer cores than the ranks and threads ask for.
    """
    check_cores(resources)
    variable = program.variable(NAME)
    if os.environ.get(variable):
        own = program.find(NAME)
        if own is None:
            raise NotInstalledError(
                f"{variable} names {os.environ[variable]!r}, which is not there or cannot be executed",
                f"set {variable} to LAMMPS's executable, or unset it",
            )
        return program.Command.of(own, *arguments, resources=resources)
    found = of_wheel()
    if found is None:
        how = f"{library.INSTALL}, or set {program.variable(NAME)}"
        raise NotInstalledError("there is no LAMMPS executable here", how)
    made = program.Command.of(found, *arguments, resources=resources, launcher=launcher_of_wheel())
    mpi = library.mpi_library()
    search = {"LD_LIBRARY_PATH": str(mpi.parent)} if mpi else {}
    return replace(made, environment={**made.environment, **search})


def launcher_of_wheel() -> Path | None:
    """Return the launcher of the MPI that the wheel is linked with; another one would start lone copies."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("mpich") or ():
            if file.name == "mpiexec":
                return Path(os.fspath(file.locate())).resolve()
    return None


def check_cores(resources: Resources) -> None:
    """Raise if a run would need more cores than there are."""
    wanted, there = resources.ranks * resources.threads, cores()
    if wanted > there:
        raise EngineError(
            f"{resources.ranks} MPI ranks of {resources.threads} threads need {wanted} cores; there are {there} here",
            reason=Reason.INPUT,
            remedy=f"Ask for resources={{'ranks': {max(there // resources.threads, 1)}}} at most.",
        )
