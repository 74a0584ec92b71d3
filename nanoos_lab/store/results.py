"""The results of an attempt on disk: JSON for what people read, one ``.npz`` for arrays and the final structure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.frames import Results
from nanoos_lab.core.structures import Structure
from nanoos_lab.store.files import replacing, write_durably

if TYPE_CHECKING:
    from pathlib import Path

RESULTS = "results.json"
ARRAYS = "results.npz"
#: Name of the final structure's bytes among the arrays; no property is called that.
_STRUCTURE = "/structure"


def write_results(directory: Path, results: Results) -> None:
    """Write the results of an attempt; they are there whole, once results.json is.

    Raises
    ------
    TypeError
        If a property is neither a plain value nor an array of numbers.
    """
    arrays = {name: np.asarray(value) for name, value in results.properties.items() if _is_array(value)}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"the result {name!r} is an array of {array.dtype}, not of numbers")
    plain = {name: _plain(value) for name, value in results.properties.items() if name not in arrays}
    text = {
        "version": 1,
        "properties": plain,
        "arrays": sorted(arrays),
        "structure": results.structure is not None,
        "provenance": dict(results.provenance),
        "stopped": results.stopped,
        "units": dict(results.units),
    }
    if results.structure is not None:
        arrays[_STRUCTURE] = np.frombuffer(results.structure.data, dtype=np.uint8)
    if arrays:
        with replacing(directory / ARRAYS) as file:
            np.savez(file, allow_pickle=False, **arrays)
    write_durably(directory / RESULTS, json.dumps(text, default=_plain, indent=1).encode())


def read_results(directory: Path) -> Results:
    """Read what `write_results` wrote.

    Raises
    ------
    FileNotFoundError
        If the attempt has no results (yet).
    """
    text = json.loads((directory / RESULTS).read_bytes())
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    if text["arrays"] or text["structure"]:
        with np.load(directory / ARRAYS, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    data = arrays.pop(_STRUCTURE, None)
    return Results(
        properties={**text["properties"], **arrays},
        structure=Structure(data.tobytes()) if data is not None else None,
        provenance=text["provenance"],
        stopped=text["stopped"],
        # Not there if it was written before they were.
        units=text.get("units", {}),
    )


def scalars(results: Results) -> dict[str, float | int | str | bool]:
    """Return the properties that fit into a table: numbers, words and truths."""
    plain = {name: _plain(value) for name, value in results.properties.items() if not _is_array(value)}
    return {name: value for name, value in plain.items() if isinstance(value, (bool, int, float, str))}


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, complex)) and not (isinstance(value, np.ndarray) and value.ndim == 0)


def _plain(value: Any) -> Any:
    """Turn numpy's scalars into Python's."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if hasattr(value, "items"):
        return dict(value)
    if value is None or isinstance(value, (bool, int, float, str, list, tuple)):
        return value
    raise TypeError(f"{type(value).__name__} is neither a plain value nor an array of numbers")
