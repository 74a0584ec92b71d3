"""The tasks: what is sampled, what a checkpoint holds, and what comes out.

A stop is asked for by pw.x's own file, so that it saves its state. Where that is there and not too large, it is the
checkpoint of a static calculation or a relaxation, and the next attempt goes on inside the SCF cycle that was
interrupted, by pw.x's ``restart_mode``; only the first cycle of a relaxation is made again. Between steps of a
relaxation a checkpoint is the structure alone: the next attempt begins an optimisation of its own there, takes another
path, and ends at a structure that is as well relaxed.

A checkpoint of dynamics, on the grid or at a stop, is positions and velocities at a complete step. The next attempt
makes the cycle of that step again and goes on along the same path: not bit for bit, but to the ten digits of positions
that pw.x prints and to the error of a cycle, `conv_thr`, since its first density is made of atoms, not extrapolated.
With a thermostat it takes another path, of the same temperature.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units

from nanoos_lab.core.frames import Frame, Results, RunHead, Sample
from nanoos_lab.core.structures import Structure
from nanoos_lab.core.units import thermo_columns
from nanoos_lab.engines.blowup import Guard
from nanoos_lab.engines.espresso import execution, inputs
from nanoos_lab.engines.espresso.execution import Execution
from nanoos_lab.engines.espresso.inputs import Start, free_components
from nanoos_lab.engines.espresso.output import Cycle, Iteration
from nanoos_lab.engines.espresso.parameters import EspressoMDParameters, EspressoRelaxParameters
from nanoos_lab.engines.grid import Grid, resume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.frames import Checkpoint
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.espresso.parameters import EspressoParameters, EspressoStaticParameters

    Array = np.ndarray[Any, Any]
    Moving = EspressoRelaxParameters | EspressoMDParameters

#: Columns after the usual ones.
EXTRA = ("fmax", "scf_iterations", "scf_accuracy")
#: Largest state of pw.x that is kept in a checkpoint, in bytes.
LARGEST_STATE = 1 << 30
#: The file of a checkpoint that is ours.
_STATE = "state.npz"


def static(request: JobRequest, parameters: EspressoStaticParameters, context: RunContext) -> Results:
    """Calculate the structure as it is; a step is an iteration of the SCF cycle.

    Raises
    ------
    EngineError
        If pw.x fails.
    """
    run, iterations = density(request, parameters, context)
    return _results(run, Structure.encode(run.atoms), iterations.grid)


def density(request: JobRequest, parameters: EspressoParameters, context: RunContext) -> tuple[Execution, Iterations]:
    """Find the density of the structure as it is; return the run that has found it, and what has followed it.

    Raises
    ------
    EngineError
        If pw.x fails.
    """
    run = Execution(request, parameters, context)
    follower = Iterations(run, context)
    run.write(run.atoms, follower.start)
    context.begin(replace(_head(run.atoms, None), first=follower.step))
    error = run.run(follower.take)
    if error is not None:
        raise error
    follower.finish()
    return run, follower


def relax(request: JobRequest, parameters: EspressoRelaxParameters, context: RunContext) -> Results:
    """Move the atoms, and the cell if it is free, until the forces vanish; a step is one of the optimiser's.

    Raises
    ------
    EngineError
        If pw.x fails, or the forces are still too large after the last step.
    """
    return _move(request, parameters, context)


def md(request: JobRequest, parameters: EspressoMDParameters, context: RunContext) -> Results:
    """Move the atoms by Newton's equations; the final structure has its velocities.

    Raises
    ------
    EngineError
        If pw.x fails, or the run has blown up.
    """
    return _move(request, parameters, context)


def _move(request: JobRequest, parameters: Moving, context: RunContext) -> Results:
    run = Execution(request, parameters, context)
    dynamics = _Dynamics(run, parameters, context) if isinstance(parameters, EspressoMDParameters) else None
    follower = dynamics or _Steps(run, parameters, context)
    run.write(follower.atoms, follower.start)
    head = _head(run.atoms, parameters.steps if dynamics else None)
    context.begin(replace(head, first=follower.begins))
    follower.repeat()
    error = run.run(follower.take)
    if dynamics and run.out_of_steps and follower.step >= parameters.steps:
        # Each step counts.
        error = run.lack_of_bands(from_start=True)
    follower.finish(failed=error is not None)
    if error is not None:
        raise error
    atoms = run.final_atoms()
    if dynamics:
        atoms.set_velocities(dynamics.velocities / units.fs)
    results = _results(run, Structure.encode(atoms), follower.grid, *_caveats(run, parameters, follower))
    fmax = {} if dynamics else {"fmax": follower.fmax}
    seed = {"seed": parameters.seed} if isinstance(parameters, EspressoMDParameters) and parameters.temperature else {}
    return replace(
        results,
        properties={**results.properties, **fmax, "steps": follower.step},
        provenance={**results.provenance, **seed},
    )


def _caveats(run: Execution, parameters: Moving, follower: _Steps) -> Iterator[str]:
    """Yield what has not converged though the run has ended well, the last SCF cycle left out."""
    if run.stopped:
        return
    if isinstance(parameters, EspressoMDParameters):
        if follower.unconverged:
            yield f"the SCF cycle has not converged in {follower.unconverged} of {parameters.steps + 1} steps"
    elif follower.fmax > parameters.fmax:
        # The last cycle has other plane waves than the optimiser had.
        yield (
            f"with the plane waves of the final cell fmax is {follower.fmax:.3g} eV/Å, not {parameters.fmax:g} eV/Å: "
            "relax once more from job.structure, or use a higher ecutwfc"
        )


def _results(run: Execution, structure: Structure, grid: Grid, *caveats: str) -> Results:
    if not run.stopped:
        run.tidy()
    return Results(
        properties=run.final(*caveats),
        structure=structure,
        provenance={**run.provenance(), **grid.provenance},
        stopped=run.stopped,
    )


def _head(atoms: Atoms, total: int | None) -> RunHead:
    first, second, third = (bool(flag) for flag in atoms.pbc)
    return RunHead(
        total=total,
        columns=thermo_columns(*EXTRA),
        numbers=atoms.numbers.copy(),
        pbc=(first, second, third),
        masses=atoms.arrays.get("masses"),
    )


def _row(event: Iteration | Cycle, time_: float, volume: float, fmax: float = math.nan) -> tuple[float, ...]:
    """Return the values of the columns; NaN for what is not known before the cycle is complete."""
    if isinstance(event, Iteration):
        values = (0.0, event.energy, 0.0, event.energy, math.nan)
        return (time_, *values, volume, fmax, float(event.number), event.accuracy)
    pressure = math.nan if event.stress is None else -float(event.stress[:3].sum()) / 3
    if volume and event.kinetic:
        pressure += 2 * event.kinetic / 3 / volume
    return (
        time_,
        event.temperature,
        event.energy,
        event.kinetic,
        event.energy + event.kinetic,
        pressure / units.GPa,
        volume,
        fmax,
        float(event.iterations),
        event.accuracy,
    )


def largest_force(forces: Array | None, atoms: Atoms) -> float:
    """Return the largest force on an atom in eV/Å, components that are held left out; NaN if there are none."""
    if forces is None:
        return math.nan
    return float(np.linalg.norm(forces * free_components(atoms), axis=1).max(initial=0.0))


class Iterations:
    """Follows the one SCF cycle of a static calculation."""

    def __init__(self, run: Execution, context: RunContext) -> None:
        self._run = run
        self._context = context
        self._restart = False
        #: Iterations so far, those of earlier attempts included.
        self.step = 0
        origin = resume(context, self._load)
        self._offset = self.step
        self.grid = Grid(self, context, every=1, origin=origin)

    @property
    def start(self) -> Start:
        """How pw.x begins."""
        return Start(restart=self._restart)

    def take(self, event: Iteration | Cycle) -> None:
        """Hand over an iteration, or the end of the cycle with all that is known then."""
        volume = float(self._run.atoms.cell.volume)
        if isinstance(event, Iteration):
            self.step = self._offset + event.number
            self._context.sample(Sample(step=self.step, row=_row(event, 0.0, volume), frame=None))
        else:
            self.step = max(self.step, self._offset + event.iterations)
            row = _row(event, 0.0, volume, largest_force(event.forces, self._run.atoms))
            self._context.sample(Sample(step=self.step, row=row, frame=_frame(self._run.atoms, self.step, 0.0)))
        self._context.progress(self.step)

    def finish(self) -> None:
        """Leave a checkpoint if the run was stopped."""
        if self._run.stopped and self._run.reader.last is None:
            self.grid.left(self.step)

    def save(self, directory: Path) -> None:
        """Write pw.x's state, if it has left one."""
        kept = execution.copy_state(self._run.out, directory, limit=LARGEST_STATE)
        self._context.log("pw.x's state is kept" if kept else "warning: pw.x has left no state to go on from")

    def _load(self, checkpoint: Checkpoint) -> None:
        self._restart = _put_state(self._run, checkpoint)
        if not self._restart:
            raise ValueError("it has no state of pw.x")
        self.step = checkpoint.step


