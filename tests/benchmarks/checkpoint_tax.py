"""What its checkpoints cost a run of LAMMPS: CPU time of one, against the time between two as a run chooses it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.benchmarks.figures import Figure, middle, ratio
from tests.benchmarks.live_tax import Meter, argon, submit
from tests.benchmarks.place import OURS, place

if TYPE_CHECKING:
    from ase import Atoms

    from nanoos_lab.lab.lab import Lab

#: Unit cells along an edge → steps, and turns.
FULL = {10: (6_000, 10), 20: (900, 10), 40: (180, 10)}
QUICK = {10: (4_000, 2), 20: (600, 1)}
#: Seconds between checkpoints of the runs that are compared: many, so that each can be told from noise.
DENSE = 1.0
#: Queues of the runs with dense checkpoints, with none, and with those of the default; each has a worker.
WITH, WITHOUT, DEFAULT = "high_priority", "simulations", "default"


def run(quick: bool) -> list[Figure]:
    """Run with dense checkpoints and without, in turns."""
    figures: list[Figure] = []
    with place() as here:
        here.worker(OURS, WITH, NANOOS_CHECKPOINT=str(DENSE))
        here.worker(OURS, WITHOUT, NANOOS_CHECKPOINT="0")
        here.worker(OURS, DEFAULT)
        for cells, (steps, turns) in (QUICK if quick else FULL).items():
            atoms = argon(cells)
            pairs = [(_run(here.lab, atoms, steps, WITH), _run(here.lab, atoms, steps, WITHOUT)) for _ in range(turns)]
            figures += _figures(f"{len(atoms)} atoms", pairs, _interval(here.lab, atoms, steps))
    return figures


@dataclass(frozen=True)
class _Run:
    """What was measured of a run."""

    #: CPU seconds of work-horse and engine.
    cpu: float
    steps: int
    checkpoints: int


def _figures(size: str, pairs: list[tuple[_Run, _Run]], interval: float) -> list[Figure]:
    costs = [(dense.cpu - dense.steps * plain.cpu / plain.steps) / dense.checkpoints for dense, plain in pairs]
    return [
        middle(f"{size}: checkpoints in a run", [dense.checkpoints for dense, _ in pairs], "1"),
        middle(f"{size}: CPU of a checkpoint", [1e3 * cost for cost in costs], "ms"),
        Figure(name=f"{size}: between checkpoints, by default", value=interval, unit="s"),
        ratio(
            f"{size}: with checkpoints, by default / without",
            [interval + cost for cost in costs],
            [interval] * len(costs),
            at_most=1.01,
        ),
    ]


def _interval(lab: Lab, atoms: Atoms, steps: int) -> float:
    """Return the seconds between checkpoints that a run chooses by default."""
    job = submit(lab, atoms, steps=steps, every=steps, queue=DEFAULT)
    job.result(600)
    chosen = re.search(r"Checkpoints fall on every \d+ steps, about (\S+) s apart", job.log)
    assert chosen is not None, job.log
    return float(chosen.group(1))


def _run(lab: Lab, atoms: Atoms, steps: int, queue: str) -> _Run:
    """Run, and measure what is neither its beginning nor its end."""
    first, last = steps // 5, 4 * steps // 5
    job = submit(lab, atoms, steps=steps, every=steps, queue=queue)
    meter = Meter(lab, job.id, first, last)
    subscription = lab.watch.subscribe(job.id, meter.hear)
    job.result(600)
    subscription.close()
    grid = job.provenance.get("checkpoint_steps")
    return _Run(meter.cpu, last - first, last // grid - first // grid if grid else 0)
