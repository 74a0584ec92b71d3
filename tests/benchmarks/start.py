"""How soon after `submit` an engine runs: on our worker, and on a plain ``rq worker``, which imports in the child."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.benchmarks.figures import Figure, latencies, ratio
from tests.benchmarks.place import OURS, RQ, copper, place

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab

#: Engine → the parameters of a run that is over at once.
RUNS: dict[str, dict[str, Any]] = {
    "ase": {"calculator": "emt"},
    "lammps": {"potential": "Cu_u3.eam"},
}
#: What the attempt writes when its engine has set up the run and begins.
FIRST_LINE = "head.json"


def run(quick: bool) -> list[Figure]:
    """Submit to both workers in turns."""
    figures: list[Figure] = []
    with place() as here:
        here.worker(RQ, "default")
        here.worker(OURS, "simulations")
        for engine, parameters in RUNS.items():
            plain, ours = [], []
            for _ in range(3 if quick else 15):
                plain.append(_seconds_to_start(here.lab, "default", engine, parameters))
                ours.append(_seconds_to_start(here.lab, "simulations", engine, parameters))
            figures += [
                *latencies(f"{engine}, plain rq worker", plain),
                *latencies(f"{engine}, our worker", ours),
                ratio(f"{engine}, sooner by", plain, ours, at_least=5.0),
            ]
    return figures


def _seconds_to_start(lab: Lab, queue: str, engine: str, parameters: dict[str, Any]) -> float:
    """Return the time from the call of `submit` to the moment at which the run begins."""
    begin = time.time()
    job = lab.submit(copper(2), engine=engine, task="md", steps=1, every=1, queue=queue, cache=False, **parameters)
    job.result(60)
    head = lab.services.artifacts.attempt_dir(job.id, 1) / FIRST_LINE
    return head.stat().st_mtime - begin
