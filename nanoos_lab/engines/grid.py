"""Checkpoints on a grid of steps that is fixed once for a job, so that every attempt at it takes the same path.

A checkpoint may leave its trace in the last bit of a run: the program writes its state and goes on from what it has
written, as a fresh process would. So a run that is interrupted and one that is not agree if their checkpoints fall on
the same steps; a clock could not promise that.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

from nanoos_lab.core.errors import NanoosError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nanoos_lab.core.frames import Checkpoint
    from nanoos_lab.engines.base import RunContext

    Renew = Callable[[Path, int], None]

#: Most steps between two checkpoints.
LARGEST = 10**12
#: Seconds of running, but no more than this part of the interval, after which the pace of a run counts as known; and
#: the number of chunks that it takes at least.
_MEASURING, _PART, _CHUNKS = 1.0, 0.1, 3
#: Largest part of the running time that checkpoints take, unless intervals shorter than so many seconds, the default,
#: are asked for: who does that wants them, whatever they cost.
_SHARE, _DEFAULT = 0.01, 60.0


class Savable(Protocol):
    """A run that can write down its state."""

    def save(self, directory: Path) -> None:
        """Write what another process needs to go on from here into an empty directory."""


def choose(interval: float, pace: float, every: int) -> int:
    """Return the number of steps between checkpoints.

    It is a power of two times `every`, or a power of two if samples are further apart than checkpoints: then runs of
    the same job on the same machine mostly choose the same, though their pace is never quite the same.

    Parameters
    ----------
    interval
        Wanted running time between checkpoints in seconds; met within a factor of √2.
    pace
        Seconds that a step takes.
    every
        Steps between samples.
    """
    wanted = min(max(interval / max(pace, 1e-12), 1.0), float(LARGEST))
    unit = every if wanted * math.sqrt(2) >= every else 1
    power = min(max(round(math.log2(wanted / unit)), 0), math.floor(math.log2(LARGEST / unit)))
    return int(unit * 2**power)


def bearable(interval: float, cost: float) -> float:
    """Return the seconds between checkpoints that are wanted, if one of them costs so many seconds.

    At least `interval`, and so many that checkpoints on the grid that `choose` finds for them take their share at most.
    """
    return interval if interval < _DEFAULT else max(interval, math.sqrt(2) * cost / _SHARE)


def resume(context: RunContext, load: Callable[[Checkpoint], None]) -> Checkpoint | None:
    """Go on from the newest checkpoint that can be loaded; return it, or None if the run begins at step 0.

    Parameters
    ----------
    context
        Knows the checkpoints; its log is told what was found.
    load
        Puts the run where a checkpoint stands; may raise anything if it cannot, and is then called with an older one.
    """
    for checkpoint in context.checkpoints:
        try:
            load(checkpoint)
        except Exception as error:
            why = str(error) if isinstance(error, NanoosError) else f"{type(error).__name__}: {error}"
            context.log(f"warning: the checkpoint at step {checkpoint.step} cannot be used: {why}")
        else:
            context.log(f"This attempt goes on from the checkpoint at step {checkpoint.step}.")
            return checkpoint
    if context.checkpoints:
        context.log("warning: no checkpoint can be used; this attempt begins at step 0")
    return None


class Grid:
    """Makes the checkpoints of one attempt.

    Parameters
    ----------
    run
        What is saved.
    context
        Takes the checkpoints; says how far apart they should be.
    every
        Steps between samples.
    origin
        The checkpoint from which the attempt goes on; its grid is kept.
    renew
        Puts the run into the state of a fresh process that goes on from a checkpoint; called with each one on the
        grid, before it counts as made. None if saving leaves no trace in the run.
    worth
        The run is renewed only if the grid has at least so many steps: as many as make the cost bearable.
    cost
        Seconds that a checkpoint takes, about.
    """

    def __init__(
        self,
        run: Savable,
        context: RunContext,
        *,
        every: int,
        origin: Checkpoint | None = None,
        renew: Renew | None = None,
        worth: int = 1,
        cost: float = 0.0,
    ) -> None:
        self._run = run
        self._context = context
        self._every = every
        self._renew = renew
        self._worth = worth
        self._cost = cost
        self._seconds = 0.0
        self._paces: list[float] = []
        self._last = 0
        self._made = origin is not None
        self._first = origin.step if origin else 0
        self.steps = _steps_of(origin) or context.checkpoint_steps
        self._stops = _stops_of(origin)
        if self._first and (not self.steps or self._first % self.steps):
            self._stops = (*self._stops, self._first)
        if not context.checkpoint_interval:
            self.steps = None

    @property
    def provenance(self) -> dict[str, Any]:
        """What a reader of the results should know, as far as it had a part in them.

        The grid; where the attempt began; and where, off the grid, it and earlier ones that led to it did.
        """
        grid = {"checkpoint_steps": self.steps} if self._made else {}
        stops = {"stops": list(self._stops)} if self._stops else {}
        return {**grid, "first": self._first, **stops} if self._first else grid

    def ran(self, steps: int, seconds: float) -> None:
        """Learn how long steps take; the grid is fixed as soon as that is known."""
        interval = self._context.checkpoint_interval
        if self.steps is not None or not interval:
            return
        self._seconds += seconds
        self._paces.append(seconds / steps)
        if len(self._paces) >= _CHUNKS and self._seconds >= min(_MEASURING, _PART * interval):
            # The median: the process may have been stopped for hours during one of them.
            self.settle(median(self._paces))

    def settle(self, pace: float) -> None:
        """Fix the grid by the seconds that a step takes, where they are known, unless it is fixed."""
        interval = self._context.checkpoint_interval
        if self.steps is None and interval:
            self.steps = choose(bearable(interval, self._cost), pace, self._every)
            self._context.log(f"Checkpoints fall on every {self.steps} steps, about {self.steps * pace:.3g} s apart.")

    def following(self, step: int) -> int | None:
        """Return the first step after this one on which a checkpoint falls, if that is known."""
        return None if self.steps is None else step - step % self.steps + self.steps

    def reached(self, step: int) -> bool:
        """Make a checkpoint if one falls on this step, at which the run stands; return whether it was renewed."""
        if self.steps is None or step == 0 or step % self.steps:
            return False
        renew = self._renew if self.steps >= self._worth else None
        self._make(step, renew)
        return renew is not None

    def left(self, step: int) -> None:
        """Make a checkpoint at this step, at which the run has stopped before its end, unless it was cancelled."""
        if self._context.checkpoint_interval and self._context.stop != "cancel" and step not in (0, self._last):
            self._make(step, None)

    def _make(self, step: int, renew: Renew | None) -> None:
        stops = {"stops": list(self._stops)} if self._stops else {}
        with self._context.checkpoint(step, {"grid": self.steps, **stops}) as directory:
            self._run.save(directory)
            if renew is not None:
                renew(directory, step)
        self._last = step
        self._made = True


def _steps_of(checkpoint: Checkpoint | None) -> int | None:
    steps = checkpoint.facts.get("grid") if checkpoint else None
    return steps if isinstance(steps, int) and 1 <= steps <= LARGEST else None


def _stops_of(checkpoint: Checkpoint | None) -> tuple[int, ...]:
    """Return the steps off the grid at which attempts began that led to a checkpoint."""
    found = checkpoint.facts.get("stops", []) if checkpoint else []
    return tuple(step for step in found if isinstance(step, int)) if isinstance(found, list) else ()
