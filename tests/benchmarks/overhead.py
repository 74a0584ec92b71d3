"""What a job costs beside its simulation: a no-op on our worker against a no-op on RQ's own forking worker."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rq import Queue

from nanoos_lab.broker.connection import connect
from nanoos_lab.core.request import JobRequest, Submission
from nanoos_lab.core.structures import Structure
from nanoos_lab.store.records import delivery
from tests.benchmarks.clock import cpu_of_tree, until
from tests.benchmarks.figures import Figure, latencies, middle, ratio
from tests.benchmarks.place import OURS, RQ, Place, copper, place

if TYPE_CHECKING:
    from collections.abc import Callable

#: Jobs of one round of the throughput measurement.
BATCH = 25


def run(quick: bool) -> list[Figure]:
    """Give both workers batches, then single jobs, in turns."""
    with place() as here:
        bare = _Side(here, here.worker(RQ, "bare"), lambda count: _put_bare(here, count))
        ours = _Side(here, here.worker(OURS, "simulations"), lambda count: _put_ours(here, count))
        for side in (bare, ours):
            side.batch(5)
        batches = [(bare.batch(BATCH), ours.batch(BATCH)) for _ in range(3 if quick else 16)]
        singles = [(bare.batch(1), ours.batch(1)) for _ in range(10 if quick else 100)]
    walls = [[pair[side].wall / BATCH for pair in batches] for side in (0, 1)]
    cpus = [[pair[side].cpu / BATCH for pair in batches] for side in (0, 1)]
    waits = [[pair[side].wall for pair in singles] for side in (0, 1)]
    return [
        middle("bare RQ, a job of a full queue", [1e3 * value for value in walls[0]], "ms"),
        middle("ours, a job of a full queue", [1e3 * value for value in walls[1]], "ms"),
        ratio("time per job, ours / bare RQ", walls[1], walls[0], at_most=2.0),
        middle("bare RQ, CPU per job", [1e3 * value for value in cpus[0]], "ms"),
        middle("ours, CPU per job", [1e3 * value for value in cpus[1]], "ms"),
        ratio("CPU per job, ours / bare RQ", cpus[1], cpus[0]),
        *latencies("bare RQ, idle worker, put to finished", waits[0]),
        *latencies("ours, idle worker, put to finished", waits[1]),
        ratio("idle worker, ours / bare RQ", waits[1], waits[0], at_most=2.0),
    ]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a batch of jobs took."""

    #: Seconds from the moment it was offered until the last job had finished.
    wall: float
    #: CPU seconds of the worker and its work-horses.
    cpu: float


@dataclass(frozen=True)
class _Side:
    """One worker and how to offer it a batch."""

    here: Place
    pid: int
    #: Prepares so many jobs; returns what offers them, and the RQ id of the last.
    prepare: Callable[[int], tuple[Callable[[], Any], str]]

    def batch(self, count: int) -> Cost:
        offer, last = self.prepare(count)
        queue = self.here.lab.services.connection
        before, begin = cpu_of_tree(self.pid), time.perf_counter()
        offer()
        end = until(lambda: queue.hget(f"rq:job:{last}", "status") == b"finished")
        until(lambda: all(worker.state == "idle" for worker in self.here.lab.services.queue.workers()))
        return Cost(wall=end - begin, cpu=cpu_of_tree(self.pid) - before)


def _put_bare(here: Place, count: int) -> tuple[Callable[[], Any], str]:
    queue = Queue("bare", connection=connect(here.redis_url))
    ids = [f"{time.time_ns()}-{index}" for index in range(count)]
    jobs = [Queue.prepare_data("os.getpid", job_id=name) for name in ids]
    return lambda: queue.enqueue_many(jobs), ids[-1]


def _put_ours(here: Place, count: int) -> tuple[Callable[[], Any], str]:
    request = JobRequest(structure=Structure.encode(copper()), engine="mock", task="static", parameters={})
    records = here.lab.services.store.add([Submission(request=request, name="no-op")] * count)
    deliveries = [delivery(record) for record in records]
    return lambda: here.lab.services.queue.put(deliveries), deliveries[-1].message_id
