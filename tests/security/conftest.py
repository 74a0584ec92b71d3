"""The process that runs LAMMPS, from the engine's own tests."""

from tests.engines.lammps.conftest import outside

__all__ = ["outside"]
