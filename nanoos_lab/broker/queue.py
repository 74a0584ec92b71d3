"""Delivery of jobs to workers through RQ: the queue carries an id and an attempt, never a payload."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from time import time
from typing import TYPE_CHECKING, Any

from rq import Queue, Worker, get_current_job
from rq.executions import WORKER_EXECUTIONS_KEY_TEMPLATE
from rq.job import Job
from rq.results import Result
from rq.worker_registration import REDIS_WORKER_KEYS

from nanoos_lab.broker import live
from nanoos_lab.broker.connection import broker_errors
from nanoos_lab.broker.messages import FUNCTION, Message
from nanoos_lab.core.request import QUEUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redis import Redis
    from redis.client import Pipeline

    from nanoos_lab.core.request import Delivery

#: Field of RQ's job hash with the priority inside the queue; RQ and plain workers leave it alone.
PRIORITY_FIELD = "nanoos_priority"
#: Fields of RQ's worker hash with the cores and the graphics processors that its runs may have; ours say.
CORES_FIELD, GPUS_FIELD = "nanoos_cores", "nanoos_gpus"
#: Priority of a message that does not say.
NORMAL_PRIORITY = 5
#: Seconds for which RQ, and so rq-dashboard, shows a finished or failed message. The store knows for ever.
SHOWN = 7 * 24 * 3600

#: Messages that are put in one transaction, which the server works off before it does anything else: in a queue of 10⁵
#: messages the place of each takes it a millisecond.
BATCH = 250

#: Put a message behind those of its own or a higher priority: KEYS queue; ARGV prefix of job hashes, id,
#: field, normal priority. The list is sorted, so the place is found by halving; RQ pops from the left.
_INSERT = """
local function priority(id)
  return tonumber(redis.call('HGET', ARGV[1] .. id, ARGV[3])) or tonumber(ARGV[4])
end
local mine = priority(ARGV[2])
local low, high = 0, redis.call('LLEN', KEYS[1])
if high == 0 or priority(redis.call('LINDEX', KEYS[1], -1)) >= mine then
  return redis.call('RPUSH', KEYS[1], ARGV[2])
end
while low < high do
  local middle = math.floor((low + high) / 2)
  if priority(redis.call('LINDEX', KEYS[1], middle)) >= mine then low = middle + 1 else high = middle end
end
if low == 0 then return redis.call('LPUSH', KEYS[1], ARGV[2]) end
return redis.call('LINSERT', KEYS[1], 'BEFORE', redis.call('LINDEX', KEYS[1], low), ARGV[2])
"""
#: Forget a message that no worker has taken: KEYS queue, job hash, results; ARGV id.
_DROP = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
return redis.call('DEL', KEYS[2], KEYS[3])
"""


class PriorityQueue(Queue):
    """RQ's queue, with the place of a new message decided by its priority.

    `push_job_id` alone is overridden: everything that RQ enqueues passes through it, and workers of any class
    pop from RQ's own list.
    """

    def push_job_id(self, job_id: str, pipeline: Pipeline | None = None, at_front: bool = False) -> None:
        """Insert the message behind those of its own or a higher priority, in one atomic step."""
        if at_front:
            super().push_job_id(job_id, pipeline, at_front)
            return
        client: Any = self.connection if pipeline is None else pipeline
        prefix = self.job_class.redis_job_namespace_prefix
        # The text of the script rather than its hash: it survives SCRIPT FLUSH and saves a round trip.
        client.eval(_INSERT, 1, self.key, prefix, job_id, PRIORITY_FIELD, NORMAL_PRIORITY)


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """A worker that is registered with RQ."""

    #: Its name.
    name: str
    #: The queues that it serves, in its order.
    queues: tuple[str, ...]
    #: "started", "idle", "busy" or "suspended".
    state: str
    #: Its host.
    host: str
    #: Its process id there.
    pid: int
    #: When it last said that it is alive.
    heartbeat: datetime
    #: Messages that it works on.
    messages: tuple[str, ...] = ()
    #: Cores of each node, and graphics processors, that its runs may have; None for a worker that does not say, as
    #: plain ones do not.
    cores: tuple[int, ...] | None = None
    gpus: int | None = None


