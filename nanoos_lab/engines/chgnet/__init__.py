"""Engine ``chgnet``: a universal machine-learned potential."""

from nanoos_lab.engines.chgnet.engine import ChgnetEngine

__all__ = ["ChgnetEngine"]
