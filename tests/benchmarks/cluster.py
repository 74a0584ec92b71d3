"""The other place to measure in: a cluster's services, PostgreSQL and Redis, where their programs are installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker.settings import Settings
from tests.benchmarks.clock import until
from tests.benchmarks.place import Place, place
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.redis import answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager


def places() -> dict[str, Callable[[], AbstractContextManager[Place]]]:
    """Return what opens the embedded lab's services and, where they are installed, a cluster's; by name."""
    found: dict[str, Callable[[], AbstractContextManager[Place]]] = {"SQLite + Valkey": place}
    if shutil.which("redis-server") and any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        found["PostgreSQL + Redis"] = cluster
    return found


@contextmanager
def cluster() -> Iterator[Place]:
    """Open a lab on PostgreSQL, which does not wait for the disk (fsync=off), and Redis, which writes its log."""
    with ExitStack() as stack:
        home = _directory(stack)
        postgres = PostgresServer(_directory(stack))
        postgres.create()
        postgres.start()
        stack.callback(postgres.stop)
        redis_url = stack.enter_context(_redis(home))
        settings = Settings.load(
            home=home, redis_url=redis_url, database_url=postgres.new_database(), artifacts_url=str(home / "artifacts")
        )
        lab = stack.enter_context(Lab(settings))
        yield Place(lab=lab, redis_url=redis_url, stack=stack)


def _directory(stack: ExitStack) -> Path:
    path = Path(tempfile.mkdtemp(prefix="nanoos-bench-"))
    stack.callback(shutil.rmtree, path, ignore_errors=True)
    return path


@contextmanager
def _redis(home: Path) -> Iterator[str]:
    socket = home / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(home), "--appendonly", "yes"]
    with subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL) as process:
        url = f"unix://{socket}"
        try:
            until(lambda: answers(url))
            yield url
        finally:
            process.terminate()
