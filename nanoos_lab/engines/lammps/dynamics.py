"""Molecular dynamics: advanced in chunks that change nothing, going on from checkpoints as a fresh process does."""

from __future__ import annotations

import math
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import EngineError, InputError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.drive import Course, drive
from nanoos_lab.engines.grid import Grid, resume
from nanoos_lab.engines.lammps import inputs
from nanoos_lab.engines.lammps.script.text import words_of
from nanoos_lab.engines.lammps.session import Session
from nanoos_lab.engines.lammps.simulation import Simulation
from nanoos_lab.engines.steering import Helm, of_dynamics

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoos_lab.core.frames import Results
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.lammps.parameters import LammpsMDParameters
    from nanoos_lab.engines.steering import Leg

#: LAMMPS's restart file, in a checkpoint.
STATE = "state.restart"
#: What it is called in the working directory while it is read or written: a name without LAMMPS's wildcards.
_HERE = "checkpoint.restart"
#: Name of the fix by which the run is glimpsed, and steps of an atom between two chances to do so: these take tens of
#: microseconds while caches are cold, which is less than a thousandth of what the cheapest forces take for so many.
_PASSING, _APART = "nanoos_passing", 200_000
#: First parts of the styles of fixes that gather what no restart file holds, or write files that they would begin anew.
_GATHERING = ("ave", "phonon", "print", "reaxff", "saed", "vector")


def gathering(parameters: LammpsMDParameters) -> str | None:
    """Return the first command of the user's own that would lose at a checkpoint what it has gathered; None if none."""
    for command in parameters.commands:
        words = [word.text for word in words_of(command)]
        if words[0] == "fix" and ((words[3:4] and words[3].split("/")[0] in _GATHERING) or "file" in words):
            return command
    return None


def makes_checkpoints(parameters: LammpsMDParameters, context: RunContext) -> bool:
    """Whether checkpoints can be made; tell the log if they are wanted and cannot."""
    command = gathering(parameters)
    if command and context.checkpoint_interval:
        context.log(f"There are no checkpoints: {command!r} would lose at each what it has gathered.")
    return command is None and context.checkpoint_interval > 0


def steerable(parameters: LammpsMDParameters) -> tuple[str, ...]:
    """Return the parameters that can be changed while such a run lasts.

    Raises
    ------
    InputError
        If there are none.
    """
    names = of_dynamics(parameters)
    command = gathering(parameters)
    if command:
        raise InputError(f"it cannot be steered: {command!r} would lose at each change what it has gathered")
    if parameters.strain_rate or parameters.commands:
        # What else may be led counts from step 0, and so must a ramp of the temperature beside it.
        ramp = {"temperature", "temperature_end"} if parameters.temperature_end is not None else {"temperature_end"}
        return tuple(name for name in names if name not in ramp)
    return names


def md(request: JobRequest, parameters: LammpsMDParameters, context: RunContext) -> Results:
    """Run molecular dynamics; a restart file is written at its end.

    A run that goes on from a checkpoint on the grid is the uninterrupted one to the last bit. One that goes on from
    where it was stopped differs by rounding, since neighbours are listed anew there, and so diverges in time, as
    chaotic motion does.
    """
    with Session.open(request, parameters, context) as session:
        helm = Helm(context, parameters)
        run = Dynamics(session, helm)
        origin = resume(context, lambda checkpoint: run.renew(checkpoint.directory, checkpoint.step))
        first = origin.step if origin else 0
        helm.begin(run, first, session.program.interrupt)
        if origin is None:
            run.start()
        else:
            run.guard.expect(session.program.thermo("temp"))
        session.note([f"thermo {parameters.every}", f"run {parameters.steps - first} start 0 stop {parameters.steps}"])
        grid = None
        if makes_checkpoints(parameters, context):
            # To renew the run is what a checkpoint costs, save for writing it, which is faster than to read the start.
            grid = Grid(
                run, context, every=parameters.every, origin=origin, renew=run.renew, cost=run.seconds_of_set_up
            )
        context.begin(replace(run.head(total=parameters.steps), first=first))
        clock = session.program.clock
        course = Course(steps=parameters.steps, every=parameters.every, first=first, clock=clock)
        reached = drive(run, course, context, grid, helm)
        session.program.log_again()
        made_by = {"seed": parameters.seed, **(grid.provenance if grid else {})}
        results = session.results(run, made_by, stopped=reached < parameters.steps)
        session.write_restart()
        return results


