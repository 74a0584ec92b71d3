"""Celery as a peer, where it can be imported: the functions of `peers` as its tasks, its worker, and how to send.

It is no dependency: it pins a version of python-dateutil, which pandas would then be tested with too. To measure it::

    pip install --target DIR --no-deps celery kombu billiard amqp vine tzlocal click-didyoumean click-plugins click-repl
    PYTHONPATH=DIR python -m tests.benchmarks throughput
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from celery import Celery

from tests.benchmarks import peers
from tests.benchmarks.clock import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.benchmarks.place import Place

app = Celery("peers")
for function in (peers.store_nothing, peers.store_computed):
    app.task(function, ignore_result=True)


def send(here: Place, function: str, ids: Sequence[str]) -> None:
    """Send a task for each of these jobs."""
    with Celery(broker=_url(here)) as sender:
        for job_id in ids:
            sender.send_task(function, [job_id])


@contextmanager
def worker(here: Place) -> Iterator[int]:
    """Run a worker of one process, forked once; yield the id of its parent, which hands out the tasks."""
    command = [sys.executable, "-m", "celery", "-A", __name__, "-b", _url(here), "worker", "-c", "1", "-l", "ERROR"]
    environment = os.environ | here.lab.settings.environment() | {"OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, **quiet) as process:
        try:
            with Celery(broker=_url(here)) as sender:
                until(lambda: bool(sender.control.ping(timeout=0.5)))
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _url(here: Place) -> str:
    return here.redis_url.replace("unix://", "redis+socket://")
