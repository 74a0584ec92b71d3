"""Advance a simulation along its sampling grid, with live samples, progress and stops in between."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from nanoos_lab.engines.cadence import Cadence, Plan

if TYPE_CHECKING:
    from nanoos_lab.core.frames import Sample
    from nanoos_lab.engines.base import RunContext


class Stepper(Protocol):
    """A simulation that can be advanced."""

    def advance(self, steps: int) -> None:
        """Advance by so many steps; by fewer only if an interrupt named with `on_stop` ended it early."""

    def sample(self, step: int) -> Sample:
        """Return thermo row and frame at the current step, which is `step` of the task."""


def drive(
    run: Stepper,
    *,
    steps: int,
    every: int,
    context: RunContext,
    first: int = 0,
    origin: int = 0,
    between: bool = True,
) -> int:
    """Advance a simulation to its last step, or until the context asks it to stop.

    Parameters
    ----------
    run
        The simulation, which stands at step `first`.
    steps
        The last step.
    every
        Samples to be kept are made at the multiples of this from `first` to `steps`, both included.
    context
        Takes samples and progress; asked for stops.
    first
        The step at which the simulation stands; sampled too if it is a multiple of `every`.
    origin
        The step from which multiples of `every` count.
    between
        Whether the simulation may halt between samples, for progress and live samples.

    Returns
    -------
    int
        The last step that was reached for certain: `steps`, or less if the context asked to stop.
    """
    cadence = Cadence() if between else None
    step = first
    if (step - origin) % every == 0:
        context.sample(run.sample(step))
    context.progress(step)
    while step < steps and not _asked_to_stop(context):
        target = min(steps, step - (step - origin) % every + every)
        step = _advance(run, step, target, cadence, context)
        if _asked_to_stop(context):
            break
        if (step - origin) % every == 0:
            context.sample(run.sample(step))
        context.progress(step)
    return step


def _asked_to_stop(context: RunContext) -> bool:
    return context.stop is not None


def _advance(run: Stepper, step: int, target: int, cadence: Cadence | None, context: RunContext) -> int:
    """Advance from `step` to `target` in chunks; return the last step that was reached for certain."""
    while step < target:
        plan = cadence.plan(watched=context.watched) if cadence else Plan(steps=target - step, show=False)
        chunk = _even_part(target - step, plan.steps)
        cpu, wall = time.process_time(), time.perf_counter()
        run.advance(chunk)
        if _asked_to_stop(context):
            return step
        step += chunk
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if cadence:
            cadence.ran(chunk, cpu=cpu, wall=wall, extra=step < target)
        if cadence and step < target:
            if plan.show and context.watched:
                _show(run, step, cadence, context)
            else:
                context.progress(step)
    return step


def _even_part(left: int, wanted: int) -> int:
    """Return the length of the next of equal parts of `left` that are `wanted` long or longer."""
    parts = left // wanted
    return -(-left // parts) if parts > 1 else left


def _show(run: Stepper, step: int, cadence: Cadence, context: RunContext) -> None:
    cpu = time.process_time()
    context.live(run.sample(step))
    cadence.showed(time.process_time() - cpu + context.live_cost)
