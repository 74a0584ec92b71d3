"""How soon, with the default settings, a cancel has ended a run, and a lost worker or message is made up for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psutil

from tests.benchmarks.clock import until
from tests.benchmarks.figures import Figure, quantile
from tests.benchmarks.place import OURS, copper, place
from tests.processes import engine_of, horse_of, kill_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoos_lab.lab.job import Job
    from tests.benchmarks.place import Place

#: A run that lasts until it is ended.
ENDLESS: dict[str, Any] = {"engine": "mock", "task": "md", "steps": 10_000, "every": 100, "duration": 600.0}


def run(quick: bool) -> list[Figure]:
    """Do each a few times."""
    repeats = 1 if quick else 5
    with place() as here:
        here.worker(OURS, "simulations")
        here.worker(OURS, "simulations")
        measures: list[tuple[str, float, Callable[[Place], float]]] = [
            ("cancel of a run that listens", 2.0, _listening),
            ("cancel of a run that does not, by force", 10.0, _deaf),
            ("lost worker, noticed", 30.0, _lost_worker),
            ("lost message, sent again and claimed", 10.0, _lost_message),
        ]
        # A worker ends only after its job.
        here.stack.callback(lambda: here.lab.cancel_many(here.lab.jobs(status="running").index))
        return [_figure(name, most, [measure(here) for _ in range(repeats)]) for name, most, measure in measures]


def _figure(name: str, at_most: float, seconds: list[float]) -> Figure:
    return Figure(name=f"{name}, longest", value=quantile(seconds, 1.0), unit="s", at_most=at_most, count=len(seconds))


def _listening(here: Place) -> float:
    return _cancelled(_running(here))


def _deaf(here: Place) -> float:
    job = _running(here, fail_at=100, fail_by="hang", duration=20.0)
    until(lambda: job.record.step >= 100)
    return _cancelled(job)


def _lost_worker(here: Place) -> float:
    """Kill a worker with all that it has started, as a host that goes down; wait until the job is offered again."""
    worker = here.worker(OURS, "simulations")
    job = _running(here, worker=worker, retries={"delay": 0})
    begin = _kill_all(worker)
    until(lambda: job.record.attempt > 1, timeout=120.0)
    seconds = time.perf_counter() - begin
    job.cancel()
    return seconds


def _lost_message(here: Place) -> float:
    """Lose the message of a job after it was sent; wait until a worker has the job all the same."""
    queue = here.lab.services.queue
    put, queue.put = queue.put, lambda deliveries: None  # type: ignore[method-assign]
    try:
        job = here.lab.submit(copper(), **ENDLESS)
    finally:
        queue.put = put  # type: ignore[method-assign]
    begin = time.perf_counter()
    until(job.running, timeout=120.0)
    seconds = time.perf_counter() - begin
    _cancelled(job)
    return seconds


def _running(here: Place, *, worker: int | None = None, **options: Any) -> Job:
    """Return a job that runs; on a worker of one's choice, for which others are passed over."""
    passed: list[Job] = []
    while True:
        job = here.lab.submit(copper(), **{**ENDLESS, **options})
        until(lambda job=job: job.running() and job.record.step > 0)
        if worker is None or psutil.Process(worker) in horse_of(job).parents():
            for one in passed:
                one.cancel()
            return job
        passed.append(job)


def _cancelled(job: Job) -> float:
    """Cancel a job; return when no process of its engine is left and the store says so."""
    engine = engine_of(job)
    begin = time.perf_counter()
    job.cancel()
    until(lambda: job.cancelled() and not engine.is_running(), timeout=60.0)
    return time.perf_counter() - begin


def _kill_all(worker: int) -> float:
    begin = time.perf_counter()
    kill_tree(psutil.Process(worker))
    return begin
