"""Why two jobs are not the same calculation: what differs in what decides their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

    from nanoos_lab.core.request import FileRef, JobRequest
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.lab.job import Job

_Row = tuple[str, Any, Any, str]


def differences(first: JobRequest, second: JobRequest) -> Iterator[_Row]:
    """Yield what differs: its name, its value in both, and how far they are apart, where that can be said.

    Nothing is yielded if the keys are equal, and something if they are not.
    """
    for name in ("engine", "version", "task"):
        yield from _if_unequal(name, getattr(first, name), getattr(second, name))
    yield from _of_mappings("parameters", first.parameters, second.parameters)
    for role in sorted(first.files.keys() | second.files.keys()):
        one, other = first.files.get(role), second.files.get(role)
        if one != other:
            yield f"files.{role}", _file(one), _file(other), ""
    yield from _of_origins(first, second)


def _file(ref: FileRef | None) -> str | None:
    return None if ref is None else f"{ref.name} ({ref.sha256})"


def frame(first: Job, second: Job) -> pd.DataFrame:
    """Return the differences of two jobs as a table; see `nanoos_lab.diff`."""
    import pandas as pd

    rows = list(differences(first.request, second.request))
    index = pd.Index([row[0] for row in rows], name="what", dtype="str")
    return pd.DataFrame([row[1:] for row in rows], index, [first.id, second.id, "difference"], dtype=object)


def _of_origins(first: JobRequest, second: JobRequest) -> Iterator[_Row]:
    """Compare the structures, or whose final structures they are."""
    if first.structure_of is None and second.structure_of is None:
        if first.structure is None or second.structure is None:
            yield from _if_unequal("structure", _named(first.structure), _named(second.structure))
        else:
            yield from _of_structures(first.structure, second.structure)
        return
    one, other = (request.structure_of.key if request.structure_of else None for request in (first, second))
    if one != other:
        yield "structure", _origin(first), _origin(second), ""


def _origin(request: JobRequest) -> str | None:
    of = request.structure_of
    return f"final structure of job {of.job_id}" if of else _named(request.structure)


def _named(structure: Structure | None) -> str | None:
    return None if structure is None else f"{structure.formula} ({structure.digest})"


def _of_structures(first: Structure, second: Structure) -> Iterator[_Row]:
    yield from _if_unequal("structure.formula", first.formula, second.formula)
    yield from _if_unequal("structure.atoms", first.natoms, second.natoms)
    yield from _if_unequal("structure.pbc", first.pbc, second.pbc)
    yield from _if_unequal("structure.constraints", first.constraints, second.constraints)
    mine, others = first.arrays(), second.arrays()
    for name in sorted(mine.keys() | others.keys()):
        yield from _of_arrays(f"structure.{name}", mine.get(name), others.get(name))


def _of_arrays(name: str, first: np.ndarray[Any, Any] | None, second: np.ndarray[Any, Any] | None) -> Iterator[_Row]:
    if first is not None and second is not None and np.array_equal(first, second):
        return
    unit = unit_of(name.rpartition(".")[2])
    said = ""
    if first is not None and second is not None and first.shape == second.shape:
        apart = np.abs(first - second)
        rows = int((apart.reshape(len(apart), -1) > 0).any(axis=1).sum())
        said = f"{rows} of {len(apart)} rows, by at most {apart.max():.6g} {unit}".rstrip()
    yield name, _shown(first), _shown(second), said


def _shown(array: np.ndarray[Any, Any] | None) -> Any:
    if array is None:
        return None
    return array.tolist() if array.size <= 9 else f"array of shape {array.shape}"


def _of_mappings(where: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[_Row]:
    for name in sorted(first.keys() | second.keys()):
        # A value of None and no value are different content.
        if name not in first or name not in second:
            yield f"{where}.{name}", first.get(name), second.get(name), "only one of them has it"
        else:
            yield from _if_unequal(f"{where}.{name}", first[name], second[name])


def _if_unequal(name: str, first: Any, second: Any) -> Iterator[_Row]:
    # As in the key, where 1, 1.0 and True are different words.
    if (type(first), first) == (type(second), second):
        return
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (first, second))
    yield name, first, second, f"{second - first:.6g}" if numbers else ""
