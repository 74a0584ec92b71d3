"""Parameters of tasks whose energies and forces come from a calculator of ASE, whichever engine brings it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    JsonValue,
    StringConstraints,
    ValidationError,
    create_model,
    model_validator,
)

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.core.parameters import (
    Every,
    MDParameters,
    RelaxParameters,
    StaticParameters,
    Steps,
    TaskParameters,
    field,
)
from nanoos_lab.engines import displacements, distances

#: The calculator of engine ``ase`` that takes `epsilon`, `sigma`, `cutoff` and `smooth`.
LENNARD_JONES = "lj"

Vector = tuple[float, float, float]


class Calculated(TaskParameters):
    """Base of the parameters of such tasks; an engine adds those of its calculator."""

    #: Whether the structure keeps the symmetry that it begins with.
    keeps_symmetry: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """What to call the calculator in messages."""
        raise NotImplementedError

    @property
    def nearest(self) -> float:
        """Distance in Å below which two atoms overlap."""
        return distances.NEAREST


class SinglePointParameters(Calculated, StaticParameters):
    """Energy, forces and stress of the structure as it is."""

    keeps_symmetry = True


class OptimizerParameters(Calculated, RelaxParameters):
    """Move the atoms, and the cell if it is free, until the forces vanish.

    With a free cell the stress must vanish too: volume · stress / atoms ≤ `fmax`, as in ASE's
    `FrechetCellFilter`.
    """

    keeps_symmetry = True

    optimizer: Literal["BFGS", "LBFGS", "BFGSLineSearch", "FIRE", "FIRE2", "GPMin", "MDMin"] = field(
        "LBFGS",
        doc="ASE's optimiser; BFGS and GPMin solve equations of the size of all coordinates at each step",
    )
    pressure: float = field(0.0, unit="GPa", ge=-1e4, le=1e4, doc="outer pressure, only cell='free'")

    @model_validator(mode="after")
    def _pressure_has_a_cell_to_act_on(self) -> Self:
        if self.pressure and self.cell == "fixed":
            raise ParameterError("pressure", self.pressure, "only with cell='free'")
        return self


class DynamicsParameters(Calculated, MDParameters):
    """Molecular dynamics.

    Velocities are the structure's, if it has any; otherwise they are drawn at `temperature`.
    """

    thermostat: Literal["bussi", "langevin", "nose-hoover"] = field(
        "bussi",
        doc="of ensemble='nvt': bussi rescales all velocities together and so hardly disturbs the motion; "
        "langevin acts on each atom; nose-hoover is deterministic and cannot ramp",
    )

    @model_validator(mode="after")
    def _thermostat_fits(self) -> Self:
        if self.ensemble != "nvt" and self.thermostat != "bussi":
            raise ParameterError("thermostat", self.thermostat, "only with ensemble='nvt'")
        if self.thermostat == "nose-hoover" and self.temperature_end is not None:
            raise ParameterError("temperature_end", self.temperature_end, "only with thermostat='bussi' or 'langevin'")
        return self


class End(BaseModel):
    """The structure at the other end of a path, as plain values."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    #: Positions in Å, shape (atoms, 3).
    positions: list[Vector]
    #: Atomic numbers, shape (atoms,), if they are to be compared with those of the structure.
    numbers: list[int] | None = None
    #: Cell vectors in Å as rows, shape (3, 3), if they are to be compared with those of the structure.
    cell: list[Vector] | None = None


def _checked_end(value: dict[str, Any]) -> End:
    try:
        return End(**value)
    except (TypeError, ValidationError) as error:
        names = ", ".join(map(str, value))
        raise ParameterError("final", f"a mapping of {names}", "one of positions, numbers and cell") from error


def _as_end(value: Any) -> Any:
    """Take an `ase.Atoms`, an array of positions, or what `End` is as JSON."""
    if isinstance(value, End):
        return value
    if isinstance(value, dict):
        return _checked_end(value)
    if hasattr(value, "get_atomic_numbers"):
        positions, numbers, cell = value.get_positions(), value.get_atomic_numbers(), value.cell.array
        return {"positions": positions.tolist(), "numbers": numbers.tolist(), "cell": cell.tolist()}
    try:
        positions = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        positions = np.empty(0)
    if positions.ndim != 2 or positions.shape[1] != 3:
        kind = type(value).__name__
        raise ParameterError("final", kind, "an ase.Atoms, or positions in Å of shape (atoms, 3)")
    return {"positions": positions.tolist()}


