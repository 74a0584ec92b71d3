"""The results of a job as a mapping with units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nanoos_lab.core.units import unit_of


class ResultsView(Mapping[str, Any]):
    """Properties by name; `units` maps each to its unit."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        self._properties = dict(properties)

    @property
    def units(self) -> dict[str, str]:
        """Unit of every property; "" for one that is a text or not ours."""
        return {name: unit_of(name) for name in self._properties}

    def __getitem__(self, name: str) -> Any:
        return self._properties[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._properties)

    def __len__(self) -> int:
        return len(self._properties)

    def __repr__(self) -> str:
        shown = (f"  {name} = {_short(value)} {unit_of(name)}".rstrip() for name, value in self._properties.items())
        return "\n".join(["<Results", *shown, ">"])


def _short(value: Any) -> str:
    shape = getattr(value, "shape", ())
    return f"array of shape {shape}" if shape and len(value) > 6 else repr(value)
