"""Engine ``gpaw``: density functional theory with GPAW, where that is installed."""

from nanoos_lab.engines.gpaw.engine import GpawEngine

__all__ = ["GpawEngine"]
