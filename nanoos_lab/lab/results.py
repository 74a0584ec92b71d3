"""The results of a job as a mapping with units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nanoos_lab.core.errors import UnknownResultError
from nanoos_lab.core.units import unit_of


class ResultsView(Mapping[str, Any]):
    """Properties by name; `units` maps each to its unit."""

    def __init__(self, properties: Mapping[str, Any], units: Mapping[str, str] | None = None) -> None:
        self._properties = dict(properties)
        self._units = dict(units or {})

    @property
    def units(self) -> dict[str, str]:
        """Unit of every property; "" for one that is a text, or of which nobody says it."""
        return {name: self._unit(name) for name in self._properties}

    def _unit(self, name: str) -> str:
        return unit_of(name) or self._units.get(name, "")

    def __getitem__(self, name: str) -> Any:
        try:
            return self._properties[name]
        except KeyError:
            raise UnknownResultError(name, self._properties) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._properties)

    def __len__(self) -> int:
        return len(self._properties)

    def __repr__(self) -> str:
        return listed("Results", self._properties, self.units)


def listed(title: str, values: Mapping[str, Any], units: Mapping[str, str]) -> str:
    """Return values with their units, one to a line."""
    lines = [f"  {name} = {_with_unit(value, units[name])}" for name, value in values.items()]
    return "\n".join([f"<{title}", *lines, ">"])


def _with_unit(value: Any, unit: str) -> str:
    """Say a value; a pure number, and what there is not, has no unit."""
    return _short(value) if value is None or unit in ("", "1") else f"{_short(value)} {unit}"


def _short(value: Any) -> str:
    shape = getattr(value, "shape", ())
    return f"array of shape {shape}" if shape and len(value) > 6 else repr(value)
