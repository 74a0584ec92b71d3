"""Engine ``tblite``: molecules and crystals in extended tight binding."""

from nanoos_lab.engines.tblite.engine import TbliteEngine

__all__ = ["TbliteEngine"]
