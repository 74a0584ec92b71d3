"""Relaxation with ASE's optimisers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import optimize, units
from ase.filters import FrechetCellFilter

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.ase.calculators import calculating
from nanoos_lab.engines.ase.measure import Meter

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    context.begin(meter.head("fmax", total=None))
    free = given.cell == "free"
    moved = FrechetCellFilter(atoms, scalar_pressure=given.pressure * units.GPa) if free else atoms
    for step, fmax, converged in _steps(moved, given):
        last = converged or step == given.steps or context.stop is not None
        sampled = last or step % given.every == 0
        if sampled:
            context.sample(meter.sample(step, 0.0, fmax))
        context.progress(step)
        if last or (sampled and context.stop is not None):
            break
    stopped = not converged and context.stop is not None
    if not converged and not stopped:
        raise _not_converged(fmax, step, given)
    return Results(
        properties={**meter.properties(), "fmax": fmax, "steps": step},
        structure=meter.structure(),
        provenance={"optimizer": given.optimizer},
        stopped=stopped,
    )


def _steps(moved: Atoms | FrechetCellFilter, given: AseRelaxParameters) -> Iterator[tuple[int, float, bool]]:
    """Yield step, largest force in eV/Å and whether it is small enough, from step 0 on."""
    with calculating(given.calculator):
        optimizer = getattr(optimize, given.optimizer)(moved, logfile=None)
        run = optimizer.irun(fmax=given.fmax, steps=given.steps)
    while True:
        with calculating(given.calculator):
            converged = next(run, None)
            if converged is None:
                return
            fmax = float(np.linalg.norm(moved.get_forces(), axis=1).max())
        yield optimizer.nsteps, fmax, bool(converged)


def _not_converged(fmax: float, step: int, given: AseRelaxParameters) -> EngineError:
    return EngineError(
        f"{given.optimizer} did not converge: the largest force is {fmax:.4g} eV/Å after {step} steps, "
        f"not fmax={given.fmax:g} eV/Å",
        reason=Reason.CONVERGENCE,
        remedy="Start again from the last frame with more steps, a larger fmax, or another optimizer.",
    )
