"""A place to measure in: a lab in an empty directory, its server, and workers of two kinds beside each other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from ase.build import bulk

from nanoos_lab.broker import embedded
from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker.settings import Settings
from tests.benchmarks.clock import until
from tests.processes import kill_tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ase import Atoms

#: Our worker class, as ``rq worker`` takes it.
OURS = "nanoos_lab.worker.rq_worker.NanoosWorker"
#: RQ's own, which forks a work-horse for every job.
RQ = "rq.Worker"


@dataclass(frozen=True, kw_only=True)
class Place:
    """One server and one store, and whatever is started beside them."""

    #: The lab; it finds the server and workers below and starts none of its own.
    lab: Lab
    #: URL of the server.
    redis_url: str
    #: What ends with the place.
    stack: ExitStack

    def worker(self, kind: str, *queues: str, **environment: str) -> int:
        """Start ``rq worker`` of a class on these queues; return its process id once it is idle."""
        return self.stack.enter_context(_worker(self, kind, queues, environment))


@contextmanager
def place(database_url: str | None = None) -> Iterator[Place]:
    """Open a lab on Valkey and SQLite, or another database, in a temporary directory; no worker starts by itself."""
    home = Path(tempfile.mkdtemp(prefix="nanoos-bench-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        server = embedded.start(home, embedded.runtime_directory())
        stack.callback(embedded.stop, server)
        settings = Settings.load(
            home=home,
            redis_url=server.url,
            database_url=database_url or f"sqlite:///{home}/store.sqlite",
            artifacts_url=str(home / "artifacts"),
        )
        lab = stack.enter_context(Lab(settings))
        yield Place(lab=lab, redis_url=server.url, stack=stack)


def copper(repeat: int = 1) -> Atoms:
    """Return copper of 4 · repeat³ atoms."""
    return bulk("Cu", cubic=True) * (repeat, repeat, repeat)


@contextmanager
def _worker(this: Place, kind: str, queues: tuple[str, ...], more: Mapping[str, str]) -> Iterator[int]:
    before = {worker.pid for worker in this.lab.services.queue.workers()}
    command = [sys.executable, "-m", "rq.cli", "worker", "--quiet", "--worker-class", kind, *queues]
    ours = this.lab.settings.environment() | {"RQ_REDIS_URL": this.redis_url, "OMP_NUM_THREADS": "1"}
    environment = os.environ | ours | more
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: any(w.pid not in before and w.state == "idle" for w in this.lab.services.queue.workers()))
            yield process.pid
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a worker end; kill it, with all that it has started, if a run that was broken off keeps it."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        kill_tree(psutil.Process(process.pid))
        process.wait()
