"""Read thermo, frames and properties off an `ase.Atoms` with a calculator."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units
from ase.calculators.calculator import PropertyNotImplementedError

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.frames import Frame, RunHead, Sample
from nanoos_lab.core.status import Reason
from nanoos_lab.core.structures import Structure
from nanoos_lab.core.units import thermo_columns
from nanoos_lab.engines.ase.calculators import calculating

if TYPE_CHECKING:
    from ase import Atoms

    Array = np.ndarray[Any, Any]

#: Results of a calculator that are passed on where it has them besides energy, forces and stress.
EXTRA_PROPERTIES = ("free_energy", "dipole", "charges", "magmom", "magmoms")


class Meter:
    """Measures atoms.

    Pressure and volume are NaN unless the structure is periodic in all directions, the pressure also if the
    calculator has no stress.

    Parameters
    ----------
    atoms
        With their calculator.
    calculator
        Its name, for messages.
    freedom
        Degrees of freedom that share the kinetic energy; None if the task does not move the atoms in time.
    """

    def __init__(self, atoms: Atoms, calculator: str, *, freedom: int | None = None) -> None:
        self._atoms = atoms
        self._calculator = calculator
        self._freedom = freedom
        self._periodic = bool(atoms.pbc.all())

    def head(self, *extra: str, total: int | None) -> RunHead:
        """Return the head of a run whose thermo has these columns after the usual ones."""
        columns = thermo_columns(*extra)
        first, second, third = (bool(flag) for flag in self._atoms.pbc)
        return RunHead(
            total=total,
            columns=columns,
            numbers=self._atoms.numbers.copy(),
            pbc=(first, second, third),
            masses=self._atoms.arrays.get("masses"),
        )

    @property
    def kinetic_energy(self) -> float:
        """Kinetic energy in eV; 0 if the task does not move the atoms in time."""
        return 0.0 if self._freedom is None else float(self._atoms.get_kinetic_energy())

    @property
    def temperature(self) -> float:
        """Temperature in K; 0 if no degree of freedom has a part of the kinetic energy."""
        return 2 * self.kinetic_energy / (self._freedom * units.kB) if self._freedom else 0.0

    def sample(self, step: int, time: float, *extra: float) -> Sample:
        """Return thermo and frame.

        Parameters
        ----------
        step
            Step of the task.
        time
            Simulated time in fs.
        extra
            Values of the columns after the usual ones.

        Raises
        ------
        EngineError
            If the calculator fails, or the energy is not finite.
        """
        with calculating(self._calculator):
            potential = float(self._atoms.get_potential_energy())
            pressure = self.pressure()
        if not math.isfinite(potential):
            raise EngineError(
                f"the energy is {potential} at step {step}",
                reason=Reason.ENGINE,
                remedy="Use a shorter time step or relax the structure first; atoms may have come too close.",
            )
        moves = self._freedom is not None
        kinetic = self.kinetic_energy
        volume = float(self._atoms.get_volume()) if self._periodic else math.nan
        frame = Frame(
            step=step,
            time=time,
            positions=self._atoms.get_positions(),
            cell=self._atoms.cell.array.copy(),
            velocities=self._atoms.get_velocities() * units.fs if moves else None,
        )
        row = (time, self.temperature, potential, kinetic, potential + kinetic, pressure, volume, *extra)
        return Sample(step=step, row=row, frame=frame)

    def pressure(self) -> float:
        """Return −trace(stress) / 3 in GPa, with the kinetic part ``2 E_kin / 3 V`` if the atoms move."""
        stress = self._stress(kinetic=self._freedom is not None)
        return math.nan if stress is None else -float(stress[:3].sum()) / 3 / units.GPa

    def properties(self) -> dict[str, Any]:
        """Return what the calculator says of the atoms, by ASE's names and in ASE's units.

        The stress is without its kinetic part, as ASE's `get_stress` has it.
        """
        with calculating(self._calculator):
            found: dict[str, Any] = {
                "energy": float(self._atoms.get_potential_energy()),
                "forces": np.array(self._atoms.get_forces()),
            }
            stress = self._stress(kinetic=False)
        if stress is not None:
            found["stress"] = stress
        results = self._atoms.calc.results
        return found | {name: results[name] for name in EXTRA_PROPERTIES if name in results}

    def structure(self) -> Structure:
        """Return the atoms as they are, frozen."""
        return Structure.encode(self._atoms)

    def _stress(self, *, kinetic: bool) -> Array | None:
        """Return the stress in eV/Å³, Voigt order, positive under tension; None if there is none."""
        if not self._periodic or "stress" not in self._atoms.calc.implemented_properties:
            return None
        try:
            return np.array(self._atoms.get_stress(include_ideal_gas=kinetic))
        except PropertyNotImplementedError:
            return None