class BandParameters(Calculated):
    """Nudged elastic band: the path of least energy from the structure to another one, and the barrier on it.

    The two ends stay as they are, so both should be relaxed. Improved tangents (G. Henkelman, H. Jónsson, J. Chem.
    Phys. 113, 9978, 2000) and climbing image (G. Henkelman, B. P. Uberuaga, H. Jónsson, J. Chem. Phys. 113, 9901,
    2000), as ASE has them.
    """

    final: Annotated[End, BeforeValidator(_as_end)] = field(
        doc="the other end: an ase.Atoms with the same atoms in the same order and the same cell, or its positions in Å"
    )
    images: int = field(5, ge=1, le=100, doc="images between the two ends")
    climb: bool = field(True, doc="whether the highest image climbs to the saddle point")
    spring: float = field(0.1, unit="eV/Å²", gt=0, le=1e3, doc="stiffness of the springs between images")
    interpolation: Literal["idpp", "linear"] = field(
        "idpp", doc="the first path: idpp keeps atoms apart (image dependent pair potential), linear is a straight line"
    )
    optimizer: Literal["FIRE", "FIRE2", "BFGS", "LBFGS", "MDMin"] = field(
        "FIRE", doc="ASE's optimiser; BFGS solves equations of the size of all coordinates of all images at each step"
    )
    fmax: float = field(0.05, unit="eV/Å", gt=0, le=100, doc="largest force on an atom of an image at the end")
    steps: Steps = field(1000, doc="most steps of the optimiser")
    every: Every = field(1, doc="steps between samples of frames and thermo")


Row = tuple[int, int, int]


def _as_matrix(value: Any) -> Any:
    """Take an integer, three of them, or a matrix."""
    return tuple(map(tuple, displacements.matrix_of(value).tolist()))


class PhononParameters(Calculated):
    """Phonons of a relaxed crystal, from the forces in supercells with a displaced atom.

    The results have `frequencies` at Γ; `nanoos_lab.lattice_dynamics` makes bands, density of states and heat of such a
    job. Energy, forces and structure are those of the crystal. The workflow `nanoos_lab.phonons` is for engines without
    this task, and for supercells that are to run side by side.
    """

    supercell: Annotated[tuple[Row, Row, Row], BeforeValidator(_as_matrix)] = field(
        ((2, 0, 0), (0, 2, 0), (0, 0, 2)),
        doc="how often the cell is repeated: a number, one for each cell vector, or a matrix whose rows are the new "
        "vectors; forces must vanish over half the width",
    )
    distance: float = field(0.01, unit="Å", gt=0, lt=1, doc="how far an atom is displaced")

    @property
    def times(self) -> int:
        """How many cells the supercell has."""
        return round(float(np.linalg.det(self.supercell)))


#: The tasks of every engine over a calculator of ASE.
TASKS: dict[str, type[Calculated]] = {
    "static": SinglePointParameters,
    "relax": OptimizerParameters,
    "md": DynamicsParameters,
    "neb": BandParameters,
    "phonons": PhononParameters,
}


def tasks_with(own: type[Calculated]) -> dict[str, type[TaskParameters]]:
    """Return the models of the tasks of an engine whose calculator has these parameters."""
    return {
        name: create_model(f"{own.__name__}_{name}", __base__=(own, task), __doc__=task.__doc__)
        for name, task in TASKS.items()
    }


class CalculatorParameters(Calculated):
    """Where engine ``ase`` has energies and forces from."""

    calculator: Annotated[str, StringConstraints(min_length=1)] = field(
        doc="'emt', 'lj', or 'module:Class' for any other ASE calculator"
    )
    calculator_options: dict[str, JsonValue] = field({}, doc="keyword arguments of the calculator's class")
    epsilon: float | None = field(None, unit="eV", gt=0, le=1e3, doc="depth of the well, only calculator='lj'")
    sigma: float | None = field(None, unit="Å", gt=0, le=100, doc="diameter, only calculator='lj'")
    cutoff: float | None = field(
        None, unit="Å", gt=0, le=1e3, doc="where forces end, only calculator='lj'; 3 sigma unless given"
    )
    smooth: bool = field(False, doc="whether energy and forces go to zero smoothly at the cutoff, only calculator='lj'")

    @property
    def label(self) -> str:
        """Its name as the user gave it."""
        return self.calculator

    @property
    def nearest(self) -> float:
        """Distance in Å below which two atoms overlap; nobody knows the lengths of another calculator."""
        if self.sigma is not None:
            return distances.nearest_of(self.sigma)
        return distances.SAME_PLACE if ":" in self.calculator else distances.NEAREST

    @property
    def deterministic(self) -> bool:
        """Nobody knows what another calculator does with chance, or with files that are not part of the request."""
        return ":" not in self.calculator

    @property
    def options(self) -> dict[str, JsonValue]:
        """Keyword arguments of the calculator's class."""
        if self.calculator != LENNARD_JONES:
            return self.calculator_options
        own = {"epsilon": self.epsilon, "sigma": self.sigma, "rc": self.cutoff, "smooth": self.smooth}
        return {**self.calculator_options, **own}

    @model_validator(mode="after")
    def _lennard_jones_has_what_it_needs(self) -> Self:
        own = {
            "epsilon": self.epsilon,
            "sigma": self.sigma,
            "cutoff": self.cutoff,
            "smooth": self.smooth or None,
        }
        if self.calculator != LENNARD_JONES:
            for name, value in own.items():
                if value is not None:
                    raise ParameterError(name, value, "only with calculator='lj'")
            return self
        for name in ("epsilon", "sigma"):
            if own[name] is None:
                raise ParameterError(name, None, "a number, which calculator='lj' needs")
        for name in self.calculator_options:
            if name in ("epsilon", "sigma", "rc", "smooth"):
                raise ParameterError("calculator_options", {name: ...}, "pass it as a parameter of the task")
        return self
