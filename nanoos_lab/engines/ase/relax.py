"""Relaxation with ASE's optimisers."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import optimize, units
from ase.filters import FrechetCellFilter
from ase.optimize import bfgs

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.ase import state
from nanoos_lab.engines.ase.calculators import calculating
from nanoos_lab.engines.ase.measure import Meter
from nanoos_lab.engines.grid import Grid, resume

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.engines.ase.parameters import AseRelaxParameters
    from nanoos_lab.engines.base import RunContext


def run_relax(atoms: Atoms, given: AseRelaxParameters, context: RunContext) -> Results:
    """Relax the atoms, and the cell if it is free.

    Samples are taken at the multiples of `every` and at the last step. No time passes and nothing has
    momentum, so their time, temperature and kinetic energy are zero. Column `fmax` is what is compared with
    the parameter.

    Parameters
    ----------
    atoms
        With their calculator; they are moved.
    given
        When to end, and how.
    context
        Takes the samples.

    Raises
    ------
    EngineError
        If the forces are still too large after the last step.
    """
    meter = Meter(atoms, given.calculator)
    run = _Optimisation(atoms, given)
    origin = resume(context, lambda checkpoint: run.renew(checkpoint.directory, checkpoint.step))
    first = origin.step if origin else 0
    if origin is None:
        run.start()
    grid = Grid(run, context, every=given.every, origin=origin, renew=run.renew, worth=state.WORTH)
    context.begin(replace(meter.head("fmax", total=None), first=first))
    for step, fmax, converged in run.steps(grid):
        last = converged or step == given.steps or context.stop == "cancel"
        if last or step % given.every == 0:
            context.sample(meter.sample(step, 0.0, fmax))
        context.progress(step)
        if last or context.stop is not None:
            break
    stopped = not converged and context.stop is not None
    if not converged and not stopped:
        raise _not_converged(fmax, step, given)
    if stopped:
        grid.left(step)
    return Results(
        properties={**meter.properties(), "fmax": fmax, "steps": step},
        structure=meter.structure(),
        provenance={"optimizer": given.optimizer, **grid.provenance},
        stopped=stopped,
    )


class _Optimisation:
    """Atoms, cell filter and optimiser, once they were started or renewed."""

    _optimizer: Any
    _moved: Atoms | FrechetCellFilter

    def __init__(self, atoms: Atoms, given: AseRelaxParameters) -> None:
        self._atoms = atoms
        self._given = given
        self._origin = (atoms.positions.copy(), atoms.cell.array.copy())

    def start(self) -> None:
        """Begin at step 0."""
        state.place(self._atoms, *self._origin)
        self._build(0)

    def save(self, directory: Path) -> None:
        """Write atoms, cell, and what the optimiser has learnt of the energy."""
        arrays, values = _memory(self._optimizer)
        arrays["positions"] = self._atoms.positions
        arrays["cell"] = self._atoms.cell.array
        state.write(directory, arrays, values)

    def renew(self, directory: Path, step: int) -> None:
        """Begin where a checkpoint stands; the calculator forgets what it has seen."""
        arrays, values = state.read(directory)
        # Strain is measured from the cell at step 0.
        state.place(self._atoms, *self._origin)
        self._build(step)
        state.place(self._atoms, arrays.pop("positions"), arrays.pop("cell"))
        state.forget(self._atoms.calc)
        _remember(self._optimizer, arrays, values)

    def steps(self, grid: Grid) -> Iterator[tuple[int, float, bool]]:
        """Yield step, largest force in eV/Å and whether it is small enough; checkpoints are made before."""
        given, run = self._given, self._run()
        while True:
            started = time.perf_counter()
            with calculating(given.calculator):
                converged = next(run, None)
            if converged is None:
                return
            step = self._optimizer.nsteps
            if not converged and step < given.steps:
                optimizer = self._optimizer
                grid.reached(step)
                if self._optimizer is not optimizer:
                    run = self._run()
                    with calculating(given.calculator):
                        converged = next(run)
            with calculating(given.calculator):
                fmax = float(np.linalg.norm(self._moved.get_forces(), axis=1).max())
            grid.ran(1, time.perf_counter() - started)
            yield step, fmax, bool(converged)

    def _run(self) -> Iterator[bool]:
        left = self._given.steps - self._optimizer.nsteps
        run: Iterator[bool] = self._optimizer.irun(fmax=self._given.fmax, steps=left)
        return run

    def _build(self, step: int) -> None:
        given = self._given
        pressure = given.pressure * units.GPa
        self._moved = FrechetCellFilter(self._atoms, scalar_pressure=pressure) if given.cell == "free" else self._atoms
        with calculating(given.calculator):
            self._optimizer = getattr(optimize, given.optimizer)(self._moved, logfile=None)
        self._optimizer.nsteps = step


#: What each optimiser remembers from step to step, by dotted names of its attributes. GPMin goes on from the positions.
_MEMORY: Mapping[str, tuple[str, ...]] = {
    "BFGS": ("pos0", "forces0", "state.hessian"),
    "LBFGS": ("r0", "f0", "state.iteration", "state.s", "state.y", "state.rho"),
    "BFGSLineSearch": ("H", "r0", "g0", "e0", "p", "alpha_k", "no_update", "task", "rep_count"),
    "FIRE": ("vel", "dt", "a", "Nsteps"),
    "FIRE2": ("v", "dt", "a", "Nsteps"),
    "MDMin": ("v", "dt"),
}


def _memory(optimizer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what an optimiser remembers: arrays, and plain values."""
    arrays: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name in _MEMORY.get(type(optimizer).__name__, ()):
        owner, attribute = _owner(optimizer, name)
        value = getattr(owner, attribute, None)
        if isinstance(value, np.ndarray) and value.ndim:
            arrays[name] = value
        elif isinstance(value, list):
            arrays[name] = np.array(value)
            values[name] = "list"
        else:
            values[name] = value.item() if isinstance(value, np.generic | np.ndarray) else value
    return arrays, values


def _remember(optimizer: Any, arrays: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Give an optimiser that has made no step the memory of another one."""
    for name in _MEMORY.get(type(optimizer).__name__, ()):
        if name == "state.hessian" and name in arrays:
            optimizer.state = bfgs.BFGSMethod(np.array(arrays[name]))  # type: ignore[attr-defined]
            continue
        owner, attribute = _owner(optimizer, name)
        if owner is None:
            continue
        value = arrays[name] if name in arrays else values[name]
        setattr(owner, attribute, list(value) if name in arrays and name in values else value)


def _owner(optimizer: Any, name: str) -> tuple[Any, str]:
    owner, _, attribute = name.rpartition(".")
    return (getattr(optimizer, owner) if owner else optimizer), attribute


def _not_converged(fmax: float, step: int, given: AseRelaxParameters) -> EngineError:
    return EngineError(
        f"{given.optimizer} did not converge: the largest force is {fmax:.4g} eV/Å after {step} steps, "
        f"not fmax={given.fmax:g} eV/Å",
        reason=Reason.CONVERGENCE,
        remedy="Start again from the last frame with more steps, a larger fmax, or another optimizer.",
    )
