"""How a run follows changes of its parameters: each holds from one step on, which every attempt keeps.

A steering is applied where a run halts: it writes down its state, and goes on from that with the changed parameters, as
at a checkpoint. The step is told at once, so that a later attempt, which goes on from an earlier checkpoint, halts at
the same step and does the same.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from nanoos_lab.core.errors import InputError
from nanoos_lab.core.parameters import MDParameters, validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nanoos_lab.core.record import Steering
    from nanoos_lab.engines.base import RunContext

Given = TypeVar("Given", bound=MDParameters)

#: What leads the thermostat.
_LEADING = {"temperature", "temperature_end"}


def of_dynamics(parameters: MDParameters) -> tuple[str, ...]:
    """Return the parameters of molecular dynamics that thermostat and barostat can have changed on the way.

    Raises
    ------
    InputError
        If it has neither.
    """
    if parameters.ensemble == "nve":
        raise InputError("ensemble='nve' has no thermostat and no barostat, so there is nothing to steer")
    bath = ("temperature", "temperature_end", "tdamp")
    return bath if parameters.ensemble == "nvt" else (*bath, "pressure", "pdamp")


@dataclass(frozen=True, kw_only=True)
class Leg(Generic[Given]):
    """What holds from one step on."""

    #: The step.
    first: int
    #: The parameters.
    parameters: Given
    #: The step at which the way from `temperature` to `temperature_end` begins; it ends at the last step.
    since: int = 0

    def target(self, step: int) -> float | None:
        """Return the temperature in K to which the thermostat leads at a step."""
        start, end = self.parameters.temperature, self.parameters.temperature_end
        if start is None or end is None:
            return start
        return start + (end - start) * (step - self.since) / max(self.parameters.steps - self.since, 1)

    def turned(self, changes: Mapping[str, Any], step: int) -> Leg[Given]:
        """Return what holds from a step on at which parameters are changed.

        If one of the temperatures is, the thermostat leads from there anew: from `temperature`, or else from where it
        had led to.
        """
        since = self.since
        if changes.keys() & _LEADING:
            changes, since = {"temperature": self.target(step), **changes}, step
        whole = {**self.parameters.model_dump(mode="json"), **changes}
        return Leg(first=step, parameters=validate(type(self.parameters), whole, where="the steered run"), since=since)


class Steered(Protocol):
    """A run that can be steered."""

    def save(self, directory: Path) -> None:
        """Write what another process needs to go on from here into an empty directory."""

    def renew(self, directory: Path, step: int) -> None:
        """Begin where `save` has left off, with the parameters that hold from this step on."""


class Helm(Generic[Given]):
    """The parameters of one attempt's run as they are steered.

    Parameters
    ----------
    context
        Brings the steerings, and takes the steps at which they were applied.
    parameters
        Those that were asked for at first.
    """

    def __init__(self, context: RunContext, parameters: Given) -> None:
        self._context = context
        self._first_leg = Leg(first=0, parameters=parameters)
        self._steps: dict[int, int] = {}
        self._begun_at = self._step = 0
        self._run: Steered | None = None
        self._interrupt: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def begin(self, run: Steered, first: int, interrupt: Callable[[], None] | None = None) -> None:
        """Note from which step the run begins, before it starts at step 0 or after it was renewed.

        Parameters
        ----------
        run
            What is steered.
        first
            The step.
        interrupt
            Ends a long native call early; called from another thread when a steering has come.
        """
        self._run, self._interrupt = run, interrupt
        self._begun_at = self._step = first
        if first == 0:
            # As if it had been asked for so.
            self.take(0)
        self._context.on_steer(self._come)

    def legs(self) -> list[Leg[Given]]:
        """Return what holds from which steps on, as far as that is known, in order."""
        found = [self._first_leg]
        for one, step in self._known():
            if step is not None:
                found.append(found[-1].turned(one.changes, step))
        return found

    def at(self, step: int) -> Leg[Given]:
        """Return what holds from a step on."""
        return next(leg for leg in reversed(self.legs()) if leg.first <= step)

    def following(self, step: int) -> int | None:
        """Return the first step after this one at which an earlier attempt was steered."""
        return next((at for _, at in self._known() if at is not None and at > step), None)

    @property
    def waiting(self) -> bool:
        """Whether a steering is to be applied at the next halt, wherever that is."""
        return any(self._due(self._step))

    def take(self, step: int) -> bool:
        """Take the steerings that fall on a step at which the run halts, in order; return whether it is to be renewed.

        New ones fall on it, unless earlier ones, whose steps are known, are still to come.
        """
        with self._lock:
            self._step = step
            new = list(self._due(step))
            self._steps.update((one.number, step) for one in new)
        for one in new:
            self._context.steered(one.number, step)
        here = [one for one, at in self._known() if at == step and (step > self._begun_at or one in new)]
        for one in here:
            self._context.log(f"Steering {one.number} holds from step {step} on: {one.text}")
        return bool(here)

    def renew(self, step: int) -> None:
        """Have the run go on from where it stands with what holds from now on."""
        if self._run is None:
            return
        with TemporaryDirectory(dir=self._context.workdir, prefix="steering") as place:
            self._run.save(Path(place))
            self._run.renew(Path(place), step)

    def _known(self) -> Iterator[tuple[Steering, int | None]]:
        """Yield all steerings with the steps at which they are applied, as far as those are known."""
        for one in tuple(self._context.steerings):
            yield one, self._steps.get(one.number) if one.step is None else one.step

    def _due(self, step: int) -> Iterator[Steering]:
        """Yield the new steerings that none with a later step keeps waiting."""
        for one, at in self._known():
            if at is None:
                yield one
            elif at > step:
                return

    def _come(self) -> None:
        """Have the run halt soon, in the thread that has brought a steering."""
        with self._lock:
            # Once it is taken nothing may be interrupted for its sake. At step 0 there is no state to go on from.
            if self._step > 0 and self._interrupt is not None and self.waiting:
                self._interrupt()
