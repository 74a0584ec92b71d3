"""How late a live event of a running job reaches a callback in the kernel, against a bare Redis stream."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nanoos_lab.broker.connection import connect
from tests.benchmarks.figures import Figure, latencies
from tests.benchmarks.place import OURS, copper, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nanoos_lab.lab.watch import Change
    from tests.benchmarks.place import Place

#: What writes bare events, ten a second, until it is killed.
WRITER = """
import json, sys, time
from nanoos_lab.broker.connection import connect
redis = connect(sys.argv[1])
while True:
    redis.xadd("bare", {"event": json.dumps({"at": time.time(), "step": 1, "total": 2, "rate": 3.0})})
    time.sleep(0.1)
"""


def run(quick: bool) -> list[Figure]:
    """Watch a job that takes its time, and read a bare stream in the same seconds."""
    seconds = 5.0 if quick else 60.0
    ours: list[float] = []

    def hear(change: Change) -> None:
        if change.event is not None and change.event.get("kind") == "progress":
            ours.append(time.time() - change.event["at"])

    with place() as here, _bare(here) as bare:
        here.worker(OURS, "simulations")
        job = here.lab.submit(copper(), engine="mock", task="md", steps=10_000, every=1_000, duration=seconds)
        subscription = here.lab.watch.subscribe(job.id, hear, frames=True)
        job.result(seconds + 60)
        subscription.close()
    return [
        *latencies("bare XADD → XREAD", bare),
        *latencies("horse → callback in the kernel", ours, p95=20.0),
        Figure(name="events of the job", value=len(ours) / seconds, unit="1/s", count=len(ours)),
    ]


@contextmanager
def _bare(here: Place) -> Iterator[list[float]]:
    """Read a stream that another process writes; yield the latencies as they come."""
    found: list[float] = []
    over = threading.Event()

    def read() -> None:
        redis, last = connect(here.redis_url), "$"
        while not over.is_set():
            for _, entries in redis.xread({"bare": last}, block=500):
                now, last = time.time(), entries[-1][0]
                found.extend(now - json.loads(entry[b"event"])["at"] for _, entry in entries)

    with subprocess.Popen([sys.executable, "-c", WRITER, here.redis_url]) as writer:
        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield found
        finally:
            writer.kill()
            over.set()
            reader.join()
