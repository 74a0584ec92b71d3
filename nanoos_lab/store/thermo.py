"""Reading the thermo of a job, over all its attempts, without loading it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.units import Column
from nanoos_lab.store.growing import open_table
from nanoos_lab.store.segments import HEAD, THERMO, SegmentPlace, places

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, eq=False)
class ThermoTable:
    """Scalar time series of a run."""

    #: Columns of `values`, with their units.
    columns: tuple[Column, ...]
    #: Step of each row, shape (rows,), as float64.
    steps: np.ndarray[Any, Any]
    #: Values, shape (rows, columns); a memory map if one attempt wrote them all.
    values: np.ndarray[Any, Any]


def read_thermo(directories: Path | Sequence[Path | SegmentPlace]) -> ThermoTable | None:
    """Read the thermo of one attempt, or of the attempts of a job in their order.

    Where attempts overlap, the later one counts from its first step on.

    Parameters
    ----------
    directories
        The directories of the attempts, and what of them counts.

    Returns
    -------
    ThermoTable or None
        None if no attempt has begun to write; a table with no rows if one has, but without a sample.
    """
    found = [(place, _read(place.directory)) for place in places(directories)]
    parts = [(place.last_step, part) for place, part in found if part is not None]
    if not parts:
        return None
    counts = kept([last for last, _ in parts], [part.steps for _, part in parts])
    filled = [_cut(part, count) for (_, part), count in zip(parts, counts, strict=True) if count]
    if len(filled) < 2:
        return filled[0] if filled else _cut(parts[-1][1], 0)
    return _join(filled)


def kept(lasts: Sequence[int | None], steps: Sequence[np.ndarray[Any, Any]]) -> list[int]:
    """Return how many rows of each segment count: up to its last step, and before the first of every later segment.

    Parameters
    ----------
    lasts
        Last step of each segment that counts; None for all.
    steps
        Steps of each segment, ascending.
    """
    counts: list[int] = []
    limit = np.inf
    for last, some in zip(reversed(lasts), reversed(steps), strict=True):
        count = int(np.searchsorted(some, limit))
        if last is not None:
            count = min(count, int(np.searchsorted(some, last, side="right")))
        if count:
            limit = some[0]
        counts.insert(0, count)
    return counts


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


def _cut(table: ThermoTable, count: int) -> ThermoTable:
    return ThermoTable(columns=table.columns, steps=table.steps[:count], values=table.values[:count])


def _join(parts: Sequence[ThermoTable]) -> ThermoTable:
    """Put the rows behind each other; a column that an attempt does not have is NaN there."""
    columns = parts[-1].columns
    blocks = []
    for part in parts:
        places_of = {column.name: place for place, column in enumerate(part.columns)}
        block = np.full((len(part.steps), len(columns)), np.nan)
        for place, column in enumerate(columns):
            if column.name in places_of:
                block[:, place] = part.values[:, places_of[column.name]]
        blocks.append(block)
    steps = np.concatenate([part.steps for part in parts])
    return ThermoTable(columns=columns, steps=steps, values=np.concatenate(blocks))
