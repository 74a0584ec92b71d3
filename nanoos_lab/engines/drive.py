"""Advance a simulation along its sampling grid, with live samples, progress, checkpoints and stops in between."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from nanoos_lab.engines.cadence import Cadence, Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoos_lab.core.frames import Sample
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.grid import Grid
    from nanoos_lab.engines.steering import Helm


class Stepper(Protocol):
    """A simulation that can be advanced."""

    def advance(self, steps: int) -> int:
        """Advance by so many steps, and return how many were made.

        Fewer only if a stop was asked for, or a steering; for that it makes one at least.
        """

    def sample(self, step: int) -> Sample:
        """Return thermo row and frame at the current step, which is `step` of the task."""

    def glance(self, step: int) -> Sample:
        """Return the same for those who watch, who need no velocities."""


@runtime_checkable
class Passing(Protocol):
    """A simulation that can be glimpsed while it advances."""

    def on_pass(self, function: Callable[[int], None]) -> None:
        """Name a function that may be called with the step while the simulation advances."""

    def pass_at(self, step: float) -> None:
        """Have it called at the first chance from a step on; infinity for not at all."""

    def glimpse(self, step: int) -> Sample:
        """Return the frame alone; only inside of that function."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """From where to where a simulation is driven."""

    #: The last step.
    steps: int
    #: Samples to be kept are made at the multiples of this from `first` to `steps`, both included.
    every: int
    #: The step at which the simulation stands; sampled too if it is a multiple of `every`.
    first: int = 0
    #: The step from which multiples of `every` count.
    origin: int = 0
    #: Whether the simulation may halt between samples, for progress and live samples.
    between: bool = True
    #: CPU seconds that it costs at most to halt, where that is known beforehand.
    dearest_halt: float = math.inf
    #: Tells the CPU seconds of the simulation: those of this process, unless it runs in others.
    clock: Callable[[], float] = time.process_time

    def is_sampled(self, step: int) -> bool:
        """Whether a sample falls on a step."""
        return (step - self.origin) % self.every == 0

    def following(self, step: int) -> int:
        """Return the step after this one where the next sample falls, or the last one."""
        return min(self.steps, step - (step - self.origin) % self.every + self.every)


def drive(
    run: Stepper, course: Course, context: RunContext, grid: Grid | None = None, helm: Helm[Any] | None = None
) -> int:
    """Advance a simulation to its last step, or until the context asks it to stop.

    A step on which a checkpoint and a sample fall is sampled after the checkpoint, as an attempt does that goes on
    from it; so the sample is the same, whichever attempt makes it.

    Parameters
    ----------
    run
        The simulation, which stands at the first step of the course.
    course
        The steps.
    context
        Takes samples and progress; asked for stops.
    grid
        Makes the checkpoints; None for none.
    helm
        Has steerings applied, for which the run may return early; None if it cannot be steered.

    Returns
    -------
    int
        The last step that was reached: the last of the course, or less if the context asked to stop.
    """
    passing = isinstance(run, Passing)
    cadence = Cadence(passing=passing, dearest_stop=course.dearest_halt) if course.between else None
    glimpser = _Glimpser(run, cadence, context, course.clock)
    step = course.first
    _set_out(run, course, context, helm)
    while step < course.steps and not _asked_to_stop(context):
        halt = _following(step, course, grid, helm)
        plan = cadence.plan(watched=context.watched) if cadence else Plan(steps=halt - step, show=False)
        chunk = _even_part(halt - step, plan.steps)
        cpu, wall = course.clock(), time.perf_counter()
        glimpser.begin(step, step + chunk, plan.apart)
        made = run.advance(chunk)
        cpu, wall = course.clock() - cpu, time.perf_counter() - wall
        step += made
        if made == chunk:
            if grid:
                grid.ran(made, wall)
            if cadence:
                cadence.ran(made, cpu=cpu, wall=wall, extra=step < halt)
        elif _is_broken_off(context, helm):
            break
        if step < course.steps and not _asked_to_stop(context):
            _halt(step, grid, helm)
            if _asked_to_stop(context):
                # A program that is stopped while it is renewed may have nothing to show; the next attempt has.
                break
        if cadence and step < halt:
            _report_between(run, step, cadence, context, show=plan.show, clock=course.clock)
        else:
            _report(run, step, course, context)
    if grid and step < course.steps:
        grid.left(step)
    return step


class _Glimpser:
    """Shows frames of a chunk while it runs, to those who watch, if the simulation can be glimpsed.

    Parameters
    ----------
    run
        The simulation.
    cadence
        Says which of them are worth their cost; None if it is not to be looked at between samples.
    context
        Takes them.
    clock
        Tells the CPU seconds of the simulation.
    """

    def __init__(self, run: Stepper, cadence: Cadence | None, context: RunContext, clock: Callable[[], float]) -> None:
        self._context = context
        self._clock = clock
        self._end = self._apart = 0
        self._run: Passing | None = None
        if cadence and isinstance(run, Passing):
            self._run, self._cadence = run, cadence
            run.on_pass(self._pass)

    def begin(self, start: int, end: int, apart: int) -> None:
        """Note where a chunk begins and ends, and after how many steps a glimpse is worth its cost."""
        if self._run is not None:
            self._end, self._apart = end, apart
            self._run.pass_at(start + apart if apart else math.inf)

    def _pass(self, step: int) -> None:
        # What there is to see at the end of the chunk is shown there.
        if self._run is None or step >= self._end:
            return
        if self._context.watched:
            cpu = self._clock()
            self._context.live(self._run.glimpse(step))
            self._cadence.glimpsed(self._clock() - cpu, self._context.live_cost)
        # While nobody watches, a chunk is long, and somebody may begin to.
        self._run.pass_at(step + self._apart)


def _asked_to_stop(context: RunContext) -> bool:
    return context.stop is not None


def _set_out(run: Stepper, course: Course, context: RunContext, helm: Helm[Any] | None) -> None:
    """Apply what was asked for while no attempt ran, and report the first step, unless a stop is asked for."""
    if course.first and not _asked_to_stop(context):
        _halt(course.first, None, helm)
    if not _asked_to_stop(context):
        _report(run, course.first, course, context)


def _is_broken_off(context: RunContext, helm: Helm[Any] | None) -> bool:
    """Whether a run that has come back early is to end there; it may only have made way for a steering."""
    return _asked_to_stop(context) or helm is None or not helm.waiting


def _report(run: Stepper, step: int, course: Course, context: RunContext) -> None:
    """Hand over the sample that falls on a step, if one does, and say how far the run is."""
    if course.is_sampled(step):
        context.sample(run.sample(step))
    context.progress(step)


def _halt(step: int, grid: Grid | None, helm: Helm[Any] | None) -> None:
    """Make the checkpoint, and apply the steerings, that fall on a step at which the run stands."""
    # First it is known what holds from here on: who goes on from the checkpoint begins with that.
    steered = helm is not None and helm.take(step)
    renewed = grid is not None and grid.reached(step)
    if helm is not None and steered and not renewed:
        helm.renew(step)


def _following(step: int, course: Course, grid: Grid | None, helm: Helm[Any] | None) -> int:
    """Return the next step at which the run must halt."""
    others = (grid and grid.following(step), helm and helm.following(step))
    return min(course.following(step), *(other or course.steps for other in others))


def _even_part(left: int, wanted: int) -> int:
    """Return the length of the next of equal parts of `left` that are `wanted` long or longer."""
    parts = left // wanted
    return -(-left // parts) if parts > 1 else left


def _report_between(
    run: Stepper, step: int, cadence: Cadence, context: RunContext, *, show: bool, clock: Callable[[], float]
) -> None:
    """Show a live sample where the run has halted for that alone, or say how far it is."""
    cpu = clock()
    if show and context.watched:
        context.live(run.glance(step))
        cadence.showed(clock() - cpu + context.live_cost)
    else:
        context.progress(step)
        cadence.reported(clock() - cpu)
