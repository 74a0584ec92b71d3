"""How far to advance a simulation between two looks at it, so that being watched costs it next to nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Points that the fit remembers, about: each new one takes this share off the weight of the older ones.
_FORGET = 0.005
#: Every so many extra stops, one more after a single step, to learn what a stop costs.
_PROBE_EVERY = 8
#: Budget is saved for, and debt carried over, at most so many CPU seconds of simulation.
_SAVE, _OWE = 2.0, 30.0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What looking at a run may cost it."""

    #: Share of the run's CPU time for those who watch it; with what the work-horse takes anyway, a hundredth.
    share: float = 0.008
    #: Most live samples in a second of wall time.
    rate: float = 20.0
    #: Part of `share` that progress alone may use while nobody watches.
    idle_part: float = 0.5
    #: Most reports of progress in a second of wall time while nobody watches.
    idle_rate: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do next."""

    #: Steps to advance, ≥ 1.
    steps: int
    #: Whether a live sample is worth its cost after them.
    show: bool


class Cadence:
    """Plans chunks of steps from the CPU time that earlier chunks took.

    A chunk of n steps takes ``n · step + stop`` CPU seconds; `stop`, the fixed cost of a chunk (mostly the
    tally of energies), is learnt together with `step` by a least-squares fit. An account is kept: every CPU
    second earns the budget's share of it, every extra stop and live sample is paid from it.

    Parameters
    ----------
    budget
        What looking at the run may cost it.
    """

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = budget or Budget()
        self._fit = _Fit()
        self._pace = _Mean()
        self._sample = 0.0
        self._account = 0.0
        self._longest = 0
        self._stops = 0

    @property
    def step(self) -> float:
        """CPU seconds of one step, as learnt so far."""
        return self._fit.solve()[0]

    @property
    def stop(self) -> float:
        """CPU seconds of ending a chunk, as learnt so far."""
        return self._fit.solve()[1]

    def plan(self, *, watched: bool) -> Plan:
        """Return how far to advance now, if no sample is due earlier."""
        if not self._longest:
            return Plan(steps=1, show=False)
        if self._stops % _PROBE_EVERY == _PROBE_EVERY - 1:
            return Plan(steps=1, show=False)
        part, rate = (1.0, self._budget.rate) if watched else (self._budget.idle_part, self._budget.idle_rate)
        step, stop = self._fit.solve()
        price = stop + (self._sample if watched else 0.0)
        affordable = (price - self._account) / (part * self._budget.share * step)
        in_time = 1.0 / (rate * self._pace.value)
        wanted = math.ceil(max(affordable, in_time, 1.0))
        return Plan(steps=min(wanted, 2 * self._longest), show=wanted <= 2 * self._longest)

    def ran(self, steps: int, *, cpu: float, wall: float, extra: bool) -> None:
        """Learn from a chunk.

        Parameters
        ----------
        steps
            Its length.
        cpu, wall
            Seconds that it took.
        extra
            Whether it ended only for the sake of those who watch, so that its end is paid from the budget.
        """
        self._fit.add(steps, cpu)
        self._pace.add(steps, wall)
        self._longest = max(self._longest, steps)
        self._stops += extra
        self._book(self._budget.share * cpu - (self.stop if extra else 0.0))

    def showed(self, cpu: float) -> None:
        """Learn what a live sample cost, in CPU seconds of all processes that handle it."""
        self._sample = cpu if not self._sample else 0.8 * self._sample + 0.2 * min(cpu, 5 * self._sample)
        self._book(-cpu)

    def _book(self, amount: float) -> None:
        highest = max(self._budget.share * _SAVE, self.stop + self._sample)
        lowest = -self._budget.share * _OWE
        self._account = min(max(self._account + amount, lowest), highest)


class _Fit:
    """Weighted least squares of ``seconds / n = step + stop / n``.

    Dividing by n weighs chunks by their relative noise. One more equation, constant, says ``stop = step``: a
    prior that errs on the dear side until short chunks have shown better.
    """

    def __init__(self) -> None:
        self._weight = self._x = self._xx = self._y = self._xy = 0.0

    def add(self, steps: int, seconds: float) -> None:
        x, y = 1.0 / steps, seconds / steps
        if self._weight >= 3:
            step, stop = self.solve()
            y = min(y, 4.0 * (step + stop * x))
        for name, term in (("_weight", 1.0), ("_x", x), ("_xx", x * x), ("_y", y), ("_xy", x * y)):
            setattr(self, name, (1 - _FORGET) * getattr(self, name) + term)

    def solve(self) -> tuple[float, float]:
        """Return CPU seconds of a step and of a stop."""
        a, b, d = self._weight + 1.0, self._x - 1.0, self._xx + 1.0
        determinant = a * d - b * b
        step = (d * self._y - b * self._xy) / determinant
        stop = (a * self._xy - b * self._y) / determinant
        if stop < 0:
            step, stop = self._y / self._weight, 0.0
        if step <= 0:
            step = 1e-9
        return step, stop


class _Mean:
    """Seconds per step, newer chunks counting more."""

    def __init__(self) -> None:
        self._steps = self._seconds = 0.0

    def add(self, steps: int, seconds: float) -> None:
        self._steps = 0.8 * self._steps + steps
        self._seconds = 0.8 * self._seconds + seconds

    @property
    def value(self) -> float:
        return max(self._seconds / self._steps, 1e-9)
