"""The tasks by the executable, from parameters to results."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.frames import Sample
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.grid import Grid, choose, resume
from nanoos_lab.engines.lammps import failures
from nanoos_lab.engines.lammps.batch import text
from nanoos_lab.engines.lammps.batch.run import Run
from nanoos_lab.engines.lammps.dynamics import STATE, makes_checkpoints
from nanoos_lab.engines.lammps.relax import STATE as POSITIONS
from nanoos_lab.engines.lammps.relax import moved
from nanoos_lab.engines.lammps.session import prepared
from nanoos_lab.engines.lammps.simulation import fmax_of_cell

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.frames import Checkpoint, Frame, Results
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.lammps.batch.run import Row
    from nanoos_lab.engines.lammps.parameters import (
        LammpsMDParameters,
        LammpsRelaxParameters,
        LammpsStaticParameters,
    )
    from nanoos_lab.engines.lammps.place import Place

#: CPU seconds that an atom and a step take, about, by the first part of the pair style: only to choose how far restart
#: files are apart, and for how long a run may say nothing.
_PACES = {"reaxff": 2e-4, "meam": 1.5e-5, "tersoff": 5e-6, "sw": 5e-6}
#: The same for all others, measured with embedded atoms.
_PACE = 2e-6
#: So many times slower a run may be before its silence is taken for more: by a machine, or forces that take longer.
_SLOWER = 30.0


def static(request: JobRequest, parameters: LammpsStaticParameters, context: RunContext) -> Results:
    """Compute energy, forces and stress of the structure as it is."""
    with prepared(request, parameters, context) as place:
        run = Run(place, request, context)
        context.begin(run.view.head(total=0))
        run.execute(text.static(place.system, place.force_field), lambda _: False, lambda *_: None)
        end = run.final()
        if end is not None and not run.stopped:
            context.sample(run.sample(run.row, end[1]))
        results = run.results({})
        run.tidy()
        return results


def md(request: JobRequest, parameters: LammpsMDParameters, context: RunContext) -> Results:
    """Run molecular dynamics.

    Restart files on the way become checkpoints. A run that goes on from one differs from the uninterrupted one by
    rounding, since neighbours are listed anew there.
    """
    with prepared(request, parameters, context) as place:
        origin = resume(context, _take_up)
        first = origin.step if origin else 0
        grid = _grid(place, parameters, context, origin)
        lines = text.dynamics(place.system, place.force_field, parameters, first=first, grid=grid)
        run = Run(place, request, context)
        motion = _Motion(run, parameters, context, first, grid)
        context.begin(replace(run.view.head(total=parameters.steps), first=first))
        patience = _SLOWER * _pace(place, context) * text.pulse(parameters.every)
        run.execute(lines, motion.follow, motion.show, patience=patience)
        if run.stopped:
            motion.leave()
        facts = {"seed": parameters.seed, **({"checkpoint_steps": grid} if motion.saved else {})}
        results = run.results({**facts, **({"first": first} if first else {})})
        run.tidy()
        return results


def _take_up(checkpoint: Checkpoint) -> None:
    """Put a checkpoint where the input looks for it."""
    if not (checkpoint.directory / STATE).stat().st_size:
        raise ValueError("its restart file is empty")
    shutil.copyfile(checkpoint.directory / STATE, text.BEGIN)


def _grid(place: Place, parameters: LammpsMDParameters, context: RunContext, origin: Checkpoint | None) -> int | None:
    """Return the steps between checkpoints; None for none."""
    if not makes_checkpoints(parameters, context):
        return None
    found = origin.facts.get("grid") if origin else None
    if isinstance(found, int) and found > 0:
        return found
    pace = _pace(place, context)
    return context.checkpoint_steps or choose(context.checkpoint_interval, pace, parameters.every)


def _pace(place: Place, context: RunContext) -> float:
    """Return the seconds that a step takes, about."""
    return _PACES.get(place.style.split("/")[0], _PACE) * len(place.system.atoms) / context.resources.ranks


class _Motion:
    """Takes the samples and checkpoints of molecular dynamics."""

    def __init__(
        self, run: Run, parameters: LammpsMDParameters, context: RunContext, first: int, grid: int | None
    ) -> None:
        self.saved = first > 0
        self._run = run
        self._every = parameters.every
        self._context = context
        self._first = first
        self._grid = grid
        self._begun = False

    def follow(self, row: Row) -> bool:
        """Judge a new row; say whether it is one to keep."""
        step = int(row["Step"])
        if not self._begun and step != self._first:
            raise EngineError(f"the restart file is of step {step}, not {self._first}", reason=Reason.BUG)
        if not self._begun:
            self._run.view.guard.expect(row["Temp"])
        self._begun = True
        self._run.view.guard.check(step, row["Temp"], row["PotEng"])
        return step % self._every == 0

    def show(self, row: Row, frame: Frame) -> None:
        """Keep a sample, after a checkpoint that falls on its step or lies before it."""
        self._collect(frame.step)
        self._context.sample(self._run.sample(row, frame))

    def _collect(self, step: int) -> None:
        """Make a checkpoint of the newest restart file up to a step; LAMMPS has closed them all."""
        names = {int(path.name.rpartition(".")[2]): path for path in self._context.workdir.glob(f"{text.ON_THE_WAY}.*")}
        there = sorted(known for known in names if self._first < known <= step)
        if there:
            self._save(there[-1], names[there[-1]])
        for known in there[:-1]:
            names[known].unlink()

    def _save(self, step: int, file: Path) -> None:
        with self._context.checkpoint(step, {"grid": self._grid}) as directory:
            os.replace(file, directory / STATE)
        self.saved = True

    def leave(self) -> None:
        """Leave a checkpoint where the run was stopped, unless it was cancelled."""
        end = self._run.final()
        if end is None or self._context.stop == "cancel" or self._grid is None:
            return
        step = end[0].step
        last = self._context.workdir / "last.restart"
        if step != self._first and self._run.save_last(last):
            self._save(step, last)


def relax(request: JobRequest, parameters: LammpsRelaxParameters, context: RunContext) -> Results:
    """Move the atoms, and the cell if it is free, until the forces vanish.

    Raises
    ------
    EngineError
        If the forces are still too large after the last step.
    """
    begun: list[Atoms] = []
    origin = resume(context, lambda checkpoint: begun.append(moved(request, checkpoint)))
    first = origin.step if origin else 0
    with prepared(request, parameters, context, *begun[-1:]) as place:
        run = Run(place, request, context)
        descent = _Descent(run, parameters, context, origin)
        context.begin(replace(run.view.head(total=None, extra=("fmax",)), first=first))
        lines = text.relaxation(place.system, place.force_field, parameters, first)
        run.execute(lines, descent.follow, descent.show, patience=_SLOWER * _pace(place, context))
        end = run.final()
        if run.stopped or end is None:
            descent.leave(end[1] if end else None)
            results = run.results(descent.grid.provenance)
            run.tidy()
            return results
        fmax, step = descent.fmax(run.row), end[0].step
        if step != descent.last:
            descent.show(run.row, end[1])
        if fmax > parameters.fmax:
            descent.leave(end[1])
            raise failures.not_converged(fmax, step, request.parameters)
        results = run.results(descent.grid.provenance, converged=True, fmax=fmax, steps=step)
        run.tidy()
        return results


class _Descent:
    """Takes the samples and checkpoints of a relaxation."""

    def __init__(
        self, run: Run, parameters: LammpsRelaxParameters, context: RunContext, origin: Checkpoint | None
    ) -> None:
        self.last = -1
        self.grid = Grid(self, context, every=parameters.every, origin=origin)
        self._run = run
        self._parameters = parameters
        self._context = context
        self._frame: Frame | None = None
        self._since = time.perf_counter()

    def follow(self, row: Row) -> bool:
        """Say whether a new row is one to keep."""
        return int(row["Step"]) % self._parameters.every == 0

    def fmax(self, row: Row) -> float:
        """Return what is compared with the parameter, in eV/Å."""
        system = self._run.view.system
        force = row["c_largest"] * (system.units.energy or 1.0)
        if self._parameters.cell == "fixed":
            return force
        pressures = [row[name] for name in ("Pxx", "Pyy", "Pzz", "Pxy", "Pxz", "Pyz")]
        return max(force, fmax_of_cell(system, pressures, row["Volume"], self._parameters.pressure))

    def show(self, row: Row, frame: Frame) -> None:
        """Keep a sample, and a checkpoint if one falls on its step."""
        if self._frame is not None and frame.step > self._frame.step:
            now = time.perf_counter()
            self.grid.ran(frame.step - self._frame.step, now - self._since)
            self._since = now
        self._frame = replace(frame, time=0.0)
        self.grid.reached(frame.step)
        values = self._run.thermo(row, 0.0, frame.cell)
        self._context.sample(Sample(step=frame.step, row=(*values, self.fmax(row)), frame=self._frame))
        self.last = frame.step

    def leave(self, frame: Frame | None) -> None:
        """Leave a checkpoint where the run has ended."""
        self._frame = frame or self._frame
        if self._frame is not None:
            self.grid.left(self._frame.step)

    def save(self, directory: Path) -> None:
        """Write positions and cell, as the library's relaxation does."""
        if self._frame is None:
            raise RuntimeError("there is no frame yet")
        np.savez(directory / POSITIONS, allow_pickle=False, positions=self._frame.positions, cell=self._frame.cell)
