"""What store and queue bear: submits, signs of life of many runs, and a message into a long queue."""

from __future__ import annotations

import multiprocessing
import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from nanoos_lab.core.request import PRIORITIES, Delivery, JobRequest, Submission
from nanoos_lab.core.structures import Structure
from nanoos_lab.store.jobs import Store
from nanoos_lab.store.records import Holder, delivery
from tests.benchmarks.cluster import places
from tests.benchmarks.figures import Figure, latencies, middle
from tests.benchmarks.place import copper

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Barrier

    from nanoos_lab.worker.services import Services

#: Processes that write at the same time, and running jobs whose share of the store is told.
WRITERS, RUNNING = 8, 100
#: Messages that go to the queue in one transaction.
BATCH = 1_000
#: The same, into a long queue: Redis needs longer than the client's 3 s for ten times as many.
CROWDED_BATCH = 100


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    #: Jobs submitted one by one.
    singles: int
    #: Jobs submitted at once, and how often.
    bulk: int
    turns: int
    #: Seconds of writing.
    seconds: float
    #: Messages that wait already.
    waiting: int


FULL = Size(singles=1_000, bulk=5_000, turns=5, seconds=10.0, waiting=100_000)
QUICK = Size(singles=50, bulk=500, turns=2, seconds=1.0, waiting=2_000)


def run(quick: bool) -> list[Figure]:
    """Load SQLite and Valkey, then PostgreSQL and Redis."""
    size = QUICK if quick else FULL
    figures: list[Figure] = []
    for name, opened in places().items():
        with opened() as here:
            services = here.lab.services
            figures += _submit(name, services, size)
            figures += _beat(name, services, size.seconds)
            figures += _crowd(name, services, size.waiting)
    return figures


def _submit(name: str, services: Services, size: Size) -> list[Figure]:
    singles = _submissions(size.singles)
    one_by_one = _timed(lambda: [_submit_all(services, [one]) for one in singles])
    offered, marked = [], []
    for _ in range(size.turns):
        submissions = _submissions(size.bulk)
        begin = time.perf_counter()
        deliveries = _submit_all(services, submissions)
        offered.append(size.bulk / (time.perf_counter() - begin))
        services.store.mark_sent(deliveries)
        marked.append(size.bulk / (time.perf_counter() - begin))
    rate = size.singles / one_by_one
    return [
        Figure(name=f"{name}: submit one by one", value=rate, unit="jobs/s", count=size.singles),
        middle(f"{name}: submit {size.bulk} at once", offered, "jobs/s", at_least=2_000.0),
        middle(f"{name}: submit {size.bulk} at once, noted as sent too", marked, "jobs/s"),
    ]


def _submissions(count: int) -> list[Submission]:
    structure = Structure.encode(copper())
    requests = [
        JobRequest(structure=structure, engine="mock", task="md", parameters={"seed": seed}) for seed in range(count)
    ]
    return [Submission(request=request, name=f"job {seed}") for seed, request in enumerate(requests)]


def _submit_all(services: Services, submissions: Sequence[Submission]) -> list[Delivery]:
    deliveries = [delivery(record) for record in services.store.add(submissions)]
    _put(services, deliveries)
    return deliveries


def _put(services: Services, deliveries: Sequence[Delivery]) -> None:
    for begin in range(0, len(deliveries), BATCH):
        services.queue.put(deliveries[begin : begin + BATCH])


def _beat(name: str, services: Services, seconds: float) -> list[Figure]:
    jobs = [record.id for record in services.store.add(_submissions(WRITERS))]
    for job in jobs:
        assert services.store.claim(job, 1, Holder(worker="bench", host="here", pid=1))
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, ProcessPoolExecutor(WRITERS, mp_context=spawn) as pool:
        together, url = manager.Barrier(WRITERS), services.settings.store_url
        writers = [pool.submit(_write, url, job, together, seconds) for job in jobs]
        waits = [wait for writer in writers for wait in writer.result()]
    rate = len(waits) / seconds
    share = 100 * RUNNING / rate
    return [
        Figure(name=f"{name}: beats of {WRITERS} processes", value=rate, unit="1/s", count=len(waits)),
        *latencies(f"{name}: a beat beside the others", waits),
        Figure(name=f"{name}: longest beat", value=1e3 * max(waits), unit="ms", count=len(waits)),
        Figure(name=f"{name}: {RUNNING} jobs that beat every second", value=share, unit="% of that", at_most=5.0),
    ]


def _write(url: str, job_id: str, together: Barrier, seconds: float) -> list[float]:
    """Beat as fast as it goes; return how long each took, in s."""
    store = Store(url)
    waits: list[float] = []

    def beat() -> None:
        assert store.beat(job_id, 1, step=len(waits), total=None).current

    beat()
    together.wait(60)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        waits.append(_timed(beat))
    return waits


def _crowd(name: str, services: Services, waiting: int) -> list[Figure]:
    # The highest first, so that each message of the crowd only goes to the end.
    _put(services, sorted(_messages("default", waiting), key=lambda message: -message.priority))
    empty, crowded = (
        [_timed(lambda message=message: services.queue.put([message])) for message in _messages(queue, 200)]
        for queue in ("high_priority", "default")
    )
    more = _messages("default", CROWDED_BATCH)
    batch = _timed(lambda: services.queue.put(more))
    return [
        *latencies(f"{name}: put a message into an empty queue", empty),
        *latencies(f"{name}: put a message before or behind {waiting}", crowded),
        Figure(
            name=f"{name}: the same, {CROWDED_BATCH} at once",
            value=1e3 * batch / CROWDED_BATCH,
            unit="ms/message",
            count=CROWDED_BATCH,
        ),
    ]


def _messages(queue: str, count: int) -> list[Delivery]:
    """Return messages of mixed priorities, about jobs that do not exist."""
    priorities = random.Random(count).choices(PRIORITIES, k=count)
    return [Delivery(job_id=uuid4().hex, attempt=1, queue=queue, priority=priority) for priority in priorities]


def _timed(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin
