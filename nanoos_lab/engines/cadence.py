"""How far to advance a simulation between two looks at it, so that being watched costs it next to nothing.

A run is looked at where it stops, with all its numbers; some can be glimpsed while they pass, too: their positions
alone, for a part of the cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nanoos_lab.core.rhythm import SHORTEST, unwatched_interval

#: Points that the fit remembers, about: each new one takes this share off the weight of the older ones.
_FORGET = 0.005
#: Every so many extra stops, one more after a single step, to learn what a stop costs.
_PROBE_EVERY = 8
#: Budget is saved for, and debt carried over, at most so many CPU seconds of simulation.
_SAVE, _OWE = 2.0, 30.0


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What looking at a run may cost it."""

    #: Share of the run's CPU time for those who watch it, the work-horse's part included: with what is not seen of the
    #: cost, such as caches that are cold afterwards, a hundredth.
    share: float = 0.009
    #: Most live samples in a second of wall time.
    rate: float = 20.0
    #: Where so many live samples in a second are too dear, and the run can be glimpsed, some are only glimpses:
    enough: float = 8.0
    #: at most so many for each whole one.
    glimpses: int = 8
    #: Part of `share` that progress alone may use while nobody watches.
    idle_part: float = 0.4
    #: Most seconds that a run advances while nobody watches, if it can only be looked at where it stops: so long may
    #: somebody wait who begins to watch.
    idle: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do next."""

    #: Steps to advance, ≥ 1.
    steps: int
    #: Whether a live sample is worth its cost after them.
    show: bool
    #: Steps after what was shown last until a glimpse is worth its cost; 0 if none is. It is for those who begin to
    #: watch meanwhile, too.
    apart: int = 0


class Cadence:
    """Plans chunks of steps from the CPU time that earlier chunks took.

    A chunk of n steps takes ``n · step + stop`` CPU seconds; `stop`, the fixed cost of a chunk (mostly the
    tally of energies), is learnt together with `step` by a least-squares fit. An account is kept: every CPU
    second earns the budget's share of it, every extra stop, live sample and glimpse is paid from it.

    Parameters
    ----------
    budget
        What looking at the run may cost it.
    passing
        Whether the run can be glimpsed.
    dearest_stop
        CPU seconds that a stop costs at most, where that is known: a run whose steps take minutes would learn it late.
    """

    def __init__(self, budget: Budget | None = None, *, passing: bool = False, dearest_stop: float = math.inf) -> None:
        self._budget = budget or Budget()
        self._passing = passing
        self._fit = _Fit(dearest_stop)
        #: CPU and wall seconds of a step, stops included, of late.
        self._effort, self._pace = _Mean(), _Mean()
        self._sample = self._glimpse = self._report = 0.0
        self._account = 0.0
        self._longest = 0
        self._stops = 0
        #: CPU seconds of the present chunk that were glimpses.
        self._glimpsed = 0.0
        #: Wall seconds of all chunks.
        self._age = 0.0

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
        glimpses = self._glimpses()
        seen = self._affordable(self._price + glimpses * self._dearest_glimpse, looks=1 + glimpses)
        wanted = seen if watched else self._idle()
        return Plan(
            steps=min(wanted, 2 * self._longest),
            show=wanted <= 2 * self._longest,
            apart=self._soon() if not watched else -(-seen // (1 + glimpses)) if glimpses else 0,
        )

    def _soon(self) -> int:
        """Return the steps after which to see whether somebody has begun to watch, if that needs no stop."""
        return math.ceil(SHORTEST / self._pace.value) if self._passing else 0

    def _idle(self) -> int:
        """Return the steps until it is time to say how far the run is, if nobody watches."""
        longest = unwatched_interval(self._age)
        if not self._passing:
            longest = min(longest, self._budget.idle)
        return self._affordable(self.stop + self._report, part=self._budget.idle_part, rate=1.0 / longest)

    @property
    def _price(self) -> float:
        """CPU seconds of a stop and of what is shown there."""
        return self.stop + self._sample

    @property
    def _dearest_glimpse(self) -> float:
        return self._glimpse or self._price

    def _affordable(self, price: float, *, part: float = 1.0, rate: float | None = None, looks: int = 1) -> int:
        """Return the steps that pay for something, within part of the budget, and with no more looks than its rate."""
        paid = (price - self._account) / (part * self._budget.share * self.step)
        in_time = looks / ((rate or self._budget.rate) * self._pace.value)
        return math.ceil(max(paid, in_time, 1.0))

    def _glimpses(self) -> int:
        """Return how many glimpses there should be for each whole sample: as few as make up for rare ones.

        None if they are no cheaper, as in small systems, where most of the cost is to come to oneself.
        """
        if not self._passing:
            return 0
        # CPU seconds for those who watch in a second of wall time, and what is missing of them for whole samples only.
        earned = self._budget.share * self._effort.value / self._pace.value
        missing = self._budget.enough * self._price - earned
        spared = earned - self._budget.enough * self._dearest_glimpse
        if missing <= 0 or self._glimpse >= self._price:
            return 0
        most = self._budget.glimpses
        return min(math.ceil(missing / spared), most) if spared > 0 else most

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
        cpu -= self._glimpsed
        self._glimpsed = 0.0
        self._fit.add(steps, cpu)
        self._effort.add(steps, cpu)
        self._pace.add(steps, wall)
        self._longest = max(self._longest, steps)
        self._stops += extra
        self._age += wall
        most = max(self._budget.share * _SAVE, self._price)
        least = -self._budget.share * _OWE
        self._account = min(max(self._account + self._budget.share * cpu, least), most)
        if extra:
            self._account -= self.stop

    def showed(self, cpu: float) -> None:
        """Learn what a live sample cost, in CPU seconds of all processes that handle it."""
        self._sample = _mean(self._sample, cpu)
        self._account -= cpu

    def reported(self, cpu: float) -> None:
        """Learn what it cost to say how far the run is, in CPU seconds."""
        self._report = _mean(self._report, cpu)
        self._account -= cpu

    def glimpsed(self, cpu: float, elsewhere: float) -> None:
        """Learn what a glimpse cost, in CPU seconds of the run's own process and of the others that handle it."""
        self._glimpse = _mean(self._glimpse, cpu + elsewhere)
        self._glimpsed += cpu
        self._account -= cpu + elsewhere


def _mean(before: float, value: float) -> float:
    return value if not before else 0.8 * before + 0.2 * min(value, 5 * before)


class _Fit:
    """Weighted least squares of ``seconds / n = step + stop / n``.

    Dividing by n weighs chunks by their relative noise. One more equation, constant, says ``stop = step``: a
    prior that errs on the dear side until short chunks have shown better.

    Parameters
    ----------
    most
        What a stop costs at most, whatever chunks seem to show.
    """

    def __init__(self, most: float) -> None:
        self._most = most
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
        if not 0 <= stop <= self._most:
            stop = min(max(stop, 0.0), self._most)
            step = (self._y - stop * self._x) / self._weight
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
