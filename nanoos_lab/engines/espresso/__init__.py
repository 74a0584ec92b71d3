"""Engine ``espresso``: pw.x of Quantum ESPRESSO, a program of its own, under MPI if asked for."""

from nanoos_lab.engines.espresso.engine import EspressoEngine

__all__ = ["EspressoEngine"]
