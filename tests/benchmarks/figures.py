"""Figures with their targets, and the statistics behind them."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Resamples of a bootstrap, and the share of them that an interval holds.
RESAMPLES, CONFIDENCE = 10_000, 0.95


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number."""

    #: What was measured.
    name: str
    #: The number.
    value: float
    #: Its unit; "×" for a ratio to a peer.
    unit: str
    #: 95 % confidence interval of `value`, if there is one.
    low: float | None = None
    high: float | None = None
    #: Largest and smallest value that meets the target, if there is one.
    at_most: float | None = None
    at_least: float | None = None
    #: Measurements behind it.
    count: int = 1

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        if self.at_least is not None:
            return self.value >= self.at_least
        return None


def quantile(values: Sequence[float], q: float) -> float:
    """Return a quantile, q from 0 to 1."""
    return float(np.quantile(values, q))


def latencies(
    name: str, seconds: Sequence[float], *, p50: float | None = None, p95: float | None = None
) -> list[Figure]:
    """Return median and 95th percentile in ms, with their targets in ms."""
    return [
        Figure(name=f"{name}, {word}", value=1e3 * quantile(seconds, q), unit="ms", at_most=most, count=len(seconds))
        for word, q, most in (("p50", 0.5, p50), ("p95", 0.95, p95))
    ]


def ratio(
    name: str,
    ours: Sequence[float],
    peers: Sequence[float],
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Figure:
    """Return the median of paired ratios ours / peers, with the bootstrap's interval of that median.

    Parameters
    ----------
    name
        What is compared.
    ours, peers
        Measurements of the same quantity, made in turns, so that the machine's moods meet both of a pair.
    at_most, at_least
        The target.
    """
    ratios = np.array(ours) / np.array(peers)
    chosen = np.random.default_rng(0).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[chosen], axis=1), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Figure(
        name=name,
        value=median(ratios.tolist()),
        unit="×",
        low=float(low),
        high=float(high),
        at_most=at_most,
        at_least=at_least,
        count=len(ratios),
    )


def middle(name: str, values: Sequence[float], unit: str, **target: float) -> Figure:
    """Return the median of repeated measurements."""
    return Figure(name=name, value=median(values), unit=unit, count=len(values), **target)
