"""ASE's optimisers, step by step, with samples, checkpoints and stops in between."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from ase import optimize
from ase.optimize import bfgs

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.ase import state
from nanoos_lab.engines.ase.calculators import calculating
from nanoos_lab.engines.grid import Grid, resume

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from nanoos_lab.core.frames import RunHead, Sample
    from nanoos_lab.engines.ase.parameters import BandParameters, OptimizerParameters
    from nanoos_lab.engines.base import RunContext

    Array = np.ndarray[Any, Any]
    Given = OptimizerParameters | BandParameters


class Subject(Protocol):
    """What is optimised."""

    def begin(self) -> Any:
        """Put it where it is at step 0, and return what ASE's optimiser is to move."""

    def arrays(self) -> dict[str, Array]:
        """Return where it is."""

    def place(self, arrays: dict[str, Array]) -> None:
        """Put it where the arrays say, and take those out; the calculators forget what they have seen."""

    def head(self) -> RunHead:
        """Return the head of the run."""

    def sample(self, step: int, fmax: float) -> Sample:
        """Return thermo and frame."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an optimisation ended."""

    #: The last step.
    step: int
    #: Largest force then, in eV/Å.
    fmax: float
    #: Whether it was stopped before the forces were small.
    stopped: bool
    #: What a reader of the results should know.
    provenance: dict[str, Any]


def optimise(subject: Subject, given: Given, context: RunContext) -> Outcome:
    """Move something until the forces on it vanish.

    Samples are taken at the multiples of `every` and at the last step.

    Raises
    ------
    EngineError
        If the forces are still too large after the last step, or the calculator fails.
    """
    run = _Optimisation(subject, given)
    origin = resume(context, lambda checkpoint: run.renew(checkpoint.directory, checkpoint.step))
    first = origin.step if origin else 0
    if origin is None:
        run.start()
    grid = Grid(run, context, every=given.every, origin=origin, renew=run.renew, worth=state.WORTH)
    context.begin(replace(subject.head(), first=first))
    for step, fmax, converged in run.steps(grid):
        last = converged or step == given.steps or context.stop == "cancel"
        if last or step % given.every == 0:
            context.sample(subject.sample(step, fmax))
        context.progress(step)
        if last or context.stop is not None:
            break
    stopped = not converged and context.stop is not None
    if not converged and not stopped:
        raise _not_converged(fmax, step, given)
    if stopped:
        grid.left(step)
    provenance = {"optimizer": given.optimizer, **grid.provenance}
    return Outcome(step=step, fmax=fmax, stopped=stopped, provenance=provenance)


class _Optimisation:
    """Subject and optimiser, once they were started or renewed."""

    _optimizer: Any
    _moved: Any

    def __init__(self, subject: Subject, given: Given) -> None:
        self._subject = subject
        self._given = given

    def start(self) -> None:
        """Begin at step 0."""
        self._build(0)

    def save(self, directory: Path) -> None:
        """Write where the subject is, and what the optimiser has learnt of the energy."""
        arrays, values = _memory(self._optimizer)
        state.write(directory, {**arrays, **self._subject.arrays()}, values)

    def renew(self, directory: Path, step: int) -> None:
        """Begin where a checkpoint stands."""
        arrays, values = state.read(directory)
        self._build(step)
        self._subject.place(arrays)
        _remember(self._optimizer, arrays, values)

    def steps(self, grid: Grid) -> Iterator[tuple[int, float, bool]]:
        """Yield step, largest force in eV/Å and whether it is small enough; checkpoints are made before."""
        given, run = self._given, self._run()
        while True:
            started = time.perf_counter()
            with calculating(given.label):
                converged = next(run, None)
            if converged is None:
                return
            step = self._optimizer.nsteps
            if not converged and step < given.steps:
                optimizer = self._optimizer
                grid.reached(step)
                if self._optimizer is not optimizer:
                    run = self._run()
                    with calculating(given.label):
                        converged = next(run)
            with calculating(given.label):
                fmax = float(np.linalg.norm(self._moved.get_forces(), axis=1).max())
            grid.ran(1, time.perf_counter() - started)
            yield step, fmax, bool(converged)

    def _run(self) -> Iterator[bool]:
        left = self._given.steps - self._optimizer.nsteps
        run: Iterator[bool] = self._optimizer.irun(fmax=self._given.fmax, steps=left)
        return run

    def _build(self, step: int) -> None:
        with calculating(self._given.label):
            self._moved = self._subject.begin()
            self._optimizer = getattr(optimize, self._given.optimizer)(self._moved, logfile=None)
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


def _not_converged(fmax: float, step: int, given: Given) -> EngineError:
    return EngineError(
        f"{given.optimizer} did not converge: the largest force is {fmax:.4g} eV/Å after {step} steps, "
        f"not fmax={given.fmax:g} eV/Å",
        reason=Reason.CONVERGENCE,
        remedy="Start again from the last frame with more steps, a larger fmax, or another optimizer.",
    )
