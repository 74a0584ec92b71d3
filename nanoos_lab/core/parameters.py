"""Parameters of the tasks, as pydantic models with units and ranges; engines refine them.

Units are ASE's: fs, K, eV/Å; pressure in GPa.
"""

from __future__ import annotations

from enum import Enum
from os import PathLike, fspath
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

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

    @property
    def deterministic(self) -> bool:
        """Whether an equal request has equal results, so that those of an earlier run will do."""
        return True


def joined(*models: type[TaskParameters]) -> type[TaskParameters]:
    """Return a model with the parameters and rules of several, such as those of a calculator and those of a task.

    Where two have a parameter of one name, that of the first counts.
    """
    name = "_".join(model.__name__ for model in models)
    return create_model(name, __base__=models, __doc__=models[-1].__doc__)


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
    timestep: float = field(1.0, unit="fs", ge=1e-3, le=100, doc="time of one step")
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
    given = {name: _given(name, value) for name, value in values.items()}
    try:
        made = model(**given)
    except ValidationError as error:
        raise _readable(error.errors(), model, where, given) from None
    for name, value in given.items():
        # pydantic takes True for 1, and "300" for 300.
        if _became_a_number(value, getattr(made, name, None)):
            raise ParameterError(name, value, f"must be {allowed(model.model_fields[name])}")
    return made


def _given(name: str, value: Any) -> Any:
    try:
        return _plain(value)
    except RecursionError:
        raise ParameterError(name, value, "a value that is not nested so deeply") from None


def _became_a_number(given: Any, taken: Any) -> bool:
    """Say whether a text or a flag was taken for a number, in a list or a mapping too."""
    if isinstance(given, (str, bytes, bool)):
        return isinstance(taken, (int, float)) and not isinstance(taken, bool)
    if isinstance(given, list) and isinstance(taken, (list, tuple)):
        return any(map(_became_a_number, given, taken))
    if isinstance(given, dict) and isinstance(taken, dict):
        return any(_became_a_number(value, taken.get(name)) for name, value in given.items())
    return False


def _plain(value: Any) -> Any:
    """Turn numpy's numbers and arrays, and paths, into plain values."""
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _readable(
    errors: list[ErrorDetails], model: type[TaskParameters], where: str, given: Mapping[str, Any]
) -> InputError:
    """Return the error to fix first: a misspelt name is often the reason why another one is missing."""
    error = next((each for each in errors if each["type"] == "extra_forbidden"), errors[0])
    fields = model.model_fields
    name = str(error["loc"][0]) if error["loc"] else ""
    inner = error.get("ctx", {}).get("error")
    if isinstance(inner, InputError):
        return inner
    if error["type"] == "extra_forbidden":
        return UnknownNameError(f"parameter of {where}", name, fields)
    if error["type"] == "missing" and name not in given:
        return ParameterError(name, None, f"{where} needs {allowed(fields[name])}")
    if name in fields:
        return ParameterError(name, given.get(name, error["input"]), f"must be {allowed(fields[name])}")
    return InputError(f"{where}: {error['msg']}")


def allowed(info: FieldInfo) -> str:
    """Say in words which values a parameter takes, such as ``a number > 0 and ≤ 100 fs (time of one step)``."""
    words = _words(info.annotation, info.metadata, unit_of_field(info))
    if words == _ANYTHING and info.description:
        return info.description
    return f"{words} ({info.description})" if info.description else words


def unit_of_field(info: FieldInfo) -> str:
    """Return the unit of a parameter; "" if it has none."""
    extra = info.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


_KINDS = {bool: "True or False", int: "an integer", float: "a number", str: "a text"}
#: What is said of a parameter that only its meaning describes, such as a structure.
_ANYTHING = "a value"
_PLURALS = {
    "an integer": "integers",
    "a number": "numbers",
    "a text": "texts",
    "a list": "lists",
    "a mapping": "mappings",
}
_SIGNS = {Gt: (">", "gt"), Ge: ("≥", "ge"), Lt: ("<", "lt"), Le: ("≤", "le")}


def _words(annotation: Any, metadata: list[Any], unit: str) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [limit for each in arguments[1:] for limit in getattr(each, "metadata", [each])]
        return _words(arguments[0], [*metadata, *inner], unit)
    if origin in (Union, UnionType):
        return " or ".join(_words(each, metadata, unit) for each in arguments if each is not NoneType)
    if origin is Literal:
        return "one of " + ", ".join(repr(each) for each in arguments)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "one of " + ", ".join(repr(each.value) for each in annotation)
    if annotation in (int, float):
        return " ".join(part for part in (_KINDS[annotation], _limits(metadata), unit) if part)
    if annotation in _KINDS:
        return _KINDS[annotation]
    kind = origin or annotation
    if kind in (tuple, list):
        return _words_of_list(arguments, unit)
    if kind is dict:
        return f"a mapping of names to {_several(arguments[1], unit) if arguments else 'values'}"
    return _ANYTHING


def _words_of_list(arguments: tuple[Any, ...], unit: str) -> str:
    """Say what a list has, such as ``3 integers ≥ 1`` or ``a list of texts``."""
    if not arguments:
        return "a list"
    if len(arguments) == 1 or arguments[1:] == (...,):
        return f"a list of {_several(arguments[0], unit)}"
    members = [_words(each, [], unit) for each in arguments]
    if len(set(members)) > 1:
        return f"{len(members)} values: {', '.join(members)}"
    return f"{len(members)} {_several(arguments[0], unit)}"


def _several(annotation: Any, unit: str) -> str:
    """Say of which kind the members of a list or a mapping are."""
    words = _words(annotation, [], unit)
    if words[0].isdigit():
        return f"lists of {words}"
    if words.startswith("one of"):
        return f"values, each {words}"
    one = next((one for one in _PLURALS if words.startswith(one)), None)
    return "values" if one is None or " or " in words else words.replace(one, _PLURALS[one], 1)


def _limits(metadata: list[Any]) -> str:
    limits = [
        f"{sign} {_number(getattr(limit, attribute))}"
        for limit in metadata
        for kind, (sign, attribute) in _SIGNS.items()
        if isinstance(limit, kind)
    ]
    return " and ".join(limits)


def _number(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"
