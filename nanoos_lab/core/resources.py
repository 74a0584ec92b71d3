"""What a job may use, how long, and how often it is tried."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from nanoos_lab.core.errors import ParameterError, UnknownNameError


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
        _require(self.ranks >= 1, "resources.ranks", self.ranks, "an integer ≥ 1")
        _require(self.threads >= 1, "resources.threads", self.threads, "an integer ≥ 1")
        _require(self.gpus >= 0, "resources.gpus", self.gpus, "an integer ≥ 0")

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
        _require(1 <= self.attempts <= 100, "retries.attempts", self.attempts, "an integer from 1 to 100")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)

    @classmethod
    def from_any(cls, value: Self | dict[str, Any] | int | None) -> Self:
        """Accept what a user passes: None, a number of attempts, a mapping of fields, or a ready value."""
        if isinstance(value, int) and not isinstance(value, bool):
            return cls(attempts=value)
        return _from_any(cls, value, "retries")


def _require(ok: bool, field: str, value: object, allowed: str) -> None:
    if not ok:
        raise ParameterError(field, value, allowed)


def _from_any(cls: Any, value: Any, field: str) -> Any:
    if value is None:
        return cls()
    if isinstance(value, cls):
        return value
    if not isinstance(value, dict):
        raise ParameterError(field, value, f"a {cls.__name__} or a mapping of its fields")
    allowed = cls.__dataclass_fields__
    for name in value:
        if name not in allowed:
            raise UnknownNameError(f"{field} field", name, allowed)
    return cls(**value)
