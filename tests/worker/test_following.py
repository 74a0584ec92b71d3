"""Following an engine whatever it does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from nanoos_lab.broker.live import LiveWriter, writing
from nanoos_lab.core.record import Assignment
from nanoos_lab.core.request import JobRequest
from nanoos_lab.core.resources import Limits
from nanoos_lab.store.records import Orders
from nanoos_lab.worker import pipe
from nanoos_lab.worker.clocks import now
from nanoos_lab.worker.following import EndOfRun, Follower
from nanoos_lab.worker.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from redis import Redis

    from nanoos_lab.worker.nursery import EngineProcess, Nursery

JOB = "0" * 32
NUMBERS = np.arange(50_000)


def test_an_engine_that_stands_still_in_the_middle_of_a_message_is_heard_to_the_end(
    nursery_of: Callable[..., Nursery], broker: Redis, tmp_path: Path
) -> None:
    """As one does that is paused, for it is so wherever it is; the lease is renewed meanwhile."""
    engine = nursery_of(_wait_half_way).engine()
    engine.pipe.send_bytes(b"go")
    end = _followed(engine, LiveWriter(writing(broker), JOB, 1), tmp_path)
    assert end.message is not None
    assert end.message.kind == "done"
    np.testing.assert_array_equal(end.message.arrays["numbers"], NUMBERS)


def _wait_half_way(connection: Connection) -> None:
    """Send half a message, and the rest only when the lease has been renewed."""
    whole = pipe.packed("done", {}, {"numbers": NUMBERS})
    assert pipe.receive(connection).kind == "lease"
    os.write(connection.fileno(), whole[:5000])
    assert pipe.receive(connection).kind == "lease"
    left = memoryview(whole)[5000:]
    while left:
        left = left[os.write(connection.fileno(), left) :]


def _followed(engine: EngineProcess, live: LiveWriter, place: Path) -> EndOfRun:
    assignment = Assignment(
        request=JobRequest(structure=None, engine="mock", task="md", parameters={}), limits=Limits(), ran=0.0
    )
    recorder = Recorder(place, live)
    orders = Orders(current=True, cancel=False)
    follower = Follower(engine, recorder, live, lambda: orders, lease=20.0, assignment=assignment, releasable=False)
    try:
        return follower.follow(now())
    finally:
        recorder.close()
        live.close()
        engine.join()
