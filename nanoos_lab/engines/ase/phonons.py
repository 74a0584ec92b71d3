"""Phonons from the forces of one calculator: all supercells in one run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import InputError, NotInstalledError
from nanoos_lab.core.frames import Results
from nanoos_lab.engines import displacements
from nanoos_lab.engines.ase import state
from nanoos_lab.engines.ase.calculators import calculating
from nanoos_lab.engines.ase.measure import Meter
from nanoos_lab.engines.drive import Course, drive
from nanoos_lab.engines.grid import Grid, resume

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.frames import Sample
    from nanoos_lab.engines.ase.parameters import PhononParameters
    from nanoos_lab.engines.base import RunContext

    Array = np.ndarray[Any, Any]

#: Units of the results that are not ASE's own.
UNITS = {"supercell_forces": "eV/Å", "frequencies": "THz"}
_GAMMA = [(0.0, 0.0, 0.0)]


def run_phonons(atoms: Atoms, given: PhononParameters, context: RunContext) -> Results:
    """Compute the forces in supercells of a crystal with a displaced atom, one after the other.

    Step 0 is the supercell that is not displaced; energy, forces, stress and structure of the results are its own.

    Parameters
    ----------
    atoms
        The crystal, with the calculator.
    given
        The supercell, and how far an atom is displaced.
    context
        Takes a sample of each supercell.

    Raises
    ------
    EngineError
        If the calculator fails, or phonopy is not here.
    """
    try:
        dataset = displacements.displaced(atoms, np.array(given.supercell), given.distance)
    except InputError as error:
        raise NotInstalledError(str(error), "pip install 'nanoos-lab[phonons]'") from error
    run = _Run(displacements.supercells(dataset, atoms), atoms.calc, given)
    origin = resume(context, lambda checkpoint: run.renew(checkpoint.directory, checkpoint.step))
    first = origin.step if origin else 0
    grid = Grid(run, context, every=1, origin=origin)
    context.begin(replace(run.meter.head("fmax", total=run.last), first=first))
    step = drive(run, Course(steps=run.last, every=1, first=first, between=False), context, grid)
    provenance = {**grid.provenance, "displacements": run.last}
    if step < run.last:
        return Results(properties={}, structure=None, provenance=provenance, stopped=True)
    return Results(
        properties={**run.at_rest(), **_modes(dataset, run.forces)},
        units=UNITS,
        structure=run.meter.structure(),
        provenance=provenance,
    )


def _modes(dataset: Any, forces: Array) -> dict[str, Any]:
    solution = displacements.solved(dataset, forces)
    return {"supercell_forces": forces, "frequencies": displacements.frequencies(solution, _GAMMA)[0]}


class _Run:
    """The supercells, one after the other, as `drive` wants them."""

    def __init__(self, cells: list[Atoms], calculator: Any, given: PhononParameters) -> None:
        self._given = given
        self._positions = [cell.get_positions() for cell in cells]
        # One object for all of them, so that the calculator can go on from what it has.
        self._atoms = cells[0]
        self._atoms.calc = calculator
        self._step = 0
        #: The last step.
        self.last = len(cells) - 1
        #: Forces in eV/Å, shape (supercells, atoms, 3); NaN where they are not known yet.
        self.forces: Array = np.full((len(cells), len(cells[0]), 3), np.nan)
        self.meter = Meter(self._atoms, given.label)

    def advance(self, steps: int) -> int:
        """Go on to the next supercell, or the one so many further on; each of them is computed on the way."""
        for _ in range(steps):
            self._compute()
            self._step += 1
            self._atoms.set_positions(self._positions[self._step])
        return steps

    def sample(self, step: int) -> Sample:
        """Return thermo and frame of a supercell."""
        fmax = float(np.linalg.norm(self._compute(), axis=1).max())
        return self.meter.sample(step, 0.0, fmax)

    glance = sample

    def at_rest(self) -> dict[str, Any]:
        """Return the properties of the supercell that is not displaced."""
        self._atoms.set_positions(self._positions[0])
        with calculating(self._given.label):
            return self.meter.properties()

    def save(self, directory: Path) -> None:
        """Write the forces that are known."""
        state.write(directory, {"forces": self.forces[: self._step]}, {})

    def renew(self, directory: Path, step: int) -> None:
        """Go on where a checkpoint stands.

        Raises
        ------
        ValueError
            If it is one of other supercells.
        """
        arrays, _ = state.read(directory)
        if arrays["forces"].shape != (step, *self.forces.shape[1:]) or step > self.last:
            raise ValueError(f"it is not one of {self.last + 1} supercells of {self.forces.shape[1]} atoms")
        self.forces[:step] = arrays["forces"]
        self._step = step
        self._atoms.set_positions(self._positions[step])

    def _compute(self) -> Array:
        """Return the forces in the present supercell in eV/Å, shape (atoms, 3)."""
        with calculating(self._given.label):
            found: Array = self._atoms.get_forces()
        self.forces[self._step] = found
        return found
