"""A structure inside LAMMPS, read in the user's frame and units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units

from nanoos_lab.core.frames import Frame, RunHead, Sample
from nanoos_lab.core.structures import Structure
from nanoos_lab.core.units import Column, thermo_columns
from nanoos_lab.engines.blowup import Guard
from nanoos_lab.engines.lammps.units import heading_of, ours

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nanoos_lab.engines.lammps.program import Program
    from nanoos_lab.engines.lammps.system import System

    Array = np.ndarray[Any, Any]

#: Order of ASE's Voigt vector (xx, yy, zz, yz, xz, xy) as indices of a (3, 3) tensor.
_VOIGT = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))


class View:
    """A structure inside LAMMPS, from the numbers that LAMMPS gives to the user's frame and units. Pure.

    Parameters
    ----------
    system
        The structure.
    parameters
        Those of the task.
    """

    def __init__(self, system: System, parameters: Mapping[str, Any]) -> None:
        self.system = system
        self._energy = system.units.energy or 1.0
        self._pressure = system.units.pressure or 1.0
        self._timestep: float = parameters.get("timestep") or 0.0
        #: What the user wants to see besides.
        self.more: tuple[str, ...] = tuple(parameters.get("columns") or ())
        #: Ends a run that has blown up; LAMMPS itself would go on.
        self.guard = Guard(parameters)

    def head(self, *, total: int | None, extra: tuple[str, ...] = ()) -> RunHead:
        """Return what stays the same in the run; `extra` columns come after the usual ones, the user's last."""
        system = self.system.unit_system
        own = (Column(name=name, unit=ours(heading_of(name), system)[1]) for name in self.more)
        return RunHead(
            total=total,
            columns=(*thermo_columns(*extra), *own),
            numbers=self.system.atoms.numbers,
            pbc=self.system.box.pbc,
            masses=self.system.atoms.arrays.get("masses"),
        )

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
            If one is no longer finite, or the atoms are hotter than any run heads for.
        """
        self.guard.check(step, *values)
        volume = _volume(cell)
        energies = (value * self._energy for value in values[1:4])
        # LAMMPS's box ends at the atoms where it is not periodic, so its volume is only a part of the user's.
        pressure = values[4] * self._pressure * box_volume / volume
        return (time, values[0], *energies, pressure, volume)

    def more_values(self, thermo: Mapping[str, float]) -> tuple[float, ...]:
        """Return the values of the user's own columns from a row of thermo by its headings."""
        headings = map(heading_of, self.more)
        system = self.system.unit_system
        return tuple(thermo.get(heading, math.nan) * ours(heading, system)[0] for heading in headings)

    def frame_of(
        self, step: int, positions: Array, cell: Array, origin: Array, velocities: Array | None = None
    ) -> Frame:
        """Return positions (not wrapped into the cell), cell and velocities from those of LAMMPS's frame."""
        box = self.system.box
        return Frame(
            step=step,
            time=step * self._timestep,
            positions=box.positions_outwards(positions, origin),
            cell=box.cell_outwards(cell),
            velocities=None if velocities is None else box.outwards(velocities) / self.system.units.time,
        )

    def forces_of(self, forces: Array) -> Array:
        """Return forces in eV/Å from those of LAMMPS's frame, shape (atoms, 3)."""
        return self.system.box.outwards(forces) * self._energy

    def stress_of(self, virial: Sequence[float] | Array, cell: Array, box_volume: float) -> Array:
        """Return stress without kinetic part in eV/Å³, shape (6,), in ASE's order; positive under tension.

        Parameters
        ----------
        virial
            LAMMPS's pressures xx, yy, zz, xy, xz, yz without kinetic part.
        cell
            The present cell of LAMMPS's frame in Å, shape (3, 3).
        box_volume
            Its volume in Å³.
        """
        tensor = self.system.box.tensor_outwards(_tensor(self.system, virial))
        stress: Array = tensor[_VOIGT] * box_volume / _volume(self.system.box.cell_outwards(cell))
        return stress

    def structure_of(self, frame: Frame) -> Structure:
        """Return the structure of a frame: positions, cell and momenta."""
        atoms = self.system.atoms.copy()
        atoms.set_constraint()
        atoms.set_cell(frame.cell)
        atoms.positions[:] = frame.positions
        if frame.velocities is not None and frame.velocities.any():
            atoms.set_velocities(frame.velocities / units.fs)
        atoms.set_constraint(self.system.atoms.constraints)
        return Structure.encode(atoms)


