"""What somebody plants in RQ's lists and registries hides no worker and stops no delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from nanoos_lab.broker.queue import JobQueue
from nanoos_lab.core.request import Delivery

if TYPE_CHECKING:
    from redis import Redis

NO_TEXT = b"\xff\xfe\x00"


def test_entries_that_are_no_text_hide_no_message(broker: Redis) -> None:
    queue = JobQueue(broker)
    ours = Delivery(job_id=uuid4().hex, attempt=1, queue="default", priority=5)
    queue.put([ours])
    broker.rpush("rq:queue:default", NO_TEXT)
    broker.lpush("rq:queue:default:intermediate", NO_TEXT)
    broker.zadd("rq:wip:default", {NO_TEXT: 1e300, b"a:b:c:d": 1e300})
    assert queue.held([ours]) == {ours.message_id}


def test_workers_that_are_none_hide_no_others(broker: Redis) -> None:
    fields = {"queues": "default", "hostname": "far away", "last_heartbeat": "2026-01-01T00:00:00Z", "pid": 1}
    broker.hset("rq:worker:good", mapping=fields)
    broker.hset("rq:worker:endless", mapping={**fields, "pid": "9" * 4000})
    broker.hset("rq:worker:never", mapping={**fields, "last_heartbeat": "soon"})
    keys = [b"rq:worker:good", b"rq:worker:endless", b"rq:worker:never", b"rq:worker:none", NO_TEXT]
    broker.sadd("rq:workers", *keys)
    names = [worker.name for worker in JobQueue(broker).workers()]
    assert "good" in names
    assert "never" not in names
