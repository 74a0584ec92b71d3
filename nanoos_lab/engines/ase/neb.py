"""Nudged elastic bands with ASE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.mep import NEB

from nanoos_lab.core.frames import Results
from nanoos_lab.engines.ase import state
from nanoos_lab.engines.ase.calculators import calculating
from nanoos_lab.engines.ase.measure import Meter
from nanoos_lab.engines.ase.optimise import optimise

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from nanoos_lab.core.frames import RunHead, Sample
    from nanoos_lab.engines.ase.parameters import BandParameters
    from nanoos_lab.engines.base import RunContext

    Array = np.ndarray[Any, Any]


def run_neb(atoms: Atoms, given: BandParameters, context: RunContext, make: Callable[[], BaseCalculator]) -> Results:
    """Find the path of least energy between two structures.

    Thermo and frame of a sample are those of the highest image between the ends, and so is the final structure.

    Parameters
    ----------
    atoms
        The first end, with its calculator.
    given
        The other end, and how to find the path.
    context
        Takes the samples.
    make
        Makes another calculator: every image has its own, so that each goes on from its own last step.

    Raises
    ------
    EngineError
        If the forces are still too large after the last step.
    """
    band = _Band(atoms, given, make)
    with calculating(given.label):
        band.prepare()
    for name, force in band.forces_on_ends().items():
        if force > given.fmax:
            context.log(f"warning: the {name} structure is not relaxed: the largest force on it is {force:.3g} eV/Å")
    outcome = optimise(band, given, context)
    return Results(
        properties={**band.properties(), "converged": not outcome.stopped, "fmax": outcome.fmax, "steps": outcome.step},
        structure=band.top().structure(),
        provenance=outcome.provenance,
        stopped=outcome.stopped,
    )


class _Band:
    """The images, the ends included."""

    def __init__(self, atoms: Atoms, given: BandParameters, make: Callable[[], BaseCalculator]) -> None:
        self._given = given
        self.images = [atoms, *(atoms.copy() for _ in range(given.images)), atoms.copy()]
        self.images[-1].set_positions(given.final.positions)
        for image in self.images[1:]:
            image.calc = make()
        self._origin: Array = np.empty(0)

    def prepare(self) -> None:
        """Calculate the ends, which stay as they are, and interpolate between them."""
        for end in (self.images[0], self.images[-1]):
            found = {"energy": end.get_potential_energy(), "forces": end.get_forces(apply_constraint=False)}
            end.calc = SinglePointCalculator(end, **found)
        periodic = bool(self.images[0].pbc.any())
        self._neb().interpolate(method=self._given.interpolation, mic=periodic, apply_constraint=True)
        self._origin = self._positions()

    def forces_on_ends(self) -> dict[str, float]:
        """Return the largest force on an atom of each end in eV/Å."""
        ends = {"initial": self.images[0], "final": self.images[-1]}
        return {name: float(np.linalg.norm(end.get_forces(), axis=1).max()) for name, end in ends.items()}

    def begin(self) -> NEB:
        """Put the images on the first path."""
        self._put(self._origin)
        return self._neb()

    def arrays(self) -> dict[str, Array]:
        """Return the positions of the images between the ends in Å, shape (images, atoms, 3)."""
        return {"images": self._positions()}

    def place(self, arrays: dict[str, Array]) -> None:
        """Put the images where a checkpoint has them."""
        self._put(arrays.pop("images"))
        for image in self._inner:
            state.forget(image.calc)

    def head(self) -> RunHead:
        """Return the head of the run."""
        return Meter(self.images[0], self._given.label).head("fmax", "barrier", "reaction_energy", total=None)

    def sample(self, step: int, fmax: float) -> Sample:
        """Return thermo and frame of the highest image."""
        barrier, reaction = self._heights()
        return self.top().sample(step, 0.0, fmax, barrier, reaction)

    def top(self) -> Meter:
        """Return what measures the highest image between the ends."""
        energies = self._energies()[1:-1]
        return Meter(self._inner[int(np.argmax(energies))], self._given.label)

    def properties(self) -> dict[str, Any]:
        """Return heights, energies and positions along the path, and the properties of the highest image."""
        barrier, reaction = self._heights()
        positions = [image.get_positions() for image in self.images]
        return {
            **self.top().properties(),
            "barrier": barrier,
            "reaction_energy": reaction,
            "image_energies": self._energies(),
            "image_positions": np.array(positions),
        }

    @property
    def _inner(self) -> list[Atoms]:
        return self.images[1:-1]

    def _neb(self) -> NEB:
        return NEB(self.images, k=self._given.spring, climb=self._given.climb, method="improvedtangent")

    def _energies(self) -> Array:
        with calculating(self._given.label):
            return np.array([float(image.get_potential_energy()) for image in self.images])

    def _heights(self) -> tuple[float, float]:
        energies = self._energies()
        return float(energies.max() - energies[0]), float(energies[-1] - energies[0])

    def _positions(self) -> Array:
        return np.array([image.get_positions() for image in self._inner])

    def _put(self, positions: Array) -> None:
        if positions.shape != (len(self._inner), len(self.images[0]), 3):
            raise ValueError(f"it is not one of {len(self._inner)} images of {len(self.images[0])} atoms")
        for image, found in zip(self._inner, positions, strict=True):
            image.arrays["positions"][:] = found
