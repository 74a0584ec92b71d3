"""`lab.jobs` on a store of many jobs, against reading the same columns with `pandas.read_sql`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pandas as pd
from sqlalchemy import create_engine, text

from nanoos_lab.core.request import JobRequest, Submission
from nanoos_lab.core.structures import Structure
from tests.benchmarks.figures import Figure, middle, ratio
from tests.benchmarks.place import copper, place

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoos_lab.lab.lab import Lab

#: As most jobs of an old store are: they have run and have results.
AGED = """
UPDATE jobs SET status = 'succeeded', worker = 'node-7', step = 100, total = 100, started = created, ended = created,
scalars = '{"energy": -1.25, "fmax": 0.01, "steps": 100}'
"""
#: The columns of our table that lie in the database as they are.
BARE = """
SELECT id, name, formula, atoms, engine, task, status, reason, step, total, queue, priority, attempt, worker, created,
started, ended, scalars FROM jobs ORDER BY id DESC
"""


def run(quick: bool) -> list[Figure]:
    """Read both ways in turns."""
    rows = 5_000 if quick else 100_000
    with place() as here:
        _fill(here.lab, rows)
        engine = create_engine(here.lab.settings.store_url)

        def read_bare() -> pd.DataFrame:
            with engine.connect() as connection:
                return pd.read_sql(text(BARE), connection, index_col="id", parse_dates=["created", "started", "ended"])

        whole, bare, newest = [], [], []
        for _ in range(2 if quick else 7):
            whole.append(_timed(lambda: here.lab.jobs(limit=None, results=["energy"])))
            bare.append(_timed(read_bare))
            newest.append(_timed(here.lab.jobs))
        engine.dispose()
    return [
        middle(f"jobs(limit=None), {rows} rows", whole, "s"),
        middle("pandas.read_sql of the same columns", bare, "s"),
        ratio("jobs(limit=None) / read_sql", whole, bare),
        middle(f"jobs(), 1000 of {rows} rows", [1e3 * value for value in newest], "ms"),
    ]


def _fill(lab: Lab, rows: int) -> None:
    request = JobRequest(structure=Structure.encode(copper()), engine="mock", task="static", parameters={})
    for begin in range(0, rows, 5_000):
        count = min(5_000, rows - begin)
        lab.services.store.add([Submission(request=request, name=f"job {begin + index}") for index in range(count)])
    engine = create_engine(lab.settings.store_url)
    with engine.begin() as connection:
        connection.execute(text(AGED))
    engine.dispose()


def _timed(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin
