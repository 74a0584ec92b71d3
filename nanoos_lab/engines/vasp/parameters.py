"""Parameters of the tasks of engine ``vasp``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from nanoos_lab.core.errors import ParameterError, UnknownNameError
from nanoos_lab.core.parameters import (
    MDParameters,
    RelaxParameters,
    StaticParameters,
    TaskParameters,
    field,
)
from nanoos_lab.engines.silence import silence_field
from nanoos_lab.engines.vasp.tags import TAGS

#: A value in an INCAR.
Value = bool | int | float | str | list[bool | int | float | str]
Smearing = Literal["gaussian", "fermi", "methfessel-paxton", "tetrahedron"]
Functional = Literal["PBE", "PBEsol", "RPBE", "revPBE", "LDA", "SCAN", "r2SCAN", "PBE0", "HSE06"]

#: Tag → the parameter that sets it, so that each thing is said in one place.
SPOKEN_FOR: dict[str, str] = {
    "ENCUT": "encut",
    "EDIFF": "ediff",
    "ISMEAR": "smearing",
    "SIGMA": "sigma",
    "KSPACING": "kspacing",
    "KGAMMA": "gamma",
    "NELM": "nelm",
    "PREC": "precision",
    "NSW": "steps",
    "EDIFFG": "fmax",
    "GGA": "xc",
    "METAGGA": "xc",
    "LHFCALC": "xc",
    "LSORBIT": "soc",
    "LNONCOLLINEAR": "soc",
    "TEBEG": "temperature",
    "TEEND": "temperature_end",
    "LANGEVIN_GAMMA": "tdamp",
    "LANGEVIN_GAMMA_L": "pdamp",
    "MDALGO": "ensemble",
    "RANDOM_SEED": "seed",
    "PSTRESS": "pressure",
    "MAGMOM": "the structure's initial magnetic moments",
    "ISPIN": "spin",
}
#: Tags that are a matter of one task, where the others may set them.
_OF_TASK = {"EDIFFG", "PSTRESS", "TEBEG", "TEEND", "LANGEVIN_GAMMA", "LANGEVIN_GAMMA_L", "MDALGO", "RANDOM_SEED"}
#: Functionals of the density alone, and tags that both runs of task ``bands`` have for themselves.
OF_DENSITY = ("PBE", "PBEsol", "RPBE", "revPBE", "LDA")
_OF_BANDS = {"IBRION", "ICHARG", "LCHARG"}
#: Lowest temperature of a thermostat in K (VASP wiki, page MDALGO).
COLDEST = 0.1
#: What ends a value in an INCAR, or begins the next one.
_FORBIDDEN = "\n\r;#!\\{}"


class VaspParameters(TaskParameters):
    """What all tasks share: the level of theory, the mesh, and whatever else an INCAR may have."""

    xc: Functional = field(doc="exchange and correlation")
    potentials: (
        Literal[
            "potpaw_PBE",
            "potpaw_PBE.52",
            "potpaw_PBE.54",
            "potpaw_PBE.64",
            "potpaw",
            "potpaw_LDA",
            "potpaw_LDA.52",
            "potpaw_LDA.54",
            "potpaw_LDA.64",
        ]
        | None
    ) = field(None, doc="folder of POTCARs under VASP_PP_PATH; by default potpaw_PBE, or potpaw for LDA")
    setups: str | dict[str, str] | None = field(
        None,
        doc="which POTCAR where an element has several: 'recommended', 'minimal' or 'materialsproject' (ASE's tables), "
        "or a mapping of elements to suffixes such as {'Fe': '_pv'}, a table for the others under 'base'",
    )
    encut: float | None = field(
        None,
        unit="eV",
        gt=0,
        le=1e5,
        doc="cut-off of the plane waves; by default the largest ENMAX, and 1.3 times that where the cell changes",
    )
    precision: Literal["Normal", "Accurate", "Low", "Medium", "High", "Single"] = field("Accurate", doc="PREC")
    ediff: float = field(1e-6, unit="eV", gt=0, le=1, doc="energy change at which the SCF cycle ends")
    nelm: int = field(100, ge=1, le=10_000, doc="most SCF iterations")
    kspacing: float | None = field(
        None, unit="Å⁻¹", gt=0, le=100, doc="largest distance of k-points, 2π included; 0.25 by default"
    )
    kpts: tuple[int, int, int] | None = field(None, doc="k-points along the reciprocal vectors, instead of kspacing")
    gamma: bool = field(True, doc="whether the mesh contains Γ")
    smearing: Smearing = field("gaussian", doc="how states near the Fermi level are occupied")
    sigma: float = field(0.05, unit="eV", gt=0, le=10, doc="width of the smearing")
    spin: bool | None = field(None, doc="whether spins differ; by default if the structure has magnetic moments")
    soc: bool = field(False, doc="spin-orbit coupling, by the program vasp_ncl")
    silence: float | None = silence_field()
    incar: dict[str, Value] = Field(
        default_factory=dict,
        description="further tags of the INCAR; values for each species in the order in which species first occur",
    )

    @field_validator("incar")
    @classmethod
    def _known_tags(cls, value: dict[str, Value]) -> dict[str, Value]:
        found = {name.strip().upper(): each for name, each in value.items()}
        for name, each in found.items():
            if name not in TAGS:
                # All of them would fill the screen.
                raise UnknownNameError("INCAR tag", name, TAGS)
            if any(isinstance(one, str) and set(one) & set(_FORBIDDEN) for one in items(each)):
                raise ParameterError("incar", {name: each}, "a value of an INCAR is one line without ; # ! \\ { }")
        return found

    @field_validator("kpts")
    @classmethod
    def _mesh(cls, value: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if value is not None and not all(1 <= each <= 1000 for each in value):
            raise ParameterError("kpts", value, "three integers ≥ 1 and ≤ 1,000")
        return value

    @model_validator(mode="after")
    def _said_once(self) -> VaspParameters:
        for tag in self.incar:
            name = SPOKEN_FOR.get(tag)
            if name is not None and (tag not in _OF_TASK or name in type(self).model_fields):
                raise ParameterError("incar", {tag: self.incar[tag]}, f"{tag} is set by {name}; say it there")
        if self.kpts is not None and self.kspacing is not None:
            raise ParameterError("kspacing", self.kspacing, "either kpts or kspacing is given, not both")
        if moves(self) and self.incar.get("NWRITE") == 0:
            raise ParameterError("incar", {"NWRITE": 0}, "NWRITE ≥ 1: with 0 VASP does not print where the atoms are")
        if self.soc and self.spin is False:
            raise ParameterError("spin", False, "spins cannot be the same with spin-orbit coupling")
        return self


def items(value: Value) -> list[bool | int | float | str]:
    """Return a value of an INCAR as a list."""
    return value if isinstance(value, list) else [value]


class VaspStaticParameters(StaticParameters, VaspParameters):
    """Energy, forces, stress, levels and density of states of the structure as it is.

    Among the results: ``dos_energies`` in eV, shape (points,); ``dos`` in states per eV and cell, shape
    (spins, points); ``dos_integral``, the number of states below of both spins together, shape (points,).
    ``magmom`` and ``magmoms`` are the magnetic moments of the cell and within VASP's spheres around the atoms, in Bohr
    magnetons: a number each, or three components with `soc`, which are along x, y and z unless SAXIS says otherwise.
    """


class VaspBandsParameters(VaspParameters):
    """Levels along a path through the Brillouin zone, for the density of the structure as it is.

    A second run of VASP keeps the density that a first one has found (ICHARG = 11), which a functional needs that
    follows from the density alone: the others need the wave functions on the mesh, or the density of kinetic energy.
    """

    path: Annotated[str, StringConstraints(min_length=1)] | None = field(
        None, doc="special points, such as 'LGXUG', a comma where it jumps; ASE's for the lattice unless given"
    )
    points: int = field(60, ge=2, le=10**4, doc="number of k-points along the path")

    @model_validator(mode="after")
    def _a_density_says_all(self) -> VaspBandsParameters:
        if self.xc not in OF_DENSITY:
            raise ParameterError("xc", self.xc, f"one of {', '.join(OF_DENSITY)}: a density is not enough for others")
        for tag in _OF_BANDS & self.incar.keys():
            raise ParameterError("incar", {tag: self.incar[tag]}, f"task 'bands' sets {tag}")
        return self


class VaspRelaxParameters(RelaxParameters, VaspParameters):
    """Relaxation by VASP's own optimisers."""

    optimizer: Literal["cg", "quasi-newton", "damped"] = field("cg", doc="IBRION 2, 1 or 3")
    pressure: float = field(0.0, unit="GPa", ge=-1e4, le=1e4, doc="pressure that is held if the cell is free")
    steps: int = field(200, ge=0, le=100_000, doc="most steps of the optimiser")

    @model_validator(mode="after")
    def _pressure_needs_free_cell(self) -> VaspRelaxParameters:
        if self.pressure and self.cell == "fixed":
            raise ParameterError("pressure", self.pressure, "only with cell='free'")
        if "IBRION" in self.incar:
            raise ParameterError("incar", {"IBRION": self.incar["IBRION"]}, "IBRION is set by optimizer; say it there")
        return self


class VaspMDParameters(MDParameters, VaspParameters):
    """Molecular dynamics on the Born-Oppenheimer surface; temperature and pressure by Langevin's method.

    The thermostat's temperature goes from `temperature` to `temperature_end` by VASP's TEBEG and TEEND.
    """

    steps: int = field(ge=0, le=100_000_000, doc="number of steps")
    every: int = field(1, ge=1, le=10**12, doc="steps between samples of frames and thermo")

    @model_validator(mode="after")
    def _dynamics_are_asked_for_here(self) -> VaspMDParameters:
        for name in ("temperature", "temperature_end") if self.ensemble != "nve" else ():
            value = getattr(self, name)
            if value is not None and value < COLDEST:
                raise ParameterError(
                    name, value, f"a number ≥ {COLDEST:g} K: VASP takes what is colder for a relaxation in places"
                )
        for tag in ("POTIM", "IBRION", "POMASS"):
            if tag in self.incar:
                raise ParameterError("incar", {tag: self.incar[tag]}, f"task 'md' sets {tag}")
        return self

    def temperature_at(self, step: int) -> float | None:
        """Return the thermostat's temperature at a step, in K; None if there is none."""
        if self.temperature is None or self.temperature_end is None or not self.steps:
            return self.temperature
        return self.temperature + (self.temperature_end - self.temperature) * step / self.steps


#: Any of them.
Given = VaspStaticParameters | VaspBandsParameters | VaspRelaxParameters | VaspMDParameters


def moves(given: TaskParameters) -> bool:
    """Whether atoms move."""
    return isinstance(given, (VaspRelaxParameters, VaspMDParameters))


def changes_cell(given: Any) -> bool:
    """Whether the cell changes."""
    return getattr(given, "cell", "") == "free" or getattr(given, "ensemble", "") == "npt"
