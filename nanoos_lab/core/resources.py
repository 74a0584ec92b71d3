"""What a job may use, how long, and how often it is tried."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Self, TypeVar

from nanoos_lab.core.errors import ParameterError, UnknownNameError

Value = TypeVar("Value", bound="Resources | RetryPolicy")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one attempt of a job may use on its host."""

    #: MPI ranks.
    ranks: int = 1
    #: OpenMP threads of each rank.
    threads: int = 1
    #: Graphics processors.
    gpus: int = 0

    def __post_init__(self) -> None:
        _require_integer(self.ranks, "resources.ranks", lowest=1)
        _require_integer(self.threads, "resources.threads", lowest=1)
        _require_integer(self.gpus, "resources.gpus", lowest=0)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_any(cls, value: Self | dict[str, Any] | None) -> Self:
        """Accept what a user passes: None, a mapping of the fields, or a ready value."""
        return _from_any(cls, value, "resources")


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often a job that lost its worker is tried again."""

    #: Attempts in all.
    attempts: int = 3

    def __post_init__(self) -> None:
        _require_integer(self.attempts, "retries.attempts", lowest=1, highest=100)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_any(cls, value: Self | dict[str, Any] | int | None) -> Self:
        """Accept what a user passes: None, a number of attempts, a mapping of fields, or a ready value."""
        if isinstance(value, int) and not isinstance(value, bool):
            return cls(attempts=value)
        return _from_any(cls, value, "retries")


def _require_integer(value: object, field: str, *, lowest: int, highest: int = 10**6) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise ParameterError(field, value, f"an integer from {lowest} to {highest:,}")


def _from_any(cls: type[Value], value: Any, field: str) -> Value:
    if value is None:
        return cls()
    if isinstance(value, cls):
        return value
    if not isinstance(value, dict):
        raise ParameterError(field, value, f"a {cls.__name__} or a mapping of its fields")
    allowed = {item.name for item in fields(cls)}
    for name in value:
        if name not in allowed:
            raise UnknownNameError(f"{field} field", name, allowed)
    return cls(**{name: item.item() if hasattr(item, "item") else item for name, item in value.items()})
