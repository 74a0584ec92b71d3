"""Jobs per second of one worker: ours, `rq worker` as it is, RQ's SimpleWorker, and Celery where it is installed."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rq import Queue

from nanoos_lab.broker.connection import connect
from nanoos_lab.core.status import Status
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.prepare import prepare
from nanoos_lab.store.jobs import Store
from nanoos_lab.store.records import delivery
from tests.benchmarks.clock import cpu_of_tree, until
from tests.benchmarks.cluster import places
from tests.benchmarks.figures import Figure, middle, ratio
from tests.benchmarks.place import OURS, RQ, copper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.core.request import Submission
    from tests.benchmarks.place import Place

#: RQ's worker that runs its jobs in its own process.
SIMPLE = "rq.SimpleWorker"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A job, and functions that do the same for a worker that knows nothing of it."""

    #: What it is called.
    name: str
    #: Engine of our job, whose task is "static".
    engine: str
    #: Parameters of that task.
    parameters: dict[str, Any]
    #: The function that only does the work.
    bare: str
    #: The function that claims our job in the store, does the work, and records its end.
    stored: str
    #: Jobs of a batch: for workers that have everything loaded, for those that load it for every job, and bare ones.
    batches: tuple[int, int, int]
    #: How many times as many jobs a second our worker must run as a plain one, at least.
    target: float


KINDS = (
    Kind(
        name="no-op",
        engine="mock",
        parameters={},
        bare="os.getpid",
        stored="tests.benchmarks.peers.store_nothing",
        batches=(50, 2, 25),
        target=4.0,
    ),
    Kind(
        name="lammps",
        engine="lammps",
        parameters={"potential": "Cu_u3.eam"},
        bare="tests.benchmarks.peers.compute",
        stored="tests.benchmarks.peers.store_computed",
        batches=(25, 2, 2),
        target=10.0,
    ),
)


def run(quick: bool) -> list[Figure]:
    """Give every worker batches of each kind, in turns; first on SQLite and Valkey, then on PostgreSQL and Redis."""
    figures: list[Figure] = []
    for name, opened in places().items():
        with opened() as here:
            workers = _Workers.start(here)
            for kind in KINDS:
                figures += _compare(
                    f"{name}, {kind.name}", kind, workers.sides(kind, 5 if quick else 1), 1 if quick else 12
                )
            ended = here.lab.services.store.count()
            assert ended[Status.SUCCEEDED] == sum(ended.values()), ended
    return figures