class _Steps:
    """Follows the SCF cycles of a relaxation, one for each step, and samples them."""

    def __init__(self, run: Execution, parameters: Moving, context: RunContext) -> None:
        self._run = run
        self._parameters = parameters
        self._context = context
        self._restart = False
        self._repeated: Sample | None = None
        #: Where the next cycle is made.
        self.atoms = run.atoms.copy()
        #: The last step that is complete, -1 before the first.
        self.step = -1
        self.fmax = math.nan
        #: Cycles that need not converge and have not, those of earlier attempts included.
        self.unconverged = 0
        origin = resume(context, self._load)
        #: Step of the first cycle of this attempt.
        self.first = self.step + 1
        self.grid = Grid(self, context, every=parameters.every, origin=origin)
        self._last: Sample | None = self._repeated
        self._sampled = -1
        self._since = time.perf_counter()

    @property
    def begins(self) -> int:
        """Step of the first sample of this attempt."""
        return self.first if self._repeated is None else self._repeated.step

    @property
    def start(self) -> Start:
        """How pw.x begins."""
        return Start(cycles=max(1, self._parameters.steps + 1 - self.first), restart=self._restart)

    def repeat(self) -> None:
        """Hand over the sample of the checkpoint again: from here on it is this attempt's that counts."""
        if self._repeated is not None and self._repeated.step % self._parameters.every == 0:
            self._context.sample(self._repeated)
            self._sampled = self._repeated.step

    def take(self, event: Iteration | Cycle) -> None:
        """Show an iteration to those who watch; hand over a step that is complete."""
        if isinstance(event, Iteration):
            self._show(event)
            return
        if event.forces is None and self._context.stop is not None:
            # It has stopped before the forces, so the step is not complete.
            return
        self.step += 1
        self.unconverged += not event.accuracy <= self._run.parameters.conv_thr
        if event.positions is not None:
            execution.place(self.atoms, event.positions, event.cell)
        self._sample(event)
        # pw.x's positions for the next cycle are known now: frames and checkpoints show those.
        if self._run.reader.positions is not None:
            execution.place(self.atoms, self._run.reader.positions, self._run.reader.cell)
        if self._context.stop is None:
            self.grid.reached(self.step)

    def finish(self, *, failed: bool) -> None:
        """Take the last sample; leave a checkpoint where the run was stopped or failed."""
        if not self._run.stopped and self._sampled < self.step:
            self._hand_over()
        if (self._run.stopped or failed) and self.step >= self.first:
            self.grid.left(self.step)

    def save(self, directory: Path) -> None:
        """Write where the next cycle is made, the last sample, and pw.x's state if it has left one."""
        frame, row = self._latest()
        np.savez(
            directory / _STATE,
            allow_pickle=False,
            positions=self.atoms.positions,
            cell=self.atoms.cell.array,
            row=np.array(row),
            last_positions=frame.positions,
            last_cell=frame.cell,
            unconverged=self.unconverged,
        )
        if self._run.stopped:
            kept = execution.copy_state(self._run.out, directory, limit=LARGEST_STATE)
            self._context.log("pw.x's state is kept" if kept else "the structure is kept, pw.x's state is not")

    def _load(self, checkpoint: Checkpoint) -> None:
        with np.load(checkpoint.directory / _STATE, allow_pickle=False) as state:
            positions, cell, row = state["positions"], state["cell"], state["row"]
            # A checkpoint of an earlier version does not have it.
            self.unconverged = int(state["unconverged"]) if "unconverged" in state else 0
            frame = Frame(
                step=checkpoint.step,
                time=self._time(checkpoint.step),
                positions=state["last_positions"],
                cell=state["last_cell"],
            )
        self._restart = _put_state(self._run, checkpoint)
        execution.place(self.atoms, positions, cell)
        self._repeated = Sample(step=checkpoint.step, row=tuple(row.tolist()), frame=frame)
        self.step = checkpoint.step

    def _latest(self) -> tuple[Frame, tuple[float, ...]]:
        if self._last is None or self._last.frame is None:
            raise RuntimeError("there is no step to save")
        return self._last.frame, self._last.row

    def _show(self, event: Iteration) -> None:
        if self._context.watched:
            step = self.step + 1
            row = _row(event, self._time(step), float(self.atoms.cell.volume))
            self._context.live(Sample(step=step, row=row, frame=_frame(self.atoms, step, self._time(step))))

    def _sample(self, event: Cycle) -> None:
        self.fmax = self._largest(event)
        row = _row(event, self._time(self.step), float(self.atoms.cell.volume), self.fmax)
        self._last = Sample(step=self.step, row=row, frame=_frame(self.atoms, self.step, self._time(self.step)))
        if self.step % self._parameters.every == 0:
            self._hand_over()
        self._context.progress(self.step)
        now = time.perf_counter()
        self.grid.ran(1, now - self._since)
        self._since = now

    def _hand_over(self) -> None:
        if self._last is not None and self._last.step > self._sampled:
            self._context.sample(self._last)
            self._sampled = self._last.step

    def _time(self, step: int) -> float:
        return step * self._parameters.timestep if isinstance(self._parameters, EspressoMDParameters) else 0.0

    def _largest(self, event: Cycle) -> float:
        """Return what is compared with `fmax`: with a free cell the stress, too, as ASE's cell filters count it."""
        force = largest_force(event.forces, self._run.atoms)
        given = self._parameters
        if isinstance(given, EspressoMDParameters) or given.cell == "fixed" or event.stress is None:
            return force
        xx, yy, zz, yz, xz, xy = event.stress
        excess = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) + np.eye(3) * given.pressure * units.GPa
        rows = np.linalg.norm(excess, axis=1) * float(self.atoms.cell.volume) / len(self.atoms)
        return max(force, float(rows.max()))