class Dynamics(Simulation):
    """Molecular dynamics as `drive` wants it, once it was started or renewed.

    Parameters
    ----------
    session
        LAMMPS, without a structure yet.
    helm
        Knows ensemble, time step, steps, and what holds from which step on.
    """

    def __init__(self, session: Session, helm: Helm[LammpsMDParameters]) -> None:
        super().__init__(session.program, session.system)
        self._session = session
        self._helm = helm
        self._leg = helm.at(0)
        self._noted: Leg[LammpsMDParameters] | None = None
        self._passed: Callable[[int], None] = lambda step: None
        #: From which step on that is wanted.
        self._due = math.inf
        #: How long it took to be set up when that was last done, what is done only once left out.
        self.seconds_of_set_up = 0.0

    def start(self) -> None:
        """Begin at step 0."""
        self._set_up(None, 0)

    def on_pass(self, function: Callable[[int], None]) -> None:
        """Name a function that may be called with the step while the run advances."""
        self._passed = function

    def pass_at(self, step: float) -> None:
        """Have it called at the first chance from a step on; infinity for not at all."""
        self._due = step

    def advance(self, steps: int) -> int:
        """Advance; bit for bit the same as one long run, in whatever chunks. Return how many steps were made."""
        before = self._program.step
        course = f"pre no post no start {self._start} stop {self._leg.parameters.steps}"
        self._program.run_chunk(f"run {steps} {course}")
        while self._program.step == before and self._session.context.stop is None:
            # It was interrupted for a steering before it had begun; no step is halted at twice.
            self._program.command("timer timeout off")
            self._program.run_chunk(f"run 1 {course}")
        made = self._program.step - before
        if made == steps:
            # An interrupted chunk has tallied no energies.
            self.watch(self._program.step)
        return made

    @property
    def _start(self) -> int:
        """The step from which LAMMPS is to count what it leads to the last step."""
        return 0 if self._leg.parameters.temperature_end is None else self._leg.since

    def save(self, directory: Path) -> None:
        """Write a restart file; no chunk may follow before the run is renewed."""
        self._program.command(f"write_restart {_HERE}")
        shutil.move(_HERE, directory / STATE)

    def renew(self, directory: Path, step: int) -> None:
        """Begin where a checkpoint stands, with nothing else in mind but what holds from this step on."""
        # By this both are the same: to write a checkpoint and go on, and to begin with it in another process.
        os.symlink(directory / STATE, _HERE)
        try:
            self._set_up(_HERE, step)
        finally:
            Path(_HERE).unlink()
        if self._program.step != step or self._program.atoms != len(self.system.atoms):
            raise EngineError(
                f"the restart file has {self._program.atoms} atoms at step {self._program.step}", reason=Reason.BUG
            )

    def _set_up(self, restart: str | None, step: int) -> None:
        began = time.perf_counter()
        system = self._session.system
        self._leg = leg = self._helm.at(step)
        self.guard.expect(leg.parameters.temperature, leg.parameters.temperature_end)
        lines = [
            *inputs.setup(system, self._session.force_field, restart),
            *inputs.dynamics(system, leg.parameters, step),
        ]
        self._program.clear()
        calm = 0.0
        for line in lines:
            since = time.perf_counter()
            self._program.command(line)
            if line.startswith("minimize"):
                # No other attempt does it again.
                calm += time.perf_counter() - since
        apart = -(-_APART // len(self.system.atoms))
        self._program.observe(_PASSING, lambda step: self._passed(step) if step >= self._due else None, apart)
        # A box that is strained is led from step 0 to the last; what else is led has its beginning now.
        self.prepare(f"start 0 stop {leg.parameters.steps}" if leg.parameters.strain_rate else "")
        if self._noted is None or self._noted.parameters != leg.parameters:
            self._session.note([f"# from step {step} on", *lines] if self._noted else lines)
            self._noted = leg
        self.seconds_of_set_up = time.perf_counter() - began - calm
