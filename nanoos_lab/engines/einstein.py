"""The physics of the mock engine: an Einstein crystal, every atom on a spring of its own.

Any step is known in closed form, so a run costs nothing and needs nothing but numpy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.frames import Frame, RunHead, Sample
from nanoos_lab.core.structures import Structure
from nanoos_lab.core.units import thermo_columns
from nanoos_lab.engines.steering import Leg

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nanoos_lab.core.parameters import MDParameters

    Array = np.ndarray[Any, Any]

#: Energy of an atom at rest on its site, in eV: about that of copper.
SITE_ENERGY = -3.5
#: Mean frequency of the springs in rad/fs (4.5 THz), and by what share of it an atom's own may differ: with
#: one frequency for all they would swing in step for ever.
FREQUENCY, SPREAD = 0.028, 0.5
#: A relaxation: spring in eV/Å², how far atoms start off their sites in Å, the part of it that a step leaves.
SPRING, OFFSET, DECAY = 5.0, 0.05, 0.7


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Where the atoms are and how they move."""

    #: Å, shape (atoms, 3).
    positions: Array
    #: Å/fs, shape (atoms, 3); None if they are at rest.
    velocities: Array | None = None
    #: eV/Å, shape (atoms, 3).
    forces: Array
    #: eV.
    potential: float
    #: eV.
    kinetic: float = 0.0

    @property
    def fmax(self) -> float:
        """Largest force on an atom in eV/Å."""
        return float(np.linalg.norm(self.forces, axis=1).max())


class Crystal:
    """What stays the same in a run, and how a motion in it is reported.

    Parameters
    ----------
    structure
        Its positions are the sites.
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self.arrays = structure.arrays()
        self.sites = self.arrays["positions"]
        self.volume = abs(float(np.linalg.det(self.arrays["cell"]))) if all(structure.pbc) else math.nan

    def head(self, *extra: str, total: int | None) -> RunHead:
        """Return the head of a run whose thermo has these columns after the usual ones."""
        columns = thermo_columns(*extra)
        return RunHead(
            total=total,
            columns=columns,
            numbers=self.arrays["numbers"],
            pbc=self.structure.pbc,
            masses=self.arrays.get("masses"),
        )

    def at_rest(self) -> Motion:
        """Return the atoms at rest on their sites."""
        energy = SITE_ENERGY * self.structure.natoms
        return Motion(positions=self.sites, forces=np.zeros_like(self.sites), potential=energy)

    def sample(self, step: int, time: float, motion: Motion, extra: tuple[float, ...] = ()) -> Sample:
        """Return thermo and frame at a step; the pressure is an ideal gas's, as the springs are external."""
        from ase.units import GPa, kB

        row = (
            time,
            2 * motion.kinetic / (3 * self.structure.natoms * kB),
            motion.potential,
            motion.kinetic,
            motion.potential + motion.kinetic,
            2 * motion.kinetic / (3 * self.volume) / GPa,
            self.volume,
            *extra,
        )
        frame = Frame(
            step=step,
            time=time,
            positions=motion.positions,
            cell=self.arrays["cell"],
            velocities=motion.velocities,
        )
        return Sample(step=step, row=row, frame=frame)

    def moved(self, motion: Motion) -> Structure:
        """Return the structure with the positions and velocities of a motion."""
        from ase.units import fs

        atoms = self.structure.atoms()
        atoms.positions = motion.positions
        if motion.velocities is not None:
            atoms.set_array("momenta", motion.velocities / fs * atoms.get_masses()[:, None])
        return Structure.encode(atoms)


class Oscillation:
    """Atoms that swing about their sites, set going by their momenta or else by those of the temperature.

    They start on their sites, so half of their kinetic energy goes into the springs; a thermostat makes up
    for that within its relaxation time.

    Parameters
    ----------
    crystal
        The sites.
    given
        Temperature, ensemble, time step, seed. A barostat has nothing to do here.
    legs
        Returns what holds from which steps on, if that changes on the way.
    """

    def __init__(
        self, crystal: Crystal, given: MDParameters, legs: Callable[[], Sequence[Leg[Any]]] | None = None
    ) -> None:
        from ase.data import atomic_masses
        from ase.units import fs, kB

        arrays = crystal.arrays
        rng = np.random.default_rng(given.seed)
        masses = arrays["masses"] if "masses" in arrays else atomic_masses[arrays["numbers"]]
        self._sites = crystal.sites
        self._given = given
        self._legs = legs or (lambda: [Leg(first=0, parameters=given)])
        self._masses = masses[:, None] / fs**2  # eV fs²/Å²
        self._frequencies = FREQUENCY * rng.uniform(1 - SPREAD, 1 + SPREAD, size=(len(masses), 1))
        self._springs = self._masses * self._frequencies**2
        if "momenta" in arrays and arrays["momenta"].any():
            self._start = arrays["momenta"] / masses[:, None] * fs
        else:
            thermal = np.sqrt(kB * (given.temperature or 0.0) / self._masses)
            self._start = thermal * rng.standard_normal(self._sites.shape)

    def at(self, step: int) -> Motion:
        """Return the motion after so many steps."""
        phase = self._frequencies * step * self._given.timestep
        start = self._start * math.sqrt(self._heat(step))
        away = start / self._frequencies * np.sin(phase)
        velocities = start * np.cos(phase)
        springs = 0.5 * float(np.sum(self._springs * away**2))
        return Motion(
            positions=self._sites + away,
            velocities=velocities,
            forces=-self._springs * away,
            potential=SITE_ENERGY * len(away) + springs,
            kinetic=0.5 * float(np.sum(self._masses * velocities**2)),
        )

    def _heat(self, step: int) -> float:
        """Return the energy at a step over that at the start."""
        given = self._given
        if given.ensemble == "nve" or not given.temperature:
            return 1.0
        begun = [leg for leg in self._legs() if leg.first <= step]
        # At first the springs take half of the heat, and the thermostat makes up for it.
        heat = 1.0
        for leg, end in zip(begun, [*(leg.first for leg in begun[1:]), step], strict=True):
            passed = (end - leg.first) * given.timestep / leg.parameters.tdamp
            short = heat - 2 * (leg.target(leg.first) or 0.0) / given.temperature
            heat = 2 * (leg.target(end) or 0.0) / given.temperature + short * math.exp(-passed)
        return heat


class Slide:
    """Atoms that slide into sites near to where they start, a fixed part of the way at each step.

    Parameters
    ----------
    crystal
        Where they start.
    seed
        Seed of the directions.
    """

    def __init__(self, crystal: Crystal, seed: int) -> None:
        self._rest = crystal.at_rest()
        self._offsets = OFFSET * np.random.default_rng(seed).standard_normal(crystal.sites.shape)

    def at(self, step: int) -> Motion:
        """Return the atoms after so many steps."""
        away = self._offsets * DECAY**step
        return Motion(
            positions=self._rest.positions - self._offsets + away,
            forces=-SPRING * away,
            potential=self._rest.potential + 0.5 * SPRING * float(np.sum(away**2)),
        )

    def steps_to(self, fmax: float) -> int:
        """Return after how many steps no force is larger, in eV/Å."""
        return max(math.ceil(math.log(fmax / self.at(0).fmax) / math.log(DECAY)), 0)
