"""What shows things of the lab in a notebook: plug-ins of a higher floor, which this one does not know."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@cache
def view(name: str, plain: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what makes the forms of a thing for a notebook.

    Parameters
    ----------
    name
        What kind of thing: "job" or "group", the name of the entry point in the group ``nanoos_lab.views``.
    plain
        What makes them where there is no such plug-in.
    """
    for point in entry_points(group="nanoos_lab.views", name=name):
        found: Callable[[Any], Any] = point.load()
        return found
    return plain
