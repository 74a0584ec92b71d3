"""Relaxation with ASE's optimisers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ase import units
from ase.filters import FrechetCellFilter

from nanoos_lab.core.frames import Results
from nanoos_lab.engines.ase import state
from nanoos_lab.engines.ase.measure import Meter
from nanoos_lab.engines.ase.optimise import optimise

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

    from nanoos_lab.core.frames import RunHead, Sample
    from nanoos_lab.engines.ase.parameters import OptimizerParameters
    from nanoos_lab.engines.base import RunContext

    Array = np.ndarray[Any, Any]


def run_relax(atoms: Atoms, given: OptimizerParameters, context: RunContext) -> Results:
    """Relax the atoms, and the cell if it is free.

    No time passes and nothing has momentum, so time, temperature and kinetic energy of samples are zero. Column
    `fmax` is what is compared with the parameter.

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
    meter = Meter(atoms, given.label)
    outcome = optimise(_Crystal(atoms, given, meter), given, context)
    return Results(
        properties={
            **meter.properties(),
            "converged": not outcome.stopped,
            "fmax": outcome.fmax,
            "steps": outcome.step,
        },
        structure=meter.structure(),
        provenance=outcome.provenance,
        stopped=outcome.stopped,
    )


class _Crystal:
    """Atoms, with their cell if it is free."""

    def __init__(self, atoms: Atoms, given: OptimizerParameters, meter: Meter) -> None:
        self._atoms = atoms
        self._given = given
        self._meter = meter
        self._origin = (atoms.positions.copy(), atoms.cell.array.copy())

    def begin(self) -> Atoms | FrechetCellFilter:
        """Put atoms and cell where they were; strain is measured from the cell at step 0."""
        state.place(self._atoms, *self._origin)
        if self._given.cell == "fixed":
            return self._atoms
        return FrechetCellFilter(self._atoms, scalar_pressure=self._given.pressure * units.GPa)

    def arrays(self) -> dict[str, Array]:
        """Return positions and cell in Å."""
        return {"positions": self._atoms.positions, "cell": self._atoms.cell.array}

    def place(self, arrays: dict[str, Array]) -> None:
        """Put atoms and cell where a checkpoint has them."""
        state.place(self._atoms, arrays.pop("positions"), arrays.pop("cell"))
        state.forget(self._atoms.calc)

    def head(self) -> RunHead:
        """Return the head of the run."""
        return self._meter.head("fmax", total=None)

    def sample(self, step: int, fmax: float) -> Sample:
        """Return thermo and frame."""
        return self._meter.sample(step, 0.0, fmax)
