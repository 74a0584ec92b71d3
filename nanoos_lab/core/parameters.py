"""Parameters of the tasks, as pydantic models with units and ranges; engines refine them.

Units are ASE's: fs, K, eV/Å; pressure in GPa.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nanoos_lab.core.errors import InputError, ParameterError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

#: Seed of every random choice unless the user gives one; always recorded with the job.
DEFAULT_SEED = 20260101

Seed = Annotated[int, Field(ge=1, le=900_000_000)]
Steps = Annotated[int, Field(ge=0, le=10**12)]
Every = Annotated[int, Field(ge=1, le=10**12)]
Model = TypeVar("Model", bound="TaskParameters")


def field(default: Any = ..., *, unit: str = "", doc: str, **limits: Any) -> Any:
    """Declare a parameter: its default, limits (`gt`, `ge`, `lt`, `le`), unit and meaning."""
    return Field(default, description=doc, json_schema_extra={"unit": unit}, **limits)


class TaskParameters(BaseModel):
    """Base of the parameters of every task: frozen, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StaticParameters(TaskParameters):
    """Energy, forces and stress of the structure as it is."""


class RelaxParameters(TaskParameters):
    """Move the atoms, and the cell if it is free, until the forces vanish."""

    fmax: float = field(0.01, unit="eV/Å", gt=0, le=100, doc="largest force on an atom at the end")
    steps: Steps = field(1000, doc="most steps of the optimiser")
    every: Every = field(1, doc="steps between samples of frames and thermo")
    cell: Literal["fixed", "free"] = field("fixed", doc="whether the cell relaxes too")


class MDParameters(TaskParameters):
    """Molecular dynamics."""

    steps: Steps = field(doc="number of steps")
    timestep: float = field(1.0, unit="fs", gt=0, le=100, doc="time of one step")
    ensemble: Literal["nve", "nvt", "npt"] = field("nve", doc="what is kept constant")
    temperature: float | None = field(
        None, unit="K", ge=0, le=1e6, doc="temperature of the thermostat and of the initial velocities"
    )
    temperature_end: float | None = field(
        None, unit="K", ge=0, le=1e6, doc="temperature of the thermostat at the last step; ramps linearly"
    )
    pressure: float | None = field(None, unit="GPa", ge=-1e4, le=1e4, doc="pressure of the barostat")
    tdamp: float = field(100.0, unit="fs", gt=0, le=1e6, doc="relaxation time of the thermostat")
    pdamp: float = field(1000.0, unit="fs", gt=0, le=1e7, doc="relaxation time of the barostat")
    every: Every = field(100, doc="steps between samples of frames and thermo")
    seed: Seed = field(DEFAULT_SEED, doc="seed of the initial velocities and of random forces")

    @model_validator(mode="after")
    def _ensemble_has_what_it_needs(self) -> MDParameters:
        if self.ensemble in ("nvt", "npt") and self.temperature is None:
            raise ParameterError("temperature", None, f"a number in K, which ensemble={self.ensemble!r} needs")
        if self.ensemble in ("nvt", "npt") and self.temperature == 0:
            raise ParameterError("temperature", 0, f"a number > 0 K, which ensemble={self.ensemble!r} needs")
        if self.ensemble == "npt" and self.pressure is None:
            raise ParameterError("pressure", None, "a number in GPa, which ensemble='npt' needs")
        if self.ensemble != "npt" and self.pressure is not None:
            raise ParameterError("pressure", self.pressure, "only with ensemble='npt'")
        if self.ensemble == "nve" and self.temperature_end is not None:
            raise ParameterError("temperature_end", self.temperature_end, "only with ensemble='nvt' or 'npt'")
        return self


def validate(model: type[Model], values: Mapping[str, Any], *, where: str) -> Model:
    """Check `values` against `model`.

    Parameters
    ----------
    model
        The parameters of one task of one engine.
    values
        What the user passed.
    where
        For the message, such as ``engine 'lammps', task 'md'``.

    Raises
    ------
    UnknownNameError
        For a name that the task does not have.
    ParameterError
        For a value out of its range or of a wrong type; names the field, the value and what is allowed.
    """
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in values.items()}
    try:
        return model(**plain)
    except ValidationError as error:
        raise _readable(error.errors()[0], model, where) from None


def _readable(error: ErrorDetails, model: type[TaskParameters], where: str) -> InputError:
    fields = model.model_fields
    name = str(error["loc"][0]) if error["loc"] else ""
    inner = error.get("ctx", {}).get("error")
    if isinstance(inner, InputError):
        return inner
    if error["type"] == "extra_forbidden":
        return UnknownNameError(f"parameter of {where}", name, fields)
    if error["type"] == "missing":
        return ParameterError(name, None, f"{where} needs {allowed(fields[name])}")
    if name in fields:
        return ParameterError(name, error["input"], f"must be {allowed(fields[name])}")
    return InputError(f"{where}: {error['msg']}")


def allowed(info: FieldInfo) -> str:
    """Say in words which values a parameter takes, such as ``a number > 0 and ≤ 100 fs (time of one step)``."""
    kind = str(info.annotation)
    signs = {Gt: (">", "gt"), Ge: ("≥", "ge"), Lt: ("<", "lt"), Le: ("≤", "le")}
    limits = [
        f"{sign} {getattr(limit, attribute):g}"
        for limit in info.metadata
        for cls, (sign, attribute) in signs.items()
        if isinstance(limit, cls)
    ]
    extra = info.json_schema_extra
    unit = str(extra.get("unit", "")) if isinstance(extra, dict) else ""
    if "Literal" in kind:
        words = "one of " + kind[kind.index("[") + 1 : kind.rindex("]")]
    elif "int" in kind or "float" in kind:
        words = "an integer" if "int" in kind else "a number"
        words = " ".join([words, " and ".join(limits), unit]).replace("  ", " ").strip()
    else:
        words = "a text" if "str" in kind else kind
    return f"{words} ({info.description})" if info.description else words
