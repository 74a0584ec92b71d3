"""Records and tables → pandas; units in ``attrs["units"]``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from nanoos_lab.core.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nanoos_lab.core.record import JobRecord, Steering
    from nanoos_lab.store.thermo import ThermoTable

#: Columns of the table of jobs, in order, after the index.
JOB_COLUMNS = (
    "name",
    "formula",
    "atoms",
    "engine",
    "task",
    "status",
    "reason",
    "progress",
    "queue",
    "priority",
    "attempt",
    "worker",
    "created",
    "started",
    "ended",
)
_TIMES = ("created", "started", "ended")


def jobs_frame(records: Sequence[JobRecord], scalars: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row per job, indexed by id, with the scalar results asked for as further columns."""
    columns: dict[str, Any] = {name: [getattr(record, name) for record in records] for name in JOB_COLUMNS}
    for name in ("status", "reason"):
        columns[name] = [None if value is None else str(value) for value in columns[name]]
    for name in _TIMES:
        columns[name] = pd.to_datetime(pd.Series(columns[name], dtype=object), utc=True)
    for name in scalars:
        columns[name] = [record.scalars.get(name) for record in records]
    frame = pd.DataFrame(columns)
    frame.index = pd.Index([record.id for record in records], name="id", dtype="str")
    frame.attrs["units"] = {"progress": "1", **{name: unit_of(name) for name in scalars}}
    return frame


def results_frame(
    records: Sequence[JobRecord], columns: Mapping[str, Sequence[Any]], units: Mapping[str, str]
) -> pd.DataFrame:
    """Return one row per job, indexed by id.

    Parameters
    ----------
    records
        The jobs.
    columns
        What sets them apart: name → one value per job.
    units
        Units of those that are physical.
    """
    scalars = list(dict.fromkeys(name for record in records for name in record.scalars))
    # A result of the same name as what was varied, such as a step count, keeps its own column.
    names = {name: name if name not in (*columns, "status") else f"{name}_result" for name in scalars}
    values: dict[str, Any] = {name: list(given) for name, given in columns.items()}
    values["status"] = [str(record.status) for record in records]
    values |= {names[name]: [record.scalars.get(name) for record in records] for name in scalars}
    index = pd.Index([record.id for record in records], name="id", dtype="str")
    frame = pd.DataFrame(values, index=index)
    frame.attrs["units"] = {**units, **{names[name]: unit_of(name) for name in scalars}}
    return frame


def steered_frame(
    ids: Sequence[str], columns: Mapping[str, Sequence[Any]], units: Mapping[str, str], numbers: Mapping[str, int]
) -> pd.DataFrame:
    """Return one row per job, indexed by id: what sets it apart, and the number of its steering, missing for none."""
    values: dict[str, Any] = {name: list(given) for name, given in columns.items()}
    values["steering"] = pd.array([numbers.get(job_id) for job_id in ids], dtype="Int64")
    frame = pd.DataFrame(values, index=pd.Index(list(ids), name="id", dtype="str"))
    frame.attrs["units"] = dict(units)
    return frame


def thermo_frame(table: ThermoTable | None) -> pd.DataFrame:
    """Return one row per sample, indexed by step; the values stay on disk until they are used."""
    if table is None:
        empty = pd.DataFrame(index=pd.Index([], name="step", dtype="int64"))
        empty.attrs["units"] = {}
        return empty
    frame = pd.DataFrame(
        table.values,
        index=pd.Index(table.steps.astype("int64"), name="step"),
        columns=[column.name for column in table.columns],
        copy=False,
    )
    frame.attrs["units"] = {column.name: column.unit for column in table.columns}
    return frame


def steerable_frame(parameters: Sequence[tuple[str, Any, str]]) -> pd.DataFrame:
    """Return one row per parameter that can be steered, indexed by its name, from names, values and units."""
    names = pd.Index([name for name, _, _ in parameters], name="parameter", dtype=object)
    values = pd.Series([value for _, value, _ in parameters], index=names, dtype=object)
    units = pd.Series([unit for _, _, unit in parameters], index=names, dtype="str")
    return pd.DataFrame({"value": values, "unit": units})


def steerings_frame(steerings: Sequence[Steering]) -> pd.DataFrame:
    """Return one row per steering, indexed by its number; `step` is missing where none was applied."""
    frame = pd.DataFrame(
        {
            "step": pd.array([one.step for one in steerings], dtype="Int64"),
            "changes": pd.Series([dict(one.changes) for one in steerings], dtype=object),
            "attempt": pd.array([one.attempt for one in steerings], dtype="Int64"),
            "asked": pd.to_datetime(pd.Series([one.asked for one in steerings], dtype=object), utc=True),
            "who": pd.Series([one.who for one in steerings], dtype="str"),
        }
    )
    frame.index = pd.Index([one.number for one in steerings], name="number", dtype="int64")
    return frame
