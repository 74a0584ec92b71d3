"""What our own processes cost while an engine's program runs: work-horse and engine process, in shares of a core."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
from ase.build import bulk

from tests.benchmarks.clock import until
from tests.benchmarks.figures import Figure, middle
from tests.benchmarks.place import OURS, place
from tests.processes import engine_of, horse_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nanoos_lab.lab.lab import Lab

#: Eight atoms of silicon out of order, which take pw.x some seconds for each step of their relaxation.
RELAX: dict[str, Any] = {
    "engine": "espresso",
    "task": "relax",
    "pseudos": {"Si": "Si.pz-vbc.UPF"},
    "ecutwfc": 16.0,
    "kpts": (2, 2, 2),
    "fmax": 0.01,
    "cache": False,
}
#: The most that they may cost.
SHARE = 1.0


def run(quick: bool) -> list[Figure]:
    """Relax silicon some times; watch it as a card does."""
    with place() as here:
        here.worker(OURS, "simulations")
        shares = [_share(here.lab, seed) for seed in range(1, 2 if quick else 4)]
    return [middle("beside pw.x, watched, part of a core", shares, "%", at_most=SHARE)]


def _share(lab: Lab, seed: int) -> float:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.05, seed=seed)
    job = lab.submit(atoms, **RELAX)
    until(lambda: job.running() and len(job.thermo) > 0)
    ours = [horse_of(job), engine_of(job)]
    subscription = lab.watch.subscribe(job.id, lambda change: None)
    begin, before = time.perf_counter(), _cpu(ours)
    share = 0.0
    while not job.done():
        with suppress(psutil.NoSuchProcess):
            share = 100.0 * (_cpu(ours) - before) / (time.perf_counter() - begin)
        time.sleep(0.2)
    subscription.close()
    job.result(1)
    return share


def _cpu(processes: Sequence[psutil.Process]) -> float:
    """Return the CPU seconds of processes, without those of the processes that they have waited for."""
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)
