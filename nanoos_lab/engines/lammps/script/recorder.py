"""From a script's own thermo and atoms to samples; steps count on where the script sets them back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_masses, atomic_numbers

from nanoos_lab.core.frames import Frame, RunHead, Sample
from nanoos_lab.core.units import Column
from nanoos_lab.engines import blowup
from nanoos_lab.engines.lammps import units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.lammps.box import Box
    from nanoos_lab.engines.lammps.program import Program
    from nanoos_lab.engines.lammps.script.runner import Plan

    Array = np.ndarray[Any, Any]


#: Columns that are finite in every simulation that has not blown up.
_ALWAYS_FINITE = ("Temp", "PotEng", "KinEng", "E_pair", "TotEng")


class Recorder:
    """Makes the samples of a script's runs, and hands them over.

    Parameters
    ----------
    program
        LAMMPS.
    context
        Takes the samples.
    elements
        Chemical symbol of each atom type; by mass for types beyond.
    box
        Frame of the structure that the script was given, if any: positions are turned back into the user's.
    plan
        What the text of the script says of its runs.
    convert
        Whether columns of thermo are to have our units, not the script's.
    """

    def __init__(
        self,
        program: Program,
        context: RunContext,
        *,
        elements: Sequence[str],
        box: Box | None,
        plan: Plan,
        convert: bool = False,
    ) -> None:
        self._program = program
        self._context = context
        self._elements = tuple(elements)
        self._box = box
        self._total = plan.total
        self._announced = plan.headings
        self._convert = convert
        self._columns: tuple[str, ...] = ()
        self._atoms = 0
        self._offset = 0
        self._time = self._earlier = 0.0
        self._last = -1

    @property
    def has_begun(self) -> bool:
        """Whether there was a run."""
        return self._atoms > 0

    def step_of(self, lammps_step: int) -> int:
        """Return our step for LAMMPS's, which goes on from the last where the script has set LAMMPS's back."""
        if lammps_step + self._offset < self._last:
            self._offset = self._last - lammps_step
        return lammps_step + self._offset

    def keep(self) -> None:
        """Hand over the sample of the present step, unless it is there already."""
        self._begin()
        self.hand_over(self.sample())

    def keep_row(self, row: Mapping[str, float]) -> None:
        """Hand over a row that LAMMPS has printed, by its headings, unless that of its step is there already."""
        self._begin()
        self.hand_over(Sample(step=self.step_of(int(row["Step"])), row=self._row(row), frame=None))

    def hand_over(self, sample: Sample) -> None:
        """Hand over a sample, unless that of its step is there already."""
        if sample.step > self._last:
            self._context.sample(sample)
            self._last = sample.step

    def sample(self) -> Sample:
        """Return the last row of thermo, which is that of the present step, and the frame."""
        step = self.step_of(self._program.step)
        thermo = self._program.last_thermo() or {}
        if not all(math.isfinite(thermo.get(name, 0.0)) for name in _ALWAYS_FINITE):
            raise blowup.not_finite(step, {})
        return Sample(step=step, row=self._row(thermo), frame=self.frame())

    def _row(self, thermo: Mapping[str, float]) -> tuple[float, ...]:
        values = (float(thermo.get(name, math.nan)) for name in self._columns)
        if not self._convert:
            return tuple(values)
        factors = (units.ours(name, self._program.units)[0] for name in self._columns)
        return tuple(value * factor for value, factor in zip(values, factors, strict=True))

    def frame(self) -> Frame | None:
        """Return the present frame; None while there are more or fewer atoms than at the start."""
        return self.snapshot() if self._program.atoms == self._atoms else None

    def snapshot(self) -> Frame:
        """Return positions, cell and time as they are now, in Å and fs."""
        system = units.SYSTEMS[self._program.units]
        elapsed = self._program.thermo("time") * system.time
        if self._earlier + elapsed < self._time:
            # The script has set LAMMPS's step and time back.
            self._earlier = self._time - elapsed
        self._time = self._earlier + elapsed
        cell, _ = self._program.box()
        return Frame(
            step=self.step_of(self._program.step),
            time=self._time,
            positions=self.turned(self._program.positions(cell)) * system.length,
            cell=self.turned(cell) * system.length,
        )

    def _begin(self) -> None:
        """Tell the context what stays the same, before the first sample."""
        if self.has_begun:
            return
        thermo = self._program.last_thermo() or {}
        self._columns = tuple(name for name in dict.fromkeys([*thermo, *self._announced]) if name != "Step")
        self._atoms = self._program.atoms
        system = self._program.units
        self._context.begin(
            RunHead(
                total=self._total,
                columns=tuple(Column(name=name, unit=self._unit(name, system)) for name in self._columns),
                numbers=self.numbers(),
                pbc=self._program.pbc,
                masses=self._masses(),
            )
        )

    def _unit(self, heading: str, system: str) -> str:
        return units.ours(heading, system)[1] if self._convert else units.unit_of(heading, system)

    def numbers(self) -> Array:
        """Return the atomic number of each atom, 0 where nobody knows, shape (atoms,)."""
        masses = self._program.masses()
        known = [atomic_numbers[symbol] for symbol in self._elements]
        by_type = np.array([0, *known, *(self._by_mass(mass) for mass in masses[len(known) :])])
        numbers: Array = by_type[self._program.types()]
        return numbers

    def _masses(self) -> Array | None:
        """Return the mass of each atom in u, shape (atoms,); None where they are reduced or not those of types."""
        factor = units.SYSTEMS[self._program.units].mass
        masses = self._program.masses()
        if factor is None or not np.isfinite(masses).all():
            return None
        per_atom: Array = masses[self._program.types() - 1] * factor
        return per_atom

    def _by_mass(self, mass: float) -> int:
        factor = units.SYSTEMS[self._program.units].mass
        if factor is None or not math.isfinite(mass):
            return 0
        distance = np.abs(atomic_masses[1:] - mass * factor)
        nearest = int(np.argmin(distance))
        return nearest + 1 if distance[nearest] < 0.5 else 0

    def turned(self, vectors: Array) -> Array:
        """Turn row vectors of LAMMPS's frame into the user's."""
        return vectors if self._box is None else self._box.outwards(vectors)
