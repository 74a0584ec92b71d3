"""Parameters of the tasks of engine ``ase``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import JsonValue, StringConstraints, model_validator

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.core.parameters import (
    MDParameters,
    RelaxParameters,
    StaticParameters,
    TaskParameters,
    field,
)

#: The calculator that takes `epsilon`, `sigma`, `cutoff` and `smooth`.
LENNARD_JONES = "lj"


class CalculatorParameters(TaskParameters):
    """Where energies and forces come from."""

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


class AseStaticParameters(CalculatorParameters, StaticParameters):
    """Energy, forces and stress of the structure as it is."""


class AseRelaxParameters(CalculatorParameters, RelaxParameters):
    """Move the atoms, and the cell if it is free, until the forces vanish.

    With a free cell the stress must vanish too: volume · stress / atoms ≤ `fmax`, as in ASE's
    `FrechetCellFilter`.
    """

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


class AseMDParameters(CalculatorParameters, MDParameters):
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
