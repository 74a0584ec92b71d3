"""A site under fire: servers that are killed and come back, workers that a supervisor starts again, many jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker.settings import Settings
from tests.fixtures.redis import answers
from tests.processes import kill_tree
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

RQ = str(Path(sys.executable).with_name("rq"))
QUEUES = ("high_priority", "simulations", "default")
OURS = "nanoos_lab.worker.rq_worker.NanoosWorker"
#: Lease of the storm, in s; the defaults would make it an hour.
LEASE = 5.0


class Redis:
    """A Redis-compatible server that can be killed; what it forgets then depends on whether it keeps a log."""

    def __init__(self, command: list[str], directory: Path, *, keeps: bool) -> None:
        directory.mkdir(parents=True)
        self.path = directory / "redis.sock"
        self.url = f"unix://{self.path}"
        log = ["--appendonly", "yes"] if keeps else ["--save", "", "--appendonly", "no"]
        self._command = [*command, "--port", "0", "--unixsocket", str(self.path), "--dir", str(directory), *log]
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until(lambda: answers(self.url))

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait()


@dataclass
class Site:
    """Workers and a lab on two servers."""

    lab: Lab
    redis: Redis
    directory: Path
    count: int
    _workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _stopping: bool = False

    @classmethod
    def open(cls, directory: Path, redis: Redis, database_url: str, *, workers: int = 2, lease: float = LEASE) -> Self:
        """Open the lab and start the workers."""
        settings = Settings.load(
            redis_url=redis.url,
            database_url=database_url,
            artifacts_url=str(directory / "artifacts"),
            home=directory / "home",
            lease=lease,
            checkpoint=0.2,
        )
        site = cls(lab=Lab(settings), redis=redis, directory=directory, count=workers)
        site.see_to_workers()
        return site

    def see_to_workers(self) -> None:
        """Start the workers that are not there, as a supervisor does."""
        self._workers = [one for one in self._workers if one.poll() is None]
        while len(self._workers) < self.count:
            self._workers.append(self._start())

    def _start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | self.lab.settings.environment()
        environment |= {"RQ_REDIS_URL": self.redis.url, "RQ_WORKER_CLASS": OURS, "OMP_NUM_THREADS": "1"}
        with (self.directory / "workers.log").open("ab") as log:
            return subprocess.Popen([RQ, "worker", *QUEUES], env=environment, stdout=log, stderr=log)

    @property
    def workers(self) -> list[psutil.Process]:
        """The worker processes."""
        return [psutil.Process(one.pid) for one in self._workers if one.poll() is None]

    def engines(self) -> dict[tuple[str, int], psutil.Process]:
        """Return the engines at work, by job and attempt: whatever runs in the directory of an attempt."""
        root = self.lab.settings.artifacts / "jobs"
        found = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                place = Path(process.cwd())
                if place.is_relative_to(root) and process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
                    _, job_id, number, _ = place.relative_to(root).parts
                    found[job_id, int(number)] = process
        return found

    def close(self) -> list[psutil.Process]:
        """End everything; return what has outlived it."""
        for worker in self.workers:
            kill_tree(worker)
        for one in self._workers:
            one.wait(90)
        self.lab.close()
        self.redis.kill()
        with suppress(AssertionError):
            until(lambda: not self.engines())
        return list(self.engines().values())


class Guard(threading.Thread):
    """Watches that no two engines of a job ever run side by side.

    One that stood still while its lease ran out is killed when it wakes: for some milliseconds both are there, so that
    only what is seen twice in a row counts.
    """

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self._site = site
        self._done = threading.Event()
        #: Jobs of which two attempts were seen at work, with their numbers.
        self.seen: list[tuple[str, tuple[int, ...]]] = []
        self.looks = 0

    def run(self) -> None:
        before: set[tuple[str, tuple[int, ...]]] = set()
        while not self._done.wait(0.1):
            now = set(_doubled(self._site.engines()))
            self.seen += sorted(now & before)
            before = now
            self.looks += 1

    def stop(self) -> None:
        """End."""
        self._done.set()
        self.join()


def _doubled(engines: dict[tuple[str, int], psutil.Process]) -> Iterator[tuple[str, tuple[int, ...]]]:
    attempts: dict[str, list[int]] = defaultdict(list)
    for job_id, number in engines:
        attempts[job_id].append(number)
    for job_id, numbers in attempts.items():
        if len(numbers) > 1:
            yield job_id, tuple(sorted(numbers))


def stand_still(processes: list[psutil.Process], seconds: float) -> None:
    """Have processes stand still, and go on later."""

    def wake() -> None:
        time.sleep(seconds)
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
    threading.Thread(target=wake, daemon=True).start()
