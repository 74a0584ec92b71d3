"""Truth: jobs in a database, artifacts and trajectories in files. The only part that knows SQL.

Names are loaded when they are first used, so that reading a trajectory does not load SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nanoos_lab.store.jobs import Store, warm
    from nanoos_lab.store.queries import JobQuery
    from nanoos_lab.store.records import Holder, Orders, delivery
    from nanoos_lab.store.versions import migrate

_HOMES = {
    "Holder": "records",
    "JobQuery": "queries",
    "Orders": "records",
    "Store": "jobs",
    "delivery": "records",
    "migrate": "versions",
    "warm": "jobs",
}

__all__ = ["Holder", "JobQuery", "Orders", "Store", "delivery", "migrate", "warm"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
