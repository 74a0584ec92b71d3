"""`lab.jobs` on a store of many jobs, against reading the same columns with `pandas.read_sql`."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from sqlalchemy import create_engine, text

from nanoos_lab.core.request import JobRequest, Submission
from nanoos_lab.core.structures import Structure
from tests.benchmarks.figures import Figure, middle, ratio
from tests.benchmarks.place import copper, place
from tests.fixtures.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

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
    """Read both ways in turns, from SQLite, and from PostgreSQL where its server is installed."""
    rows, turns = (5_000, 2) if quick else (100_000, 7)
    with place() as here:
        figures = _measure("SQLite", here.lab, rows, turns)
    if any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        with _postgres() as url, place(url) as here:
            figures += _measure("PostgreSQL", here.lab, rows, turns)
    return figures


def _measure(name: str, lab: Lab, rows: int, turns: int) -> list[Figure]:
    engine = create_engine(lab.settings.store_url.replace("postgresql:", "postgresql+psycopg:"))
    _fill(lab, engine, rows)

    def read_bare() -> pd.DataFrame:
        with engine.connect() as connection:
            return pd.read_sql(text(BARE), connection, index_col="id", parse_dates=["created", "started", "ended"])

    whole, bare, newest = [], [], []
    for _ in range(turns):
        whole.append(_timed(lambda: lab.jobs(limit=None, results=["energy"])))
        bare.append(_timed(read_bare))
        newest.append(_timed(lab.jobs))
    engine.dispose()
    return [
        middle(f"{name}: jobs(limit=None), {rows} rows", whole, "s"),
        middle(f"{name}: pandas.read_sql of the same columns", bare, "s"),
        ratio(f"{name}: jobs(limit=None) / read_sql", whole, bare),
        middle(f"{name}: jobs(), 1000 of {rows} rows", [1e3 * value for value in newest], "ms"),
    ]


@contextmanager
def _postgres() -> Iterator[str]:
    directory = Path(tempfile.mkdtemp(prefix="nanoos-bench-"))
    server = PostgresServer(directory)
    try:
        server.create()
        server.start()
        yield server.new_database()
        server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _fill(lab: Lab, engine: Engine, rows: int) -> None:
    request = JobRequest(structure=Structure.encode(copper()), engine="mock", task="static", parameters={})
    for begin in range(0, rows, 5_000):
        count = min(5_000, rows - begin)
        lab.services.store.add([Submission(request=request, name=f"job {begin + index}") for index in range(count)])
    with engine.begin() as connection:
        connection.execute(text(AGED))


def _timed(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin
