"""Truth: jobs in a database, artifacts and trajectories in files. The only part that knows SQL.

Names are loaded when they are first used, so that reading a trajectory does not load SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nanoos_lab.store.arrays import FrameArray as FrameArray
    from nanoos_lab.store.artifacts import Artifacts as Artifacts
    from nanoos_lab.store.formats import export as export
    from nanoos_lab.store.jobs import Store as Store
    from nanoos_lab.store.queries import JobQuery as JobQuery
    from nanoos_lab.store.records import Holder as Holder
    from nanoos_lab.store.records import Orders as Orders
    from nanoos_lab.store.records import delivery as delivery
    from nanoos_lab.store.rehearsal import warm as warm
    from nanoos_lab.store.results import read_results as read_results
    from nanoos_lab.store.results import scalars as scalars
    from nanoos_lab.store.results import write_results as write_results
    from nanoos_lab.store.segments import SegmentWriter as SegmentWriter
    from nanoos_lab.store.thermo import ThermoTable as ThermoTable
    from nanoos_lab.store.thermo import read_thermo as read_thermo
    from nanoos_lab.store.trajectory import TrajectoryReader as TrajectoryReader
    from nanoos_lab.store.versions import migrate as migrate

_HOMES = {
    "Artifacts": "artifacts",
    "FrameArray": "arrays",
    "Holder": "records",
    "JobQuery": "queries",
    "Orders": "records",
    "SegmentWriter": "segments",
    "Store": "jobs",
    "ThermoTable": "thermo",
    "TrajectoryReader": "trajectory",
    "delivery": "records",
    "export": "formats",
    "migrate": "versions",
    "read_results": "results",
    "read_thermo": "thermo",
    "scalars": "results",
    "warm": "rehearsal",
    "write_results": "results",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