class Simulation(View):
    """A structure inside the library.

    Parameters
    ----------
    program
        LAMMPS, into which the structure has been read.
    system
        The structure.
    """

    def __init__(self, program: Program, system: System) -> None:
        super().__init__(system, program.parameters)
        self._program = program

    def prepare(self, course: str = "") -> None:
        """Compute the forces of the structure as it is; `course` is ``start N stop N`` where that must be known now."""
        # Without start and stop, so that a fix takes the masses of its thermostat and barostat from the temperature at
        # the start of a ramp, at a checkpoint on the way as at step 0.
        self._program.command(f"run 0 {course} post no")

    def watch(self, step: int) -> None:
        """Raise if the run has blown up; between samples too."""
        self.guard.check(step, self._program.thermo("temp"), self._program.thermo("pe"))

    def sample(self, step: int) -> Sample:
        """Return thermo row and frame.

        Raises
        ------
        EngineError
            If the run has blown up.
        """
        return self._sample(step, self.frame(step))

    def glance(self, step: int) -> Sample:
        """Return thermo row and frame without velocities.

        Raises
        ------
        EngineError
            If the run has blown up.
        """
        return self._sample(step, self.frame(step, velocities=False))

    def glimpse(self, step: int) -> Sample:
        """Return the frame alone, without velocities: all that there is in the middle of a run."""
        return Sample(step=step, row=(), frame=self.frame(step, velocities=False))

    def _sample(self, step: int, frame: Frame) -> Sample:
        values = [self._program.thermo(name) for name in ("temp", "pe", "ke", "etotal", "press")]
        row = self.row(step, frame.time, frame.cell, values, self._program.thermo("vol"))
        if self.more:
            row += self.more_values(self._program.last_thermo() or {})
        return Sample(step=step, row=row, frame=frame)

    def frame(self, step: int, *, velocities: bool = True) -> Frame:
        """Return positions (not wrapped into the cell), cell and, if asked for, velocities."""
        cell, origin = self._program.box()
        moving = self._program.gathered("v") if velocities else None
        return self.frame_of(step, self._program.gathered_positions(cell), cell, origin, moving)

    def forces(self) -> Array:
        """Return forces in eV/Å, shape (atoms, 3)."""
        return self.forces_of(self._program.gathered("f"))

    def properties(self) -> dict[str, Any]:
        """Return energy in eV, forces in eV/Å, `stress` if the cell has a volume, charges in e if there are any."""
        found: dict[str, Any] = {"energy": self._program.thermo("pe") * self._energy, "forces": self.forces()}
        stress = self.stress()
        if np.isfinite(stress).all():
            found["stress"] = stress
        if self.system.charged:
            found["charges"] = self._program.charges()
        return found

    def stress(self) -> Array:
        """Return stress without kinetic part in eV/Å³, shape (6,), in ASE's order; positive under tension."""
        program = self._program
        return self.stress_of(program.virial("virial"), program.box()[0], program.thermo("vol"))

    def structure(self) -> Structure:
        """Return the present structure: positions, cell and momenta."""
        return self.structure_of(self.frame(0))


def fmax_of_cell(system: System, pressures: Sequence[float], box_volume: float, pressure: float) -> float:
    """Return what ASE's cell filters count as forces: volume · stress / atoms, as the largest row in eV.

    Parameters
    ----------
    system
        The structure.
    pressures
        LAMMPS's pressures xx, yy, zz, xy, xz, yz.
    box_volume
        Its volume in Å³.
    pressure
        Outer pressure in GPa.
    """
    excess = _tensor(system, pressures) + np.eye(3) * pressure * units.GPa
    rows = np.linalg.norm(excess, axis=1) * box_volume / len(system.atoms)
    return float(rows.max())


def _tensor(system: System, pressures: Sequence[float] | Array) -> Array:
    """Return the stress tensor in eV/Å³ for LAMMPS's pressures xx, yy, zz, xy, xz, yz, shape (3, 3)."""
    xx, yy, zz, xy, xz, yz = pressures
    factor = (system.units.pressure or 1.0) * units.GPa
    return -factor * np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _volume(cell: Array) -> float:
    volume = abs(float(np.linalg.det(cell)))
    return volume if volume > 1e-8 else math.nan
