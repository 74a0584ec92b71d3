"""What a job may use, how long, and how often it is tried."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self, TypeVar

from nanoos_lab.core.errors import ParameterError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Longest time in s, 30 years, so that what a database adds to its clock stays a date; and most memory in GiB.
_LONGEST = 10**9

Value = TypeVar("Value", bound="Resources | RetryPolicy | Limits")


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
        return dict(vars(self))

    @classmethod
    def from_any(cls, value: Self | dict[str, Any] | None) -> Self:
        """Accept what a user passes: None, a mapping of the fields, or a ready value."""
        return _from_any(cls, value, "resources")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fit(resources: Resources, nodes: Sequence[int]) -> bool:
    """Whether the ranks of a run, each with its threads, have cores on nodes with so many of them."""
    return sum(there // resources.threads for there in nodes) >= resources.ranks


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How often a job is tried again that lost its worker or met a lack of resources, and after which pause."""

    #: Attempts in all.
    attempts: int = 3
    #: Seconds before the next attempt; doubled with each further one. A first lost worker is made good at once.
    delay: float = 60.0
    #: Longest pause in seconds.
    longest: float = 3600.0

    def __post_init__(self) -> None:
        _require_integer(self.attempts, "retries.attempts", lowest=1, highest=100)
        _require_number(self.delay, "retries.delay", "s")
        _require_number(self.longest, "retries.longest", "s")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return dict(vars(self))

    @classmethod
    def from_any(cls, value: Self | dict[str, Any] | int | None) -> Self:
        """Accept what a user passes: None, a number of attempts, a mapping of fields, or a ready value."""
        given = _plain(value)
        if isinstance(given, int) and not isinstance(given, bool):
            return cls(attempts=given)
        return _from_any(cls, given, "retries")

    def pause(self, failures: int, *, lost: bool, chance: float) -> float:
        """Return how long to wait before the next attempt, in s.

        Parameters
        ----------
        failures
            Attempts that have failed so far, the last one included.
        lost
            Whether the last one lost its worker.
        chance
            A random number, 0–1: jobs that failed together are not all tried again together.
        """
        doublings = failures - 1 - lost
        if doublings < 0:
            return 0.0
        return min(self.delay * 2.0 ** min(doublings, 60), self.longest) * (0.5 + 0.5 * chance)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a job may run, pauses not counted, and how much memory it may use; None: as much as it needs.

    At the soft limit the engine is asked to stop, and writes a checkpoint if it can; at the hard limit it is killed.
    """

    #: Seconds of running time after which the engine is asked to stop.
    soft: float | None = None
    #: Seconds of running time after which it is killed.
    hard: float | None = None
    #: Most memory of all processes of the run, in GiB.
    memory: float | None = None

    def __post_init__(self) -> None:
        for name, unit in (("soft", "s"), ("hard", "s"), ("memory", "GiB")):
            value = getattr(self, name)
            if value is not None:
                _require_number(value, f"limits.{name}", unit, above_zero=True)
        if self.soft is not None and self.hard is not None and self.soft > self.hard:
            raise ParameterError("limits.soft", self.soft, f"at most limits.hard = {self.hard:g} s")

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are set as plain values."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_any(cls, value: Self | dict[str, Any] | None) -> Self:
        """Accept what a user passes: None, a mapping of the fields, or a ready value."""
        return _from_any(cls, value, "limits")

    def or_else(self, default: Limits) -> Limits:
        """Return these limits, with those of `default` where none is set."""
        return Limits(**{**default.to_json(), **self.to_json()})


def _require_number(value: object, field: str, unit: str, *, above_zero: bool = False) -> None:
    right = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _LONGEST
    if not right or (above_zero and value == 0):
        raise ParameterError(field, value, f"a number {'>' if above_zero else '≥'} 0 {unit} and ≤ {_LONGEST:,} {unit}")


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
    return cls(**{name: _plain(item) for name, item in value.items()})


def _plain(value: Any) -> Any:
    """Turn numpy's numbers into Python's."""
    return value.item() if getattr(value, "ndim", None) == 0 else value
