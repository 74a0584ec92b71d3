"""Phonons from the forces of one calculator: all supercells in one run."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from nanoos_lab.core.errors import InputError, NotInstalledError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import displacements
from nanoos_lab.engines.ase import state
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
UNITS = {"supercell_forces": "eV/Å", "supercell_positions": "Å", "displacements": "Å", "frequencies": "THz"}
_GAMMA = [(0.0, 0.0, 0.0)]
#: What of the calculator's results a checkpoint has of a supercell.
_KEPT = ("energy", "forces", "stress")


def run_phonons(atoms: Atoms, given: PhononParameters, context: RunContext) -> Results:
    """Compute the forces in supercells of a crystal with a displaced atom, one after the other.

    Step 0 is the supercell that is not displaced; energy, forces and stress of the results are those of the crystal in
    it.

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
        raise NotInstalledError(f"phonons need phonopy: {error}", displacements.INSTALL) from error
    run = _Run(displacements.supercells(dataset, atoms), atoms.calc, given)
    origin = resume(context, lambda checkpoint: run.renew(checkpoint.directory, checkpoint.step))
    first = origin.step if origin else 0
    grid = Grid(run, context, every=1, origin=origin)
    context.begin(replace(run.meter.head("fmax", total=run.last), first=first))
    if origin is None:
        grid.settle(run.start())
    step = drive(run, Course(steps=run.last, every=1, first=first, between=False), context, grid)
    provenance = {**grid.provenance, "displacements": run.last}
    if step < run.last:
        return Results(properties={}, structure=None, provenance=provenance, stopped=True)
    moved, vectors = displacements.moves_of(dataset)
    solution = displacements.solved(dataset, (moved, vectors), run.forces, full=False)
    crystal = {name: value for name, value in run.rest.items() if name != "forces"}
    crystal["energy"] = run.rest["energy"] / (len(run.forces[0]) // len(atoms))
    return Results(
        properties={
            **crystal,
            "forces": run.rest["forces"][list(dataset.supercell.u2s_map)],
            "frequencies": displacements.frequencies(solution, _GAMMA)[0],
            "supercell_positions": run.positions[0],
            "supercell_forces": run.forces,
            "displaced_atoms": moved,
            "displacements": vectors,
        },
        units=UNITS,
        structure=Structure.encode(atoms),
        provenance=provenance,
    )


class _Run:
    """The supercells, one after the other, as `drive` wants them."""

    def __init__(self, cells: list[Atoms], calculator: Any, given: PhononParameters) -> None:
        #: Of the atoms of each supercell in Å.
        self.positions = [cell.get_positions() for cell in cells]
        # One object for all of them, so that the calculator can go on from what it has.
        self._atoms = cells[0]
        self._calculator = self._atoms.calc = calculator
        self._step = 0
        #: The last step.
        self.last = len(cells) - 1
        #: Forces in eV/Å, shape (supercells, atoms, 3); NaN where they are not known yet.
        self.forces: Array = np.full((len(cells), len(cells[0]), 3), np.nan)
        #: What the calculator says of the supercell that is not displaced.
        self.rest: dict[str, Any] = {}
        self._latest: dict[str, Any] = {}
        self.meter = Meter(self._atoms, given.label)

    def start(self) -> float:
        """Compute the supercell that is not displaced; return the seconds that it takes."""
        started = time.perf_counter()
        self._compute()
        self.rest = dict(self._latest)
        return time.perf_counter() - started

    def advance(self, steps: int) -> int:
        """Compute so many more supercells."""
        self._atoms.calc = self._calculator
        for _ in range(steps):
            self._step += 1
            self._atoms.set_positions(self.positions[self._step])
            self._compute()
        return steps

    def sample(self, step: int) -> Sample:
        """Return thermo and frame of a supercell."""
        return self.meter.sample(step, 0.0, float(np.linalg.norm(self.forces[step], axis=1).max()))

    glance = sample

    def save(self, directory: Path) -> None:
        """Write the forces that are known, and all of the first and the last supercell."""
        arrays = {"all_forces": self.forces[: self._step + 1]}
        for name, values in (("rest", self.rest), ("latest", self._latest)):
            arrays |= {f"{name}_{key}": np.asarray(value) for key, value in values.items()}
        state.write(directory, arrays, {})

    def renew(self, directory: Path, step: int) -> None:
        """Go on where a checkpoint stands.

        Raises
        ------
        ValueError
            If it is one of other supercells.
        """
        arrays, _ = state.read(directory)
        if step > self.last or arrays["all_forces"].shape != (step + 1, *self.forces.shape[1:]):
            raise ValueError(f"it is not one of {self.last + 1} supercells of {self.forces.shape[1]} atoms")
        self.forces[: step + 1] = arrays["all_forces"]
        self.rest, self._latest = (_with_prefix(arrays, name) for name in ("rest_", "latest_"))
        self._step = step
        self._atoms.set_positions(self.positions[step])
        # What is known need not be computed again.
        self._atoms.calc = SinglePointCalculator(self._atoms, **self._latest)
        self._atoms.calc.implemented_properties = list(self._latest)

    def _compute(self) -> None:
        found = self.meter.properties()
        self._latest = {name: found[name] for name in _KEPT if name in found}
        self.forces[self._step] = found["forces"]


def _with_prefix(arrays: dict[str, Array], prefix: str) -> dict[str, Any]:
    found = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    return {name: value if value.ndim else float(value) for name, value in found.items()}
