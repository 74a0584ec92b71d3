"""Engine ``gpaw``: density functional theory with GPAW, where that is installed.

It is compiled, so CI does not install it: with GPAW 26.7.0, gpaw-data 1.2.1 and Debian 12's libxc-dev, libopenblas-dev
and libopenmpi-dev, the contract suite and ``tests/engines/gpaw/by_hand.py`` were run by hand. What needs no GPAW, the
text of a recipe among it, is tested like the rest.
"""

from nanoos_lab.engines.gpaw.engine import GpawEngine

__all__ = ["GpawEngine"]
