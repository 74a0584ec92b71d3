"""What somebody plants in the live channel stops no listener and no run, and nothing of it is executed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from ase.build import bulk

from nanoos_lab.broker.connection import connect
from nanoos_lab.broker.live import LiveReader, control_channel, events_key, frame_key, frames_key
from nanoos_lab.core.frames import Frame
from tests.waiting import until

if TYPE_CHECKING:
    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab
    from nanoos_lab.lab.watch import Change

DEEP = "[" * 100_000
GARBAGE = [
    b"",
    b"\xff\xfe\x00",
    DEEP.encode(),
    b'{"kind": ["status"]}',
    b'{"kind": "progress"}',
    b'{"kind": "progress", "step": "many", "rate": "<img src=x onerror=alert(1)>", "row": 7}',
    b'{"kind": "progress", "step": 1, "row": {"temperature": ["hot"]}}',
    b'{"kind": "progress", "step": 1e999, "total": 1' + b"0" * 4000 + b"}",
    b'{"kind": "log", "text": {"a": 1}}',
    b'{"kind": "frame"}',
    b'{"kind": "status", "status": "succeeded"}',
]
FRAMES = [
    b"",
    b"no newline",
    b"\n",
    DEEP.encode() + b"\n",
    b'{"step": 1}\n',
    b'{"step": "x", "time": 0, "cell": [[1]]}\n',
    b'{"step": 1e999, "time": 0, "cell": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}\n',
    b'{"step": 1, "time": 0, "cell": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}\n12345',
    b"cos\nsystem\n(S'touch pwned'\ntR.",
]
ORDERS = [
    b"",
    b"\xff",
    DEEP.encode(),
    b"null",
    b'{"order": "look", "seconds": "long"}',
    b'{"order": "look"}',
    b'{"order": "look", "seconds": null}',
    b'{"order": ["cancel"]}',
    b'{"order": "shell", "command": "touch pwned"}',
]


def running(lab: Lab, duration: float) -> Job:
    job = lab.submit(bulk("Cu", cubic=True), engine="mock", task="md", steps=300, every=100, duration=duration)
    until(lambda: job.running())
    return job


@pytest.mark.parametrize("data", FRAMES)
def test_a_planted_frame_is_a_value_error_and_nothing_else(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any message will do
        Frame.unpack(data)


def test_the_listener_outlives_what_is_planted_in_events_and_frames(lab: Lab) -> None:
    job = running(lab, duration=4.0)
    heard: list[Change] = []
    redis = lab.services.connection
    subscription = lab.watch.subscribe(job.id, heard.append, frames=True)
    until(lambda: heard)
    for data in GARBAGE:
        redis.xadd(events_key(job.id), {"event": data})
    redis.xadd(events_key(job.id), {"other": b"field"})
    for data in FRAMES:
        redis.set(frame_key(job.id), data)
        redis.xadd(frames_key(job.id), {"event": b'{"kind": "frame", "step": 1}'})
    job.wait(60)
    until(lambda: heard[-1].record is not None and heard[-1].record.status.finished)
    subscription.close()
    assert job.status == "succeeded"


def test_keys_of_another_type_leave_the_listener_the_store(lab: Lab) -> None:
    job = running(lab, duration=1.0)
    redis = lab.services.connection
    redis.delete(events_key(job.id))
    redis.set(events_key(job.id), "no stream")
    job.wait(60)
    assert job.status == "succeeded"
    redis.delete(events_key(job.id))


def test_a_run_outlives_planted_orders(lab: Lab) -> None:
    job = running(lab, duration=2.0)
    for data in ORDERS:
        lab.services.connection.publish(control_channel(job.id), data)
    job.wait(60)
    assert job.status == "succeeded"
    assert job.record.attempt == 1


def test_a_flooded_stream_is_read_in_parts(valkey_url: str) -> None:
    job_id = uuid4().hex
    with connect(valkey_url) as redis:
        with redis.pipeline() as pipeline:
            for step in range(10_000):
                pipeline.xadd(events_key(job_id), {"event": json.dumps({"kind": "progress", "step": step})})
            pipeline.execute()
        reader = LiveReader(redis)
        events = reader.read({job_id: "0"}, block=1)
        assert len(events) < 5_000
        newest: list[Any] = reader.history(job_id)
        assert len(newest) < 5_000
        assert newest[-1].event["step"] == 9_999
        reader.close()
