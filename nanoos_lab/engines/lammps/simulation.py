"""A structure inside LAMMPS, read in the user's frame and units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units

from nanoos_lab.core.frames import Frame, RunHead, Sample
from nanoos_lab.core.structures import Structure
from nanoos_lab.core.units import THERMO_COLUMNS, Column, unit_of
from nanoos_lab.engines.lammps import failures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nanoos_lab.engines.lammps.program import Program
    from nanoos_lab.engines.lammps.system import System

    Array = np.ndarray[Any, Any]

#: LAMMPS's ``metal`` units → ours.
_BAR_IN_GPA = 1e-4
_PER_PS = 1e-3
_BAR = 1e5 * units.Pascal
#: Order of ASE's Voigt vector (xx, yy, zz, yz, xz, xy) as indices of a (3, 3) tensor.
_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))


class Simulation:
    """A structure inside LAMMPS.

    Parameters
    ----------
    program
        LAMMPS, into which the structure has been read.
    system
        The structure.
    timestep
        Time of one step in fs.
    """

    def __init__(self, program: Program, system: System, *, timestep: float = 0.0) -> None:
        self._program = program
        self._system = system
        self._timestep = timestep

    def head(self, *, total: int | None, extra: tuple[str, ...] = ()) -> RunHead:
        """Return what stays the same in the run; `extra` columns come after the usual ones."""
        names = (*THERMO_COLUMNS, *extra)
        return RunHead(
            total=total,
            columns=tuple(Column(name=name, unit=unit_of(name)) for name in names),
            numbers=self._system.atoms.numbers,
            pbc=self._system.box.pbc,
            masses=self._system.atoms.arrays.get("masses"),
        )

    def prepare(self) -> None:
        """Compute the forces of the structure as it is."""
        # Without start and stop, so that a fix takes the masses of its thermostat and barostat from the temperature at
        # the start of a ramp, at a checkpoint on the way as at step 0.
        self._program.command("run 0 post no")

    def sample(self, step: int) -> Sample:
        """Return thermo row and frame.

        Raises
        ------
        EngineError
            If an energy is no longer finite.
        """
        frame = self.frame(step)
        values = [self._program.thermo(name) for name in ("temp", "pe", "ke", "etotal", "press")]
        row = self.row(step, frame.time, frame.cell, values, self._program.thermo("vol"))
        return Sample(step=step, row=row, frame=frame)

    def row(self, step: int, time: float, cell: Array, values: Sequence[float], box_volume: float) -> tuple[float, ...]:
        """Return the values of `THERMO_COLUMNS`.

        Parameters
        ----------
        step, time
            Where the run is; time in fs.
        cell
            The user's cell in Å, shape (3, 3).
        values
            LAMMPS's temp, pe, ke, etotal and press, in its units.
        box_volume
            LAMMPS's volume in Å³.

        Raises
        ------
        EngineError
            If one is no longer finite.
        """
        if not all(math.isfinite(value) for value in values):
            raise failures.not_finite(step)
        volume = _volume(cell)
        # LAMMPS's box ends at the atoms where it is not periodic, so its volume is only a part of the user's.
        pressure = values[4] * _BAR_IN_GPA * box_volume / volume
        return (time, *values[:4], pressure, volume)

    def frame(self, step: int) -> Frame:
        """Return positions (not wrapped into the cell), cell and velocities."""
        box = self._system.box
        return Frame(
            step=step,
            time=step * self._timestep,
            positions=box.positions_outwards(self._program.positions(), self._program.origin()),
            cell=box.cell_outwards(self._program.cell()),
            velocities=box.outwards(self._program.per_atom("v")) * _PER_PS,
        )

    def properties(self) -> dict[str, Any]:
        """Return energy in eV, forces in eV/Å, and `stress` if the cell has a volume."""
        found: dict[str, Any] = {
            "energy": self._program.thermo("pe"),
            "forces": self._system.box.outwards(self._program.per_atom("f")),
        }
        stress = self.stress()
        if np.isfinite(stress).all():
            found["stress"] = stress
        return found

    def stress(self) -> Array:
        """Return stress without kinetic part in eV/Å³, shape (6,), in ASE's order; positive under tension."""
        tensor = self._system.box.tensor_outwards(stress_of(self._program.virial("virial")))
        cell = self._system.box.cell_outwards(self._program.cell())
        stress: Array = tensor[_VOIGT] * self._program.thermo("vol") / _volume(cell)
        return stress

    def structure(self) -> Structure:
        """Return the present structure: positions, cell and momenta."""
        atoms = self._system.atoms.copy()
        frame = self.frame(0)
        atoms.set_constraint()
        atoms.set_cell(frame.cell)
        atoms.positions[:] = frame.positions
        if frame.velocities is not None and frame.velocities.any():
            atoms.set_velocities(frame.velocities / units.fs)
        atoms.set_constraint(self._system.atoms.constraints)
        return Structure.encode(atoms)


def stress_of(pressures: Sequence[float] | Array) -> Array:
    """Return the stress tensor in eV/Å³ for LAMMPS's pressures xx, yy, zz, xy, xz, yz in bar, shape (3, 3)."""
    xx, yy, zz, xy, xz, yz = pressures
    return -_BAR * np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _volume(cell: Array) -> float:
    volume = abs(float(np.linalg.det(cell)))
    return volume if volume > 1e-8 else math.nan
