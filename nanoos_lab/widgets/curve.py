"""Read a job's durable thermo into a curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoos_lab.core.units import Column
from nanoos_lab.widgets.series import CAPACITY, Series

if TYPE_CHECKING:
    import pandas as pd


def curve_of(thermo: pd.DataFrame) -> Series:
    """Thin `Job.thermo` into a curve.

    Parameters
    ----------
    thermo
        One row per sample, indexed by step, with ``attrs["units"]``.
    """
    units = thermo.attrs.get("units", {})
    columns = [Column(name=str(name), unit=units.get(name, "")) for name in thermo.columns]
    stride = max(1, len(thermo) // (4 * CAPACITY))
    if stride > 1:
        kept = [*range(0, len(thermo) - 1, stride), len(thermo) - 1]
        thermo = thermo.iloc[kept]
    values = thermo.to_numpy(dtype=float)
    rows = [(float(step), *row) for step, row in zip(thermo.index, values.tolist(), strict=True)]
    return Series.of(columns, rows)