def _compare(title: str, kind: Kind, sides: dict[str, _Side], turns: int) -> list[Figure]:
    for side in sides.values():
        side.batch()
    batches = [{name: side.batch() for name, side in sides.items()} for _ in range(turns)]
    rates = {name: [batch[name].rate for batch in batches] for name in sides}
    ours, *peers = rates
    return [
        *(middle(f"{title}: {name}", values, "jobs/s") for name, values in rates.items()),
        middle(f"{title}: CPU of ours", [1e3 * batch[ours].cpu for batch in batches], "ms/job"),
        ratio(f"{title}: ours / {peers[0]}", rates[ours], rates[peers[0]], at_least=kind.target),
        *(ratio(f"{title}: ours / {name}", rates[ours], rates[name]) for name in peers[1:]),
    ]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast a batch was done."""

    #: Jobs a second, from the moment the worker may begin until the last job has ended.
    rate: float
    #: CPU seconds of the worker and its children, a job.
    cpu: float


@dataclass(frozen=True)
class _Side:
    """A worker, and how its queue is filled."""

    pid: int
    #: Jobs of a batch.
    count: int
    #: Puts so many jobs into the queue.
    fill: Callable[[int], Callable[[], bool]]

    def batch(self) -> Pace:
        before = cpu_of_tree(self.pid)
        with _stopped(self.pid):
            over = self.fill(self.count)
            begin = time.perf_counter()
        end = until(over)
        return Pace(rate=self.count / (end - begin), cpu=(cpu_of_tree(self.pid) - before) / self.count)


@dataclass(frozen=True, kw_only=True)
class _Workers:
    """One worker of each sort in one place, by its process id."""

    here: Place
    ours: int
    plain: int
    simple: int
    #: None if Celery is not installed.
    celery: int | None

    @classmethod
    def start(cls, here: Place) -> _Workers:
        celery = here.stack.enter_context(_celery().worker(here)) if find_spec("celery") else None
        return cls(
            here=here,
            ours=here.worker(OURS, "simulations"),
            plain=here.worker(RQ, "default", "bare"),
            simple=here.worker(SIMPLE, "simple"),
            celery=celery,
        )

    def sides(self, kind: Kind, part: int) -> dict[str, _Side]:
        """Return ours first, then the plain worker that runs the same job, then the others; a part of each batch."""
        work = _Work(self.here, kind)
        warm, cold, bare = (max(count // part, 1) for count in kind.batches)
        sides = {
            "ours": _Side(self.ours, warm, lambda count: work.put(count, "simulations")),
            "rq worker, the same job": _Side(self.plain, cold, lambda count: work.put(count, "default")),
            "rq worker, bare function": _Side(self.plain, bare, work.put_bare),
            "SimpleWorker, two commits": _Side(self.simple, warm, work.put_stored),
        }
        if self.celery is not None:
            sides["Celery, two commits"] = _Side(self.celery, warm, work.send)
        return sides


@dataclass(frozen=True)
class _Work:
    """Fills the queues with jobs of a kind; each method returns what says whether the last one has ended."""

    here: Place
    kind: Kind

    def put(self, count: int, queue: str) -> Callable[[], bool]:
        """Offer jobs of ours."""
        deliveries = [delivery(record) for record in self._record(count, queue)]
        self.here.lab.services.queue.put(deliveries)
        return self._finished(deliveries[-1].message_id)

    def put_bare(self, count: int) -> Callable[[], bool]:
        """Enqueue the bare function."""
        return self._enqueue("bare", self.kind.bare, [()] * count)

    def put_stored(self, count: int) -> Callable[[], bool]:
        """Enqueue the function with the two commits."""
        return self._enqueue("simple", self.kind.stored, [(record.id,) for record in self._record(count)])

    def send(self, count: int) -> Callable[[], bool]:
        """Send the function with the two commits to Celery, which tells nobody about its end but the store."""
        records = self._record(count)
        _celery().send(self.here, self.kind.stored, [record.id for record in records])
        store = self.here.lab.services.store
        return lambda: store.get(records[-1].id).status.finished

    def _record(self, count: int, queue: str = "default") -> list[JobRecord]:
        records = self.here.lab.services.store.add([replace(self._submission(), queue=queue)] * count)
        # Whoever waits longer than usual for its turn must not be sent again, to a worker that is not meant.
        with closing(Store(self.here.lab.settings.store_url, resend=3600.0)) as patient:
            patient.mark_sent([delivery(record) for record in records])
        return records

    def _submission(self) -> Submission:
        # Each is to be run: an equal one would have its results at once.
        delivery = {"name": self.kind.name, "queue": "default", "cache": False}
        draft = Draft(copper(), engine=self.kind.engine, task="static", **delivery, **self.kind.parameters)
        return prepare(self.here.lab.services, draft)

    def _enqueue(self, name: str, function: str, arguments: Sequence[tuple[Any, ...]]) -> Callable[[], bool]:
        ids = [f"{time.time_ns()}-{index}" for index in range(len(arguments))]
        jobs = [Queue.prepare_data(function, args, job_id=one) for one, args in zip(ids, arguments, strict=True)]
        Queue(name, connection=connect(self.here.redis_url)).enqueue_many(jobs)
        return self._finished(ids[-1])

    def _finished(self, message_id: str) -> Callable[[], bool]:
        connection = self.here.lab.services.connection
        return lambda: connection.hget(f"rq:job:{message_id}", "status") == b"finished"


def _celery() -> Any:
    return import_module("tests.benchmarks.celery_app")


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """Keep a worker from taking jobs while its queue is being filled."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
