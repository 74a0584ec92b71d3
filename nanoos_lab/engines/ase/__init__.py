"""Engine ``ase``: ASE's dynamics and optimisers with any of its calculators."""

from nanoos_lab.engines.ase.engine import AseEngine

__all__ = ["AseEngine"]
