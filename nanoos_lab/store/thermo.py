"""Reading the thermo of a job, over all its attempts, without loading it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.units import Column
from nanoos_lab.store.growing import open_table
from nanoos_lab.store.segments import HEAD, THERMO

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True, eq=False)
class ThermoTable:
    """Scalar time series of a run."""

    #: Columns of `values`, with their units.
    columns: tuple[Column, ...]
    #: Step of each row, shape (rows,), as float64.
    steps: np.ndarray[Any, Any]
    #: Values, shape (rows, columns); a memory map if one attempt wrote them all.
    values: np.ndarray[Any, Any]


def read_thermo(directories: Path | Sequence[Path]) -> ThermoTable | None:
    """Read the thermo of one attempt, or of the attempts of a job in their order.

    Where attempts overlap, the later one counts from its first step on.

    Parameters
    ----------
    directories
        The directories of the attempts.

    Returns
    -------
    ThermoTable or None
        None if no attempt has begun to write; a table with no rows if one has, but without a sample.
    """
    wanted = [directories] if isinstance(directories, Path) else list(directories)
    parts = [part for part in map(_read, wanted) if part is not None]
    filled = [part for part in parts if len(part.steps)]
    if len(filled) < 2:
        return filled[0] if filled else parts[-1] if parts else None
    return _join(filled)


def kept(firsts: Sequence[float], steps: Sequence[np.ndarray[Any, Any]]) -> list[int]:
    """Return how many rows of each segment count: those before the first step of every later segment.

    Parameters
    ----------
    firsts
        First step of each segment.
    steps
        Steps of each segment, ascending.
    """
    limits = [min(firsts[number + 1 :], default=np.inf) for number in range(len(firsts))]
    return [int(np.searchsorted(some, limit)) for some, limit in zip(steps, limits, strict=True)]


def _read(directory: Path) -> ThermoTable | None:
    try:
        head = json.loads((directory / HEAD).read_bytes())
        rows = open_table(directory / THERMO)
    except FileNotFoundError:
        return None
    columns = tuple(Column(name=item["name"], unit=item["unit"]) for item in head["columns"])
    # All fields are float64, so the rows are one matrix.
    matrix = rows.view("<f8").reshape(len(rows), len(columns) + 1)
    return ThermoTable(columns=columns, steps=matrix[:, 0], values=matrix[:, 1:])


def _join(parts: Sequence[ThermoTable]) -> ThermoTable:
    """Put the rows that count behind each other; a column that an attempt does not have is NaN there."""
    columns = parts[-1].columns
    counts = kept([part.steps[0] for part in parts], [part.steps for part in parts])
    blocks = []
    for part, count in zip(parts, counts, strict=True):
        places = {column.name: place for place, column in enumerate(part.columns)}
        block = np.full((count, len(columns)), np.nan)
        for place, column in enumerate(columns):
            if column.name in places:
                block[:, place] = part.values[:count, places[column.name]]
        blocks.append(block)
    steps = np.concatenate([part.steps[:count] for part, count in zip(parts, counts, strict=True)])
    return ThermoTable(columns=columns, steps=steps, values=np.concatenate(blocks))
