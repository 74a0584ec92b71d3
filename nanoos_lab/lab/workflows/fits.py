"""What follows from the results of many jobs, as a record whose numbers have units."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

from nanoos_lab.core.units import unit_of
from nanoos_lab.lab.results import listed

if TYPE_CHECKING:
    from collections.abc import Mapping


class Fit:
    """A dataclass that shows its fields with their units, as the results of a job are shown."""

    #: Units of those fields that `nanoos_lab.core.units` does not name.
    _own_units: ClassVar[Mapping[str, str]] = {}

    @property
    def units(self) -> dict[str, str]:
        """Unit of every field that is shown; "1" for a pure number, "" for what is no number."""
        return {name: self._own_units.get(name) or unit_of(name) for name in self._shown()}

    def __repr__(self) -> str:
        return listed(type(self).__name__, self._shown(), self.units)

    def _shown(self) -> dict[str, Any]:
        one: Any = self
        return {field.name: getattr(self, field.name) for field in fields(one) if field.repr}
