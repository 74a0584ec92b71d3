"""Parameters of the tasks of engine ``espresso``.

A parameter with the name of one of pw.x's keywords is in pw.x's unit, Ry; the others are in ASE's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Le
from pydantic import BeforeValidator, StringConstraints, model_validator

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.core.parameters import (
    DEFAULT_SEED,
    Every,
    RelaxParameters,
    Seed,
    StaticParameters,
    TaskParameters,
    field,
)
from nanoos_lab.engines.espresso import keywords
from nanoos_lab.engines.silence import silence_field

if TYPE_CHECKING:
    from typing import Self

#: Distance of k-points in reciprocal space unless the user says otherwise, in 1/Å.
KSPACING = 0.25
#: Width of a smearing unless the user says otherwise, in Ry.
DEGAUSS = 0.02
#: The diagonalizations that pw.x offers, in the order in which a failing one is followed by another.
DIAGONALIZATIONS = ("david", "paro", "cg")
#: Fewest changes of the temperature in a ramp.
_STAIRS = 10


def _path_as_text(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


Name = Annotated[str, BeforeValidator(_path_as_text), StringConstraints(min_length=1)]
Divisions = Annotated[int, Ge(1), Le(1000)]
Mesh = tuple[Divisions, Divisions, Divisions]
Smearing = Literal["gaussian", "methfessel-paxton", "marzari-vanderbilt", "fermi-dirac", "tetrahedra"]


class EspressoParameters(TaskParameters):
    """How the electrons are calculated, whatever the atoms do."""

    pseudopotentials: Name | None = field(
        None,
        doc="directory of UPF files, with a table in JSON or without; NANOOS_PSEUDO_DIR or that of pw.x's package "
        "unless given",
    )
    family: Name | None = field(
        None, doc="name of the table in that directory, without .json; needed if it has several"
    )
    pseudos: dict[str, Name] = field(
        {}, doc="element → UPF file: a name in that directory, or a path; needed where several are for an element"
    )
    ecutwfc: float | None = field(
        None, unit="Ry", gt=0, le=1e4, doc="cut-off of the wave functions; from the table unless given"
    )
    ecutrho: float | None = field(
        None,
        unit="Ry",
        gt=0,
        le=1e5,
        doc="cut-off of the density; unless given from the table, or 4 ecutwfc if all files are norm-conserving",
    )
    kpts: Mesh | None = field(None, doc="divisions of the mesh of k-points")
    kspacing: float | None = field(
        None,
        unit="1/Å",
        gt=0,
        le=100,
        doc=f"distance of k-points, factor 2π included; {KSPACING} unless kpts are given",
    )
    kshift: bool = field(False, doc="whether the mesh is shifted by half a division, so that it avoids Γ")
    smearing: Smearing | None = field(
        None, doc="how levels near the Fermi energy are occupied; none for insulators, needed for metals"
    )
    degauss: float | None = field(
        None, unit="Ry", gt=0, le=10, doc=f"width of the smearing; {DEGAUSS} unless given, tetrahedra have none"
    )
    charge: float = field(0.0, unit="e", ge=-100, le=100, doc="charge of the cell")
    nbnd: int | None = field(None, ge=1, le=10**6, doc="number of bands; pw.x's choice unless given")
    soc: bool = field(
        False, doc="whether spins and orbits are coupled; for that pseudopotentials must be fully relativistic"
    )
    conv_thr: float = field(1e-8, unit="Ry", gt=0, le=1, doc="error of the energy at which the SCF cycle has converged")
    scf_iterations: int = field(100, ge=1, le=10**5, doc="most iterations of an SCF cycle")
    mixing_beta: float = field(0.7, gt=0, le=1, doc="share of the new density that is mixed into the old one")
    diagonalization: Literal["david", "cg", "ppcg", "paro"] = field("david", doc="how bands are found")
    silence: float | None = silence_field()
    input: dict[str, dict[str, bool | int | float | str]] = field(
        {}, doc="further keywords of pw.x: namelist → keyword → value"
    )

    @model_validator(mode="after")
    def _choices_agree(self) -> Self:
        if self.kpts is not None and self.kspacing is not None:
            raise ParameterError("kspacing", self.kspacing, "only without kpts")
        if self.degauss is not None and self.smearing in (None, "tetrahedra"):
            raise ParameterError("degauss", self.degauss, "only with a smearing that has a width")
        if self.ecutrho is not None and self.ecutwfc is None:
            raise ParameterError("ecutrho", self.ecutrho, "only with ecutwfc")
        if self.ecutrho is not None and self.ecutwfc is not None and self.ecutrho <= self.ecutwfc:
            raise ParameterError("ecutrho", self.ecutrho, "more than ecutwfc, four times as much or more as a rule")
        keywords.check(self.input)
        return self

    def asked(self, namelist: str, keyword: str) -> bool | int | float | str | None:
        """Return the value of a keyword that the user has set in `input`, None if not."""
        return next((value for name, value in self.input.get(namelist, {}).items() if name.lower() == keyword), None)


class EspressoStaticParameters(StaticParameters, EspressoParameters):
    """Energy, forces and stress of the structure as it is; one row for each iteration of the SCF cycle.

    Among the results, where spins differ: ``magmom`` is the magnetic moment of the cell, ``magmoms`` are those within
    spheres around the atoms, which pw.x chooses, in Bohr magnetons, shape (atoms,), or (atoms, 3) if spins may point
    anywhere. Atoms of one element with different initial moments become kinds of their own in pw.x's input.
    """


class EspressoRelaxParameters(RelaxParameters, EspressoParameters):
    """Move the atoms, and the cell if it is free, until the forces vanish, by pw.x's BFGS.

    With a free cell the stress must vanish too: volume · stress / atoms ≤ `fmax`, as in ASE's cell filters; it is
    pw.x's last SCF cycle, with plane waves for the new cell, that gives the results.
    """

    steps: Annotated[int, Ge(0), Le(10**6)] = field(100, doc="most steps of the optimiser")
    pressure: float = field(0.0, unit="GPa", ge=-1e3, le=1e4, doc="pressure on the free cell")
    cell_factor: float | None = field(
        None, gt=0.5, le=16, doc="how much larger than the cell its plane waves may become; pw.x's 2 unless given"
    )

    @model_validator(mode="after")
    def _only_a_free_cell_has_a_pressure(self) -> Self:
        if self.pressure and self.cell == "fixed":
            raise ParameterError("pressure", self.pressure, "only with cell='free'")
        if self.cell_factor is not None and self.cell == "fixed":
            raise ParameterError("cell_factor", self.cell_factor, "only with cell='free'")
        return self


class EspressoVcRelaxParameters(EspressoRelaxParameters):
    """Move the atoms and the cell until forces and stress vanish: task "relax" with a free cell."""

    cell: Literal["free"] = field("free", doc="the cell relaxes")


class EspressoBandsParameters(EspressoParameters):
    """Levels along a path through the Brillouin zone, for the density of the structure as it is."""

    path: Name | None = field(
        None, doc="special points, such as 'LGXUG', a comma where it jumps; ASE's for the lattice unless given"
    )
    points: Annotated[int, Ge(2), Le(10**4)] = field(60, doc="number of k-points along the path")


class EspressoDosParameters(EspressoParameters):
    """Density of states, for the density of the structure as it is, by dos.x."""

    dos_kpts: Mesh | None = field(None, doc="divisions of the mesh of k-points for the states")
    dos_kspacing: float | None = field(
        None, unit="1/Å", gt=0, le=100, doc="distance of those k-points; half of that of the density's unless given"
    )
    width: float | None = field(
        None, unit="eV", gt=0, le=10, doc="Gaussian broadening; tetrahedra, which need none, unless given"
    )
    resolution: float = field(0.05, unit="eV", ge=1e-4, le=10, doc="distance of energies")


class EspressoGammaPhononsParameters(EspressoParameters):
    """Vibrations in which all cells move alike, and the response to an electric field, by ph.x.

    The atoms of the structure should be where no force acts on them, and forces must be exact, so that the density is
    converged further than for other tasks.
    """

    conv_thr: float = field(
        1e-12, unit="Ry", gt=0, le=1, doc="error of the energy at which the SCF cycle has converged"
    )
    dielectric: bool | None = field(
        None,
        doc="whether the dielectric tensor and Born charges are found, too; unless given they are without smearing: "
        "metals have none",
    )
    direction: tuple[float, float, float] | None = field(
        None,
        doc="Cartesian direction of waves of which the frequencies with an electric field are found, too",
    )
    asr: bool = field(
        True,
        doc="whether force constants and Born charges are made to obey the acoustic sum rule, which a finite cut-off "
        "and mesh break: a crystal that moves as a whole feels no force and has no charge",
    )
    response_thr: float = field(
        1e-14, gt=0, le=1, doc="squared error of the potential at which a response has converged"
    )
    response_iterations: int = field(100, ge=1, le=100, doc="most iterations towards a response")
    response_mixing: float = field(0.7, gt=0, le=1, doc="share of the new potential that is mixed into the old one")

    @property
    def in_field(self) -> bool:
        """Whether there is an electric field."""
        return self.smearing is None if self.dielectric is None else self.dielectric

    @model_validator(mode="after")
    def _only_insulators_hold_a_field(self) -> Self:
        if self.dielectric and self.smearing is not None:
            raise ParameterError("dielectric", True, "only without smearing: an electric field drives a metal")
        if self.direction is not None and not self.in_field:
            raise ParameterError(
                "direction", self.direction, "only with the dielectric tensor, which needs no smearing"
            )
        if self.direction is not None and not any(self.direction):
            raise ParameterError("direction", self.direction, "a vector that is not zero")
        return self


class EspressoMDParameters(EspressoParameters):
    """Molecular dynamics on the Born-Oppenheimer surface: pw.x's Verlet integrator, with a thermostat or none.

    Velocities are the structure's, if it has any; otherwise they are drawn at `temperature`. That of the centre of mass
    is taken away unless some atoms are fixed. The thermostat is Andersen's: the velocity of an atom is drawn anew, on
    average once in `tdamp`, which ends its free motion: diffusion and spectra are not those of nature. pw.x draws these
    numbers in one order, which `seed` does not change, so that runs that differ in it alone may come to move alike. Its
    other thermostats work only with velocities that it draws by the clock, but for the one of a ramp.

    A ramp from `temperature` to `temperature_end` anneals or quenches. Then pw.x 6.5 or a later one rescales all
    velocities, once in `tdamp`, to where the ramp has come by then. That is no canonical ensemble: to measure something
    at the temperature of the end, go on from there without a ramp.
    """

    steps: Annotated[int, Ge(1), Le(10**7)] = field(doc="number of steps")
    timestep: float = field(1.0, unit="fs", ge=1e-3, le=100, doc="time of one step")
    ensemble: Literal["nve", "nvt"] = field("nve", doc="what is kept constant")
    temperature: float | None = field(
        None, unit="K", ge=0, le=1e6, doc="temperature of the thermostat and of the initial velocities"
    )
    temperature_end: float | None = field(
        None, unit="K", gt=0, le=1e6, doc="temperature of the thermostat at the last step; ramps linearly"
    )
    tdamp: float = field(
        100.0,
        unit="fs",
        gt=0,
        le=1e6,
        doc="mean time between collisions of an atom, or time between rescalings on a ramp; whole steps",
    )
    every: Every = field(1, doc="steps between samples of frames and thermo")
    seed: Seed = field(DEFAULT_SEED, doc="seed of the initial velocities")

    @property
    def interval(self) -> int:
        """Steps in `tdamp`: on a ramp two at least, since pw.x knows no temperature before its first step."""
        return max(1 if self.temperature_end is None else 2, round(self.tdamp / self.timestep))

    @model_validator(mode="after")
    def _a_thermostat_has_a_temperature(self) -> Self:
        if self.ensemble == "nvt" and not self.temperature:
            raise ParameterError("temperature", self.temperature, "a number > 0 K, which ensemble='nvt' needs")
        return self

    @model_validator(mode="after")
    def _a_ramp_has_a_thermostat_and_stairs(self) -> Self:
        if self.temperature_end is None:
            return self
        if self.ensemble != "nvt":
            raise ParameterError("temperature_end", self.temperature_end, "only with ensemble='nvt'")
        if self.steps < 2 * _STAIRS:
            raise ParameterError("steps", self.steps, f"{2 * _STAIRS} or more with temperature_end")
        if self.steps < _STAIRS * self.interval:
            most = self.steps // _STAIRS * self.timestep
            raise ParameterError("tdamp", self.tdamp, f"at most {most:g} fs with temperature_end, a tenth of the run")
        return self
