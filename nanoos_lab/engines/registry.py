"""Engines by name, through the entry points ``nanoos_lab.engines``, loaded on first use."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import UnknownNameError
from nanoos_lab.engines.base import EngineInfo

if TYPE_CHECKING:
    from nanoos_lab.core.parameters import TaskParameters
    from nanoos_lab.engines.base import Engine

GROUP = "nanoos_lab.engines"


def names() -> tuple[str, ...]:
    """Return the names of all declared engines, found or not."""
    return tuple(sorted(entry_points(group=GROUP).names))


@cache
def get(name: str) -> Engine:
    """Load the engine of that name.

    Raises
    ------
    UnknownNameError
        If no installed package declares it; carries the nearest name.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise UnknownNameError("engine", name, names())
    engine: Engine = next(iter(found)).load()()
    return engine


def parameters_of(engine: Engine, task: str) -> type[TaskParameters]:
    """Return the parameter model of a task of an engine.

    Raises
    ------
    UnknownNameError
        If the engine does not do that task; carries the nearest one.
    """
    try:
        return engine.tasks[task]
    except KeyError:
        raise UnknownNameError(f"task of engine {engine.name!r}", task, engine.tasks) from None


@cache
def version(name: str) -> str:
    """Return the version of an engine's program as it is found here; empty if it is not."""
    return _probe(name).version


def probe_all() -> list[EngineInfo]:
    """Look for every declared engine; a broken plug-in is listed, never raised."""
    return [_probe(name) for name in names()]


def _probe(name: str) -> EngineInfo:
    try:
        return get(name).probe()
    except Exception as error:
        return EngineInfo(name=name, found=False, missing=f"its plug-in cannot be loaded: {error}")
