"""How long a cell waits for `submit` of 2 000 atoms: warm, in bulk, and with the embedded lab still to start."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from ase.build import bulk

from nanoos_lab.lab import local
from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker.settings import Settings
from tests.benchmarks.figures import Figure, latencies, middle
from tests.benchmarks.place import place

#: Copper of 2 000 atoms, shaken so that every structure is stored anew.
ATOMS = bulk("Cu", cubic=True) * (5, 10, 10)


def run(quick: bool) -> list[Figure]:
    """Submit jobs that no worker takes, and some that a lab must first be started for."""
    count = 50 if quick else 300
    with place() as here:
        _submit(here.lab, 0)
        one_by_one = [_timed_submit(here.lab, seed, pause=0.02) for seed in range(1, count)]
        begin = time.perf_counter()
        for seed in range(count, 2 * count):
            _submit(here.lab, seed)
        bulk_seconds = time.perf_counter() - begin
    cold = [_cold() for _ in range(1 if quick else 5)]
    return [
        *latencies("one by one, warm", one_by_one, p50=10.0),
        Figure(name=f"{count} in a loop", value=count / bulk_seconds, unit="jobs/s", count=count),
        middle("cold: first submit starts server and workers", cold, "s", at_most=2.0),
    ]


def _timed_submit(lab: Lab, seed: int, *, pause: float) -> float:
    time.sleep(pause)
    begin = time.perf_counter()
    _submit(lab, seed)
    return time.perf_counter() - begin


def _submit(lab: Lab, seed: int) -> None:
    atoms = ATOMS.copy()
    atoms.rattle(0.1, seed=seed)
    lab.submit(atoms, engine="mock", task="static")


def _cold() -> float:
    with tempfile.TemporaryDirectory(prefix="nanoos-bench-") as home:
        lab = Lab(Settings.load(home=Path(home)))
        try:
            begin = time.perf_counter()
            lab.submit(ATOMS, engine="mock", task="static")
            return time.perf_counter() - begin
        finally:
            lab.close()
            local.stop(lab.settings, now=True)
