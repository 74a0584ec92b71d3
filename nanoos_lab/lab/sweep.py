"""All combinations of some values, as drafts of jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import InputError, ParameterError
from nanoos_lab.core.parameters import unit_of_field
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.job import Job

if TYPE_CHECKING:
    from ase import Atoms

#: Longest name of a job.
_LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The drafts of all combinations, and what sets them apart."""

    #: One draft for each combination; the last name varies fastest.
    drafts: tuple[Draft, ...]
    #: Name of what was varied → its value for each draft.
    columns: Mapping[str, list[Any]]


def sweep(structure: Atoms | Job | None, over: Mapping[str, Any], fixed: Mapping[str, Any]) -> Sweep:
    """Return the drafts of all combinations.

    Parameters
    ----------
    structure
        The structure of all; None if it is varied.
    over
        What `Lab.submit` takes, by name → its values; structures may have names.
    fixed
        What else `Lab.submit` takes.

    Raises
    ------
    InputError
        If there is nothing to vary, or something is both fixed and varied.
    """
    if not isinstance(over, Mapping) or not over:
        raise ParameterError("over", over, "a mapping of names to their values, such as {'temperature': [300, 600]}")
    for name in over:
        if name in fixed or (name == "structure" and structure is not None):
            raise InputError(f"{name} is both fixed and in over=")
    base = {"structure": _frozen(structure), **fixed}
    points = [dict(zip(over, point, strict=True)) for point in product(*(_axis(*one) for one in over.items()))]
    drafts, labels = [], []
    for point in points:
        shown = {name: label for name, (label, _) in point.items()}
        values = {**base, **{name: value for name, (_, value) in point.items()}}
        drafts.append(Draft(**{**values, "name": _name(values, shown)}))
        labels.append(shown)
    return Sweep(drafts=tuple(drafts), columns={name: [one[name] for one in labels] for name in over})


def units_of(draft: Draft, names: Iterable[str]) -> dict[str, str]:
    """Return the units of those parameters of a checked draft that have one."""
    fields = registry.calculation(draft.engine, draft.task).parameters.model_fields
    return {name: unit for name in names if name in fields and (unit := unit_of_field(fields[name]))}


def _axis(name: str, values: Any) -> list[tuple[Any, Any]]:
    """Return the values of one name, each with what a table shows for it."""
    if isinstance(values, Mapping) and name == "structure":
        found = list(values.items())
    elif isinstance(values, (str, Mapping)) or not isinstance(values, Iterable):
        raise ParameterError(f"over[{name!r}]", values, "a list of values")
    elif name == "structure":
        found = list(enumerate(values))
    else:
        plain = [value.item() if hasattr(value, "item") else value for value in values]
        found = [(value, value) for value in plain]
    if not found:
        raise ParameterError(f"over[{name!r}]", values, "at least one value")
    return [(label, _frozen(value)) for label, value in found] if name == "structure" else found


def _frozen(structure: Any) -> Any:
    """Freeze a structure once for all drafts that have it."""
    return structure if structure is None or isinstance(structure, (Job, Draft)) else Structure.encode(structure)


def _name(values: Mapping[str, Any], shown: Mapping[str, Any]) -> str:
    """Say in the name of a job what sets it apart from the others."""
    structure = values["structure"]
    formula = structure.formula if isinstance(structure, Structure) else ""
    head = values.get("name") or f"{formula} {values.get('task', '')}".strip()
    tail = ", ".join(f"{name}={_short(value)}" for name, value in shown.items() if name not in ("name", "task"))
    return "".join(letter for letter in f"{head} {tail}".strip() if letter.isprintable())[:_LONGEST]


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
