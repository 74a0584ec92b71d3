"""Engine ``gpaw``: density functional theory with GPAW, where that is installed.

It is compiled, so it is not part of the suite: with GPAW 26.7.0, gpaw-data 1.2.1 and Debian 12's libxc-dev,
libopenblas-dev and libopenmpi-dev, static runs of crystals, a relaxation of a molecule and recipes of both tasks were
tried by hand (``tests/engines/gpaw/by_hand.py``). What needs no GPAW, the text of a recipe among it, is tested like
the rest.
"""

from nanoos_lab.engines.gpaw.engine import GpawEngine

__all__ = ["GpawEngine"]
