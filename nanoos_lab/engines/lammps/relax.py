"""Relaxation with LAMMPS's minimisers, watched iteration by iteration without a say in their path."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nanoos_lab.core.errors import InputError
from nanoos_lab.core.frames import Results, Sample
from nanoos_lab.engines.grid import Grid, resume
from nanoos_lab.engines.lammps import failures, inputs
from nanoos_lab.engines.lammps.session import Session
from nanoos_lab.engines.lammps.simulation import Simulation, fmax_of_cell

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.frames import Checkpoint
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.lammps.parameters import LammpsRelaxParameters

#: Live samples are at least so many wall seconds apart, and cost at most this share of the CPU time.
_LIVE_INTERVAL, _LIVE_SHARE = 0.05, 0.01
#: The file of a checkpoint.
STATE = "state.npz"


def relax(request: JobRequest, parameters: LammpsRelaxParameters, context: RunContext) -> Results:
    """Move the atoms, and the cell if it is free, until the forces vanish.

    Samples are taken at the multiples of `every` and at the last step. Column `fmax` is what is compared with the
    parameter: the largest force on an atom and, with a free cell, volume · stress / atoms.

    Checkpoints leave no trace in a run. One that goes on from a checkpoint begins a minimisation of its own at the
    positions and cell that it finds there, so it takes another path, to a structure that is as well relaxed.

    Raises
    ------
    EngineError
        If the forces are still too large after the last step.
    """
    begun: list[Atoms] = []
    origin = resume(context, lambda checkpoint: begun.append(moved(request, checkpoint)))
    first = origin.step if origin else 0
    with Session.open(request, parameters, context, *begun[-1:]) as session:
        session.execute(inputs.setup(session.system, session.force_field))
        session.execute([*inputs.minimisation(session.system, parameters), f"reset_timestep {first}"])
        simulation = Simulation(session.program, session.system)
        context.begin(replace(simulation.head(total=None, extra=("fmax",)), first=first))
        observer = _Observer(session, simulation, parameters, origin)
        _minimise(session, observer, parameters)
        observer.finish()
        stopped = context.stop is not None
        if not stopped and observer.fmax > parameters.fmax:
            observer.leave()
            raise failures.not_converged(observer.fmax, observer.step, request.parameters)
        results = session.results(
            simulation,
            observer.grid.provenance,
            stopped=stopped,
            converged=True,
            fmax=observer.fmax,
            steps=observer.step,
        )
        session.write_restart()
        return results


def moved(request: JobRequest, checkpoint: Checkpoint) -> Atoms:
    """Return the structure of a request as it was at a checkpoint."""
    if request.structure is None:
        raise InputError("this task needs a structure")
    atoms = request.structure.atoms()
    with np.load(checkpoint.directory / STATE, allow_pickle=False) as state:
        # Past the constraints: fixed atoms have not moved.
        atoms.arrays["positions"][:] = state["positions"]
        atoms.set_cell(state["cell"])
    return atoms


def _minimise(session: Session, observer: _Observer, parameters: LammpsRelaxParameters) -> None:
    free = parameters.cell == "free"
    style: str = parameters.optimizer
    session.execute(inputs.minimiser(style))
    while True:
        before = session.program.step
        left = parameters.steps - before
        chunk = min(left, inputs.RENEWED_AFTER) if free else left
        session.execute([inputs.minimise(session.system, parameters, chunk)])
        observer.settle()
        made = session.program.step - before
        if observer.converged or session.context.stop is not None or made >= left:
            return
        if free and made:
            continue
        if free or style not in ("cg", "sd"):
            return
        # Where a line search can no longer tell energies apart, forces still lead on.
        style = "fire"
        session.execute(inputs.minimiser(style))


class _Observer:
    """Sees every evaluation of the forces; the last one of an iteration is its result.

    LAMMPS calls it from inside the minimiser, through ``fix external``, which adds no force.
    """

    def __init__(
        self, session: Session, simulation: Simulation, parameters: LammpsRelaxParameters, origin: Checkpoint | None
    ) -> None:
        self.step = session.program.step
        #: Saving leaves no trace in the run, so that nothing is renewed.
        self.grid = Grid(self, session.context, every=parameters.every, origin=origin)
        self.fmax = float("inf")
        self._session = session
        self._simulation = simulation
        self._parameters = parameters
        self._mobile = np.ones(len(session.system.atoms), dtype=bool)
        self._mobile[session.system.fixed] = False
        self._frame = simulation.frame(0)
        self._thermo: dict[str, float] = {}
        self._forces = 0.0
        #: Tells the CPU seconds that it takes.
        self._clock = session.program.clock
        self._live_from = time.perf_counter()
        self._live_after = 0.0
        self._since = time.perf_counter()
        self._error: Exception | None = None
        session.program.observe("observer", self._evaluated)

    @property
    def converged(self) -> bool:
        """Whether the last complete iteration ended below `fmax`."""
        return self.fmax <= self._parameters.fmax

    def settle(self) -> None:
        """Judge the iteration at which the minimiser has ended; raise what could not be raised inside its call."""
        if self._error is not None:
            raise self._error
        if self._session.context.stop is None:
            self._judge()

    def finish(self) -> None:
        """Take the last sample, or leave a checkpoint where the run was stopped."""
        if self._session.context.stop is None:
            self._hand_over(last=True)
            return
        self.leave()

    def leave(self) -> None:
        """Leave a checkpoint where the run stands."""
        self.step = self._session.program.step
        self._frame = self._simulation.frame(self.step)
        self.grid.left(self.step)

    def save(self, directory: Path) -> None:
        """Write positions and cell; a minimiser that goes on from there only has to find its direction anew."""
        np.savez(directory / STATE, allow_pickle=False, positions=self._frame.positions, cell=self._frame.cell)

    def _evaluated(self, step: int) -> None:
        try:
            if step > self.step:
                # LAMMPS has printed the thermo row of the iteration before.
                self._judge()
                self._hand_over(last=False)
                self._keep(step)
            self.step = step
            self._frame = self._simulation.frame(step)
            forces = self._simulation.forces()[self._mobile]
            self._forces = float(np.linalg.norm(forces, axis=1).max(initial=0.0))
        except Exception as error:
            self._error = error
            self._session.program.interrupt()

    def _keep(self, step: int) -> None:
        """Make a checkpoint of the iteration that has just ended if it is on the grid; `step` is the next one."""
        now = time.perf_counter()
        self.grid.ran(step - self.step, now - self._since)
        self._since = now
        self.grid.reached(self.step)

    def _judge(self) -> None:
        """Measure the iteration that has just ended."""
        self._thermo = self._session.program.last_thermo() or {}
        self.fmax = max(self._forces, self._stress_force())

    def _hand_over(self, *, last: bool) -> None:
        """Hand over the iteration that has just ended."""
        context = self._session.context
        if last or self.step % self._parameters.every == 0:
            context.sample(self._sample())
        elif context.watched and self._is_time_for_live():
            started = self._clock()
            context.live(self._sample())
            cost = self._clock() - started + context.live_cost
            self._live_from = time.perf_counter()
            self._live_after = self._clock() + cost / _LIVE_SHARE
        context.progress(self.step)

    def _is_time_for_live(self) -> bool:
        waited = time.perf_counter() - self._live_from
        return waited >= _LIVE_INTERVAL and self._clock() >= self._live_after

    def _sample(self) -> Sample:
        thermo, frame = self._thermo, self._frame
        values = (0.0, thermo["PotEng"], 0.0, thermo["PotEng"], thermo["Press"])
        row = self._simulation.row(frame.step, 0.0, frame.cell, values, thermo["Volume"])
        return Sample(step=frame.step, row=(*row, self.fmax), frame=frame)

    def _stress_force(self) -> float:
        """Return what ASE's cell filters count as forces: volume · stress / atoms, as the largest row in eV."""
        if self._parameters.cell == "fixed":
            return 0.0
        components = [self._thermo[name] for name in ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")]
        return fmax_of_cell(self._session.system, components, self._thermo["Volume"], self._parameters.pressure)
