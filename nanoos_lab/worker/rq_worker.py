"""The RQ worker of nanoos_lab: engines preloaded, foreign messages refused, a lost server waited for.

``RQ_WORKER_CLASS=nanoos_lab.worker.rq_worker.NanoosWorker rq worker high_priority simulations default``
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import socket
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from redis.backoff import AbstractBackoff, NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Worker
from rq.executions import Execution
from rq.utils import ensure_job_list, get_connection_from_queues

from nanoos_lab.broker.connection import ANSWER_TIMEOUT, sibling
from nanoos_lab.broker.messages import Message, PlainSerializer
from nanoos_lab.broker.queue import CORES_FIELD, GPUS_FIELD, PriorityQueue
from nanoos_lab.core.request import QUEUES
from nanoos_lab.engines import program, registry
from nanoos_lab.engines.base import LoadsModel
from nanoos_lab.worker import devices, provenance
from nanoos_lab.worker.keeper import WorkerKeeper
from nanoos_lab.worker.processes import adopt_orphans, end_children
from nanoos_lab.worker.reins import Reins
from nanoos_lab.worker.run import retire
from nanoos_lab.worker.services import prepare
from nanoos_lab.worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis
    from redis.client import Pipeline
    from rq import Queue
    from rq.job import Job

log = logging.getLogger("rq.worker")

#: Seconds between two signs of life of an idle worker of ours, about.
WORKER_TTL = 60
#: Seconds between two signs of life of a busy one.
MONITORING_INTERVAL = 15
#: Seconds between two rounds of RQ's own housekeeping.
MAINTENANCE_INTERVAL = 60
#: Longest pause in seconds between two tries to reach a lost server.
LONGEST_PAUSE = 5.0
#: Seconds that it may well take to load what the runs of an engine begin with, from a slow file system.
LOADING = 600
#: Jobs that one work-horse serves.
JOBS = 100
#: What runs import besides their engine.
_LIBRARIES = ("numpy", "ase", "psutil")


def preload() -> None:
    """Import what runs need, once, before the first fork: no thread, no MPI, no device, no store handle.

    Raises
    ------
    SettingsError
        If the settings are incomplete: no job could run.
    """
    for name in _LIBRARIES:
        import_module(name)
    Settings.load()
    _prepare("store and broker", prepare)
    for name in registry.names():
        _prepare(f"engine {name}", partial(_preload_engine, name))
    for name in registry.added_names():
        _prepare(f"task {name}", partial(registry.added_task, name))
    _prepare("digests of programs", provenance.prepare)
    _keep()


def _with_model(name: str) -> LoadsModel | None:
    """Return the engine of that name if it has something to load; a job fails by itself if there is no such engine."""
    with suppress(Exception):
        engine = registry.get(name)
        if isinstance(engine, LoadsModel):
            return engine
    return None


def _load(name: str, engine: LoadsModel) -> bool:
    """Load what all runs of an engine begin with; return whether there was anything."""
    try:
        if not engine.load():
            return False
    except Exception as error:
        # A job fails by itself, with the whole story.
        log.info("engine %s is not loaded: %s", name, error)
        return False
    _keep()
    return True


def _keep() -> None:
    # What is loaded now stays for good: the collector of a fork need not touch, and so copy, its pages.
    gc.collect()
    gc.freeze()


def _preload_engine(name: str) -> None:
    registry.get(name).preload()


def _prepare(what: str, action: Callable[[], object]) -> None:
    """Do what only saves time later: a job that cannot do without it fails by itself, with the whole story."""
    try:
        action()
    except Exception as error:
        log.info("%s is not preloaded: %s", what, error)


def work(connection: Redis, *, queues: Sequence[str] = QUEUES, burst: bool = False) -> None:
    """Serve the queues until told to stop.

    Parameters
    ----------
    connection
        The broker.
    queues
        Which queues, the first first.
    burst
        End when they are empty.
    """
    worker = NanoosWorker(
        queues,
        connection=connection,
        worker_ttl=WORKER_TTL,
        job_monitoring_interval=MONITORING_INTERVAL,
        maintenance_interval=MAINTENANCE_INTERVAL,
    )
    worker.work(burst=burst, logging_level=None)


class _Queue(PriorityQueue):
    """The worker's view of a queue.

    Overrides of RQ, each over a public method:

    - `dequeue_any` gets past an entry that is no text, which RQ takes for the end of the worker.
    - `move_dependents_to_ready` moves none: our messages have none, and those that somebody planted stay put.
    """

    @classmethod
    def dequeue_any(cls, *args: Any, **kwargs: Any) -> tuple[Job, Queue] | None:
        while True:
            try:
                return super().dequeue_any(*args, **kwargs)
            except UnicodeDecodeError as error:
                log.warning("refused an entry of a queue that is no text: %s", error)

    def move_dependents_to_ready(self, *_args: Any, **_kwargs: Any) -> dict[str, list[str]]:
        return {}


class _Patience(AbstractBackoff):
    """Pauses that double up to a limit, told in the log now and then."""

    def reset(self) -> None:
        pass

    def compute(self, failures: int) -> float:
        pause = float(min(0.1 * 2 ** min(failures, 10), LONGEST_PAUSE))
        if failures & (failures - 1) == 0:
            log.warning("the server is away, try %d; waiting", failures)
        return pause


class NanoosWorker(Worker):
    """RQ's forking worker for our messages.

    Overrides of RQ, each over a public method:

    - `__init__` fixes message, queue and serializer classes, whatever ``rq worker`` passes, and takes a
      connection of its own that a work-horse opens in fewer round trips.
    - `bootstrap` preloads before the first fork, and makes every command wait for a server that went away: RQ
      ends the worker at the first command that fails outside of its dequeue loop.
    - `execute_job` ends a refused message as failed, without a work-horse.
    - `fork_work_horse`, `perform_job` and `wait_for_horse` let a work-horse serve one job after the other, forked
      when what the job's engine begins with has been loaded.
    - `heartbeat` sends its three commands in one round trip, and sees to the keeper.
    - `clean_registries` survives what others wrote into RQ's registries.
    - `teardown` does not wait for a server that is away.
    """

    def __init__(
        self, queues: str | Queue | Sequence[str] | Sequence[Queue], name: str | None = None, **options: Any
    ) -> None:
        connection: Any = options.pop("connection", None) or get_connection_from_queues(queues)
        if options.get("prepare_for_work", True):
            connection = sibling(connection, timeout=ANSWER_TIMEOUT)
            name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        options |= {"job_class": Message, "queue_class": _Queue, "serializer": PlainSerializer}
        names = [one if isinstance(one, str) else one.name for one in ensure_job_list(queues)]
        self._reins: Reins | None = None
        self._keeper: WorkerKeeper | None = None
        #: Engines that were asked to load what their runs begin with.
        self._loaded = set[str]()
        super().__init__(names, name, connection=connection, **options)

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """Preload, then register with RQ."""
        preload()
        settings = Settings.load()
        if not settings.embedded:
            # The embedded lab has one for all its workers.
            self._keeper = WorkerKeeper(settings)
            self._keeper.see_to()
        self.connection.set_retry(Retry(_Patience(), retries=-1))
        super().bootstrap(*args, **kwargs)

    def serialize(self) -> dict[str, Any]:
        """Return what is registered of the worker: with what its runs may have."""
        own = {CORES_FIELD: ",".join(map(str, program.nodes())), GPUS_FIELD: len(devices.visible(Settings.load()))}
        return {**super().serialize(), **own}

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a message of ours in a work-horse; refuse any other."""
        if isinstance(job, Message) and job.refusal is None:
            super().execute_job(job, queue)
        else:
            self._refuse(job, queue)

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        """Give the job to the work-horse that waits for one, or fork one."""
        *_, execution = self.executions
        # One that waits has nothing of what is loaded now.
        anew = self._load_for(job, self.executions[execution])
        if self._reins is not None:
            self._horse_pid = self._reins.pid
            if not anew and self._reins.give(job.id, queue.name, execution):
                return
            self._let_go()
            super().wait_for_horse()
        self._reins = Reins(JOBS)
        super().fork_work_horse(job, queue)
        self._reins.hold(self.horse_pid)

    def _load_for(self, job: Job, execution: Execution) -> bool:
        """Load what runs of a job's engine begin with, once; return whether there was anything."""
        # Nothing depends on what it says: a run of an engine that was not loaded loads it for itself.
        name = (job.description or "").partition(" ")[0]
        if name in self._loaded or name not in registry.names():
            return False
        self._loaded.add(name)
        if (engine := _with_model(name)) is None:
            return False
        # Nothing is said of it meanwhile.
        with self.connection.pipeline(transaction=False) as pipeline:
            super().heartbeat(LOADING, pipeline)
            execution.heartbeat(job.started_job_registry, LOADING, pipeline)
            pipeline.execute()
        return _load(name, engine)

    def perform_job(self, job: Job, queue: Queue, execution: Execution) -> bool:
        """Perform a job, in the work-horse, and then those that the worker gives; one that fails is the last."""
        reins = self._reins
        if reins is None:
            return super().perform_job(job, queue, execution)
        reins.take()
        adopt_orphans()
        try:
            done = super().perform_job(job, queue, execution)
            while done and (order := reins.next()) is not None:
                done = super().perform_job(*self._fetched(*order))
        finally:
            retire()
            end_children()
        return done

    def _fetched(self, job_id: str, queue_name: str, execution_id: str) -> tuple[Job, Queue, Execution]:
        execution = Execution.fetch(execution_id, job_id, self.connection)
        self.executions = {execution_id: execution}
        [queue] = [queue for queue in self.queues if queue.name == queue_name]
        return Message.fetch(job_id, self.connection), queue, execution

    def wait_for_horse(self) -> Any:
        """Wait until the work-horse is ready for another job, or has ended."""
        if self._reins is not None and self._reins.ready():
            return self.horse_pid, os.EX_OK, None
        self._let_go()
        return super().wait_for_horse()

    def _let_go(self) -> None:
        # In this order: the alarm may ring here, too.
        reins, self._reins = self._reins, None
        if reins is not None:
            reins.drop()

    def _refuse(self, job: Job, queue: Queue) -> None:
        text = job.description or "refused"
        self.log.warning("Worker %s: message %s %s", self.name, job.id, text)
        job.origin = queue.name
        self.handle_job_failure(job, queue, exc_string=text)
        queue.intermediate_queue.remove(job.id)

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Say that the worker is alive."""
        if self._keeper is not None and not self._is_horse:
            self._keeper.see_to()
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)
            return
        with self.connection.pipeline(transaction=False) as own:
            super().heartbeat(timeout, own)
            own.execute()

    def clean_registries(self) -> None:
        """Do RQ's housekeeping."""
        try:
            super().clean_registries()  # type: ignore[no-untyped-call]
        except RedisError:
            raise
        except Exception:
            self.log.exception("Worker %s: housekeeping met something unreadable", self.name)

    def teardown(self) -> None:
        """Sign off."""
        self.connection.set_retry(Retry(NoBackoff(), retries=0))
        try:
            super().teardown()  # type: ignore[no-untyped-call]
        except RedisError as error:
            self.log.warning("Worker %s: left without signing off: %s", self.name, error)