class _Dynamics(_Steps):
    """Follows the SCF cycles of dynamics; knows the velocities, from which it goes on."""

    def __init__(self, run: Execution, parameters: EspressoMDParameters, context: RunContext) -> None:
        self._timestep = parameters.timestep
        self._held = parameters.ensemble == "nvt"
        self._loaded: Array | None = None
        #: Those at the last complete step in Å/fs, shape (atoms, 3).
        self.velocities: Array = run.atoms.get_velocities() * units.fs
        super().__init__(run, parameters, context)
        self._guard = Guard(parameters.model_dump())
        # pw.x knows no temperature at its first step.
        self._guard.expect(self._motion()[1])
        if self._loaded is None and inputs.drifts(run.atoms):
            context.log("warning: the structure moves as a whole; pw.x takes the momentum of its centre of mass away")

    @property
    def start(self) -> Start:
        """How pw.x begins: at the step of the checkpoint, which it makes again, since the forces there are not kept."""
        return replace(super().start, velocities=self._loaded)

    def save(self, directory: Path) -> None:
        """Write positions and velocities at the last complete step."""
        frame, _ = self._latest()
        np.savez(directory / _STATE, allow_pickle=False, positions=frame.positions, velocities=self.velocities)

    def _load(self, checkpoint: Checkpoint) -> None:
        with np.load(checkpoint.directory / _STATE, allow_pickle=False) as state:
            positions, velocities = state["positions"], state["velocities"]
        execution.place(self.atoms, positions, None)
        self.velocities = self._loaded = velocities
        self.step = checkpoint.step - 1

    def _sample(self, event: Cycle) -> None:
        """Find the velocities at the step, as pw.x's Verlet has them, and sample it.

        From where the atoms go, not from where they came: a thermostat may have changed their way in between. Then pw.x
        counts half of the motion of the centre of mass that it takes away, so the kinetic energy is found from them.

        Raises
        ------
        EngineError
            If the run has blown up.
        """
        after = self._run.reader.positions
        if after is not None and event.forces is not None:
            kicks = event.forces * units.fs**2 / self.atoms.get_masses()[:, None] * self._timestep / 2
            moved = (after - self.atoms.positions) / self._timestep
            self.velocities = (moved - kicks) * free_components(self._run.atoms)
            # pw.x's own temperature is none for a single atom.
            kinetic, temperature = self._motion()
            self._guard.check(self.step, temperature, kinetic)
            if self._held:
                event = replace(event, kinetic=kinetic, temperature=temperature)
        super()._sample(event)

    def _motion(self) -> tuple[float, float]:
        """Return kinetic energy in eV and temperature in K, 0 for a single atom, by the velocities."""
        masses = self.atoms.get_masses()[:, None]
        kinetic = float((masses * (self.velocities / units.fs) ** 2).sum() / 2)
        freedom = inputs.degrees_of_freedom(self._run.atoms)
        return kinetic, 2 * kinetic / (freedom * units.kB) if freedom else 0.0


def _put_state(run: Execution, checkpoint: Checkpoint) -> bool:
    """Put pw.x's state where it looks for it; say whether the checkpoint has one."""
    names = [path.name for path in checkpoint.directory.iterdir() if path.name.startswith("pwscf.")]
    execution.put_state(checkpoint.directory, run.out, names)
    return bool(names)


def _frame(atoms: Atoms, step: int, time_: float) -> Frame:
    return Frame(step=step, time=time_, positions=atoms.positions.copy(), cell=atoms.cell.array.copy())
