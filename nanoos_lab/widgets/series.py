"""A thermo curve of bounded length: what the plot of a card holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan
from typing import TYPE_CHECKING, NamedTuple, Self

from nanoos_lab.core.units import Column, unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Most rows that a curve keeps.
CAPACITY = 500
#: Most columns that a curve takes in.
COLUMNS = 100

Row = tuple[float, ...]


class Splice(NamedTuple):
    """How one curve becomes another: drop the rows from `start` on, then append `rows`."""

    start: int
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Series:
    """Rows of thermo in the order of their steps, thinned to at most `CAPACITY`.

    Rows keep a distance in steps that doubles whenever the curve is full, so that a dense live tail does not push
    out a sparse history. The newest row is always kept, and it is moved rather than lost.
    """

    #: Columns after the step.
    columns: tuple[Column, ...] = ()
    #: Rows: step, then one value per column, in the columns' units; NaN where a row has none.
    rows: tuple[Row, ...] = ()
    #: Least distance in steps between two rows.
    spacing: float = 0.0

    @classmethod
    def of(cls, columns: Sequence[Column], rows: Sequence[Row]) -> Self:
        """Thin a whole table, such as the durable thermo of a job, into a curve."""
        stride = -(-len(rows) // CAPACITY) if rows else 1
        kept = list(rows[::stride])
        if rows and kept[-1] is not rows[-1]:
            kept = [*kept[: CAPACITY - 1], rows[-1]]
        span = kept[-1][0] - kept[0][0] if kept else 0.0
        spacing = span / CAPACITY if stride > 1 else 0.0
        return cls(columns=tuple(columns), rows=tuple(kept), spacing=spacing)

    def add(self, step: int, values: Mapping[str, float]) -> Series:
        """Append a row; rows at or after its step are of an attempt that was given up, and go."""
        series = self._with_columns(values)
        row = (float(step), *(float(values.get(column.name, nan)) for column in series.columns))
        rows = list(series.rows)
        while rows and rows[-1][0] >= row[0]:
            rows.pop()
        if len(rows) > 1 and rows[-1][0] - rows[-2][0] < series.spacing:
            rows.pop()
        return replace(series, rows=(*rows, row))._thinned()

    def _with_columns(self, values: Mapping[str, float]) -> Series:
        known = {column.name for column in self.columns} | {"step"}
        new = tuple(Column(name=name, unit=unit_of(name)) for name in values if name not in known)
        new = new[: max(0, COLUMNS - len(self.columns))]
        if not new:
            return self
        padding = (nan,) * len(new)
        return replace(self, columns=self.columns + new, rows=tuple(row + padding for row in self.rows))

    def _thinned(self) -> Series:
        if len(self.rows) <= CAPACITY:
            return self
        spacing = 2.0 * (self.rows[-1][0] - self.rows[0][0]) / CAPACITY
        kept = [self.rows[0]]
        for row in self.rows[1:-1]:
            if row[0] - kept[-1][0] >= spacing:
                kept.append(row)
        return replace(self, rows=(*kept, self.rows[-1]), spacing=spacing)


def splice(old: Series, new: Series) -> Splice:
    """Return how `old` becomes `new`; rows are compared by identity, so it is quick."""
    if old.columns != new.columns:
        return Splice(0, new.rows)
    start = 0
    for before, after in zip(old.rows, new.rows, strict=False):
        if before is not after:
            break
        start += 1
    return Splice(start, new.rows[start:])
