"""A network cut between a worker and both servers: its engine stands still before another worker begins."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
from ase.build import bulk

from tests.faults.site import OURS, QUEUES, RQ, Guard, Redis, Site
from tests.fixtures.programs import program
from tests.processes import kill_tree
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.worker.settings import Settings
    from tests.fixtures.postgres import PostgresServer


class Cable(threading.Thread):
    """Passes bytes between a socket of its own and a server's, until it is cut: then nothing gets through any more."""

    def __init__(self, path: Path, server: Path) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._whole = threading.Event()
        self._whole.set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self.start()

    def cut(self) -> None:
        """Hold everything back from now on; connections stay open, as in a real cut."""
        self._whole.clear()

    def heal(self) -> None:
        """Let through what was held back, and what comes."""
        self._whole.set()

    def run(self) -> None:
        while True:
            ours, _ = self._listener.accept()
            theirs = socket.socket(socket.AF_UNIX)
            with suppress(OSError):
                theirs.connect(str(self._server))
            threading.Thread(target=self._pass, args=(ours, theirs), daemon=True).start()

    def _pass(self, ours: socket.socket, theirs: socket.socket) -> None:
        other = {ours: theirs, theirs: ours}
        with ours, theirs, suppress(OSError):
            while True:
                for source in select.select([ours, theirs], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    self._whole.wait()
                    other[source].sendall(data)


def test_two_engines_never_run_side_by_side(tmp_path: Path, postgres: PostgresServer, postgres_url: str) -> None:
    redis = Redis([program("redis-server", package="redis-server")], tmp_path / "redis", keeps=True)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut").chmod(0o777)
    to_redis = Cable(tmp_path / "cut" / "redis.sock", redis.path)
    socket_name = ".s.PGSQL.5432"
    to_store = Cable(tmp_path / "cut" / socket_name, postgres.directory / socket_name)
    # The worker behind the cables is the only one at first.
    site = Site.open(tmp_path, redis, postgres_url, workers=0)
    behind = site.lab.settings.model_copy(
        update={
            "redis_url": type(site.lab.settings.redis_url)(f"unix://{tmp_path}/cut/redis.sock"),
            "database_url": type(site.lab.settings.database_url)(
                postgres_url.replace(str(postgres.directory), f"{tmp_path}/cut")
            ),
        }
    )
    worker = _start(behind, f"unix://{tmp_path}/cut/redis.sock", tmp_path / "behind.log")
    guard = Guard(site)
    try:
        job = site.lab.submit(
            bulk("Cu"), engine="mock", task="md", steps=200, every=20, duration=8.0, retries={"delay": 0.0}
        )
        until(lambda: job.status == "running" and len(job.thermo) > 0)
        assert "cut" in str(behind.database_url.get_secret_value())
        guard.start()
        to_redis.cut()
        to_store.cut()
        site.count = 1
        site.see_to_workers()
        until(lambda: job.record.attempt == 2 and job.status == "running")
        to_redis.heal()
        to_store.heal()
        assert job.wait(90).status == "succeeded"
        assert [attempt.outcome for attempt in job.attempts] == ["lost", "succeeded"]
        assert job.thermo.index.tolist() == list(range(0, 201, 20))
        guard.stop()
        assert guard.seen == []
        assert guard.looks > 10
    finally:
        kill_tree(psutil.Process(worker.pid))
        worker.wait(90)
        assert site.close() == []


def _start(settings: Settings, redis_url: str, log: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | settings.environment() | {"RQ_REDIS_URL": redis_url, "RQ_WORKER_CLASS": OURS}
    with log.open("wb") as file:
        return subprocess.Popen([RQ, "worker", *QUEUES], env=environment, stdout=file, stderr=file)