class JobQueue:
    """Offers attempts at jobs to workers."""

    def __init__(self, connection: Redis) -> None:
        self._redis = connection
        self._queues = {name: PriorityQueue(name, connection=connection) for name in QUEUES}

    def ping(self) -> None:
        """Do nothing if the server answers.

        Raises
        ------
        BrokerError
            If it does not.
        """
        with broker_errors(self._redis):
            self._redis.ping()

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Offer attempts to the workers, a few hundred in one transaction.

        Raises
        ------
        BrokerError
            If the server does not answer; some may be offered then. To offer them again does no harm.
        """
        for start in range(0, len(deliveries), BATCH):
            self._put(deliveries[start : start + BATCH])

    def _put(self, deliveries: Sequence[Delivery]) -> None:
        with broker_errors(self._redis), self._redis.pipeline() as pipeline:
            for name, group in _by_queue(deliveries):
                messages = list({delivery.message_id: delivery for delivery in group}.values())
                for message in messages:
                    pipeline.hset(Job.key_for(message.message_id), PRIORITY_FIELD, str(message.priority))
                self._queues[name].enqueue_many([_message(one) for one in messages], pipeline=pipeline)
            pipeline.execute()

    def drop(self, deliveries: Sequence[Delivery]) -> None:
        """Take back attempts that no worker has taken yet; leave the others alone.

        Raises
        ------
        BrokerError
            If the server does not answer.
        """
        with broker_errors(self._redis), self._redis.pipeline() as pipeline:
            for one in deliveries:
                key = self._queues[one.queue].key
                name = one.message_id
                pipeline.eval(_DROP, 3, key, Job.key_for(name), _results_key(name), name)
            pipeline.execute()

    def held(self, deliveries: Sequence[Delivery]) -> set[str]:
        """Return the ids of those messages that still wait in RQ or are being worked on.

        Raises
        ------
        BrokerError
            If the server does not answer.
        """
        wanted = {delivery.message_id for delivery in deliveries}
        found: set[str] = set()
        with broker_errors(self._redis):
            for name, _ in _by_queue(deliveries):
                found |= wanted & self._known(self._queues[name])
        return found

    def depths(self) -> dict[str, int]:
        """Return how many messages wait in each queue, in the order in which workers serve them.

        Raises
        ------
        BrokerError
            If the server does not answer.
        """
        with broker_errors(self._redis), self._redis.pipeline(transaction=False) as pipeline:
            for queue in self._queues.values():
                pipeline.llen(queue.key)
            return dict(zip(self._queues, pipeline.execute(), strict=True))

    def workers(self) -> list[WorkerState]:
        """Return the workers that are registered and, as far as can be seen from here, alive; by name.

        Raises
        ------
        BrokerError
            If the server does not answer.
        """
        with broker_errors(self._redis), self._redis.pipeline(transaction=False) as pipeline:
            registered: Any = self._redis.smembers(REDIS_WORKER_KEYS)
            keys = sorted(_text(key) for key in registered)
            for key in keys:
                pipeline.hgetall(key)
                pipeline.smembers(WORKER_EXECUTIONS_KEY_TEMPLATE.format(_worker_name(key)))
            answers = pipeline.execute()
        states = [_worker_state(key, answers[2 * index], answers[2 * index + 1]) for index, key in enumerate(keys)]
        return [state for state in states if state is not None and _alive(state)]

    def order(self, job_id: str, name: str) -> None:
        """Tell the work-horse of a job, by an order such as "cancel", to ask the store at once what is asked of it.

        Raises
        ------
        BrokerError
            If the server does not answer.
        """
        live.order(self._redis, job_id, name)

    def _known(self, queue: Queue) -> set[str]:
        """Return every message of a queue: waiting, popped, or with a worker that has a fresh heartbeat."""
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.lrange(queue.key, 0, -1)
            pipeline.lrange(queue.intermediate_queue_key, 0, -1)
            pipeline.zrangebyscore(queue.started_job_registry.key, time(), "+inf")
            waiting, popped, started = pipeline.execute()
        running = {_executed(entry) for entry in started}
        return running | {_text(name) for name in (*waiting, *popped)}


def current_worker() -> str | None:
    """Return the name of the RQ worker whose work-horse this process is, or None."""
    job = get_current_job()
    return job.worker_name if job is not None else None


def in_plain_worker() -> bool:
    """Say whether this process is the work-horse of an RQ worker that is not of our class."""
    job = get_current_job()
    return job is not None and not isinstance(job, Message)


def _message(delivery: Delivery) -> Any:
    return Queue.prepare_data(
        FUNCTION,
        args=(delivery.job_id, delivery.attempt),
        timeout=-1,
        result_ttl=SHOWN,
        failure_ttl=SHOWN,
        description=delivery.description or delivery.message_id,
        job_id=delivery.message_id,
    )


def _results_key(message_id: str) -> str:
    key: str = Result.get_key(message_id)  # type: ignore[no-untyped-call]
    return key


def _by_queue(deliveries: Iterable[Delivery]) -> Iterable[tuple[str, Iterable[Delivery]]]:
    def queue(delivery: Delivery) -> str:
        return delivery.queue

    return groupby(sorted(deliveries, key=queue), key=queue)


def _worker_name(key: str) -> str:
    return key.removeprefix(Worker.redis_worker_namespace_prefix)


def _worker_state(key: str, fields: Mapping[bytes, bytes], executions: Iterable[bytes]) -> WorkerState | None:
    """Return what a worker registered; None for one that signed off, and for what no worker has written."""
    values = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
    # RQ keeps the hash of a worker that signed off for a minute.
    if "death" in values:
        return None
    try:
        return WorkerState(
            name=_worker_name(key),
            queues=tuple(values["queues"].split(",")),
            state=values.get("state", "started"),
            host=values["hostname"],
            pid=int(values["pid"]),
            heartbeat=datetime.fromisoformat(values["last_heartbeat"]).astimezone(UTC),
            messages=tuple(sorted(_executed(entry) for entry in executions)),
            cores=tuple(map(int, values[CORES_FIELD].split(","))) if CORES_FIELD in values else None,
            gpus=int(values[GPUS_FIELD]) if GPUS_FIELD in values else None,
        )
    except (KeyError, ValueError, OverflowError):
        return None


def _text(data: bytes) -> str:
    """Decode a key or entry; one that is no text is nobody's of ours, but must not stand in the way of the others."""
    return data.decode(errors="replace")


def _executed(entry: bytes) -> str:
    """Return the message that an entry ``<message>:<execution>`` of RQ's is about."""
    return _text(entry).partition(":")[0]


def _alive(worker: WorkerState) -> bool:
    """Say whether a worker of this host has a process; of another host, believe what it registered."""
    if worker.host != socket.gethostname():
        return True
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        # A process of somebody else, or a number that is none.
        return True
    return True
