"""The embedded lab: server and workers on this computer, started by the first who needs them."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nanoos_lab.broker import embedded
from nanoos_lab.core.errors import ServiceError
from nanoos_lab.core.status import Status
from nanoos_lab.store.queries import JobQuery
from nanoos_lab.worker import pool
from nanoos_lab.worker.services import Services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nanoos_lab.broker.embedded import Server
    from nanoos_lab.worker.settings import Settings


@dataclass(frozen=True, kw_only=True)
class LocalState:
    """What of the embedded lab runs."""

    #: The server, if it answers.
    server: Server | None
    #: Process id of the supervisor, if it runs.
    supervisor: int | None

    @property
    def complete(self) -> bool:
        """Whether everything runs."""
        return self.server is not None and self.supervisor is not None


def state(settings: Settings) -> LocalState:
    """Look at what runs."""
    return LocalState(
        server=embedded.find(settings.home, embedded.runtime_directory()), supervisor=pool.running(settings)
    )


def start(settings: Settings) -> LocalState:
    """Start what does not run; returns when the server answers, while workers may still be booting.

    Two processes may call it at once: one starts, the other finds what the first has started.

    Raises
    ------
    ServiceError
        If the server or the supervisor cannot be started.
    """
    found = state(settings)
    if found.complete:
        return found
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _starting(settings):
        server = embedded.start(settings.home, embedded.runtime_directory())
        if pool.running(settings) is None:
            _start_supervisor(settings)
        return LocalState(server=server, supervisor=pool.running(settings))


def stop(settings: Settings, *, now: bool = False, timeout: float = 60.0) -> bool:
    """Stop supervisor, workers and server.

    Parameters
    ----------
    settings
        Which lab.
    now
        Do not wait for running jobs: their attempts end as lost, and they start again with the lab.
    timeout
        Seconds to wait.

    Returns
    -------
    bool
        Whether everything has stopped.
    """
    supervisor = pool.running(settings)
    if supervisor:
        os.kill(supervisor, signal.SIGTERM)
        deadline = time.monotonic() + timeout
        hurry = time.monotonic() + 1.5
        while pool.running(settings) is not None and time.monotonic() < deadline:
            if now and time.monotonic() > hurry:
                os.kill(supervisor, signal.SIGTERM)
                hurry = deadline
            time.sleep(0.05)
        if pool.running(settings) is not None:
            return False
    server = embedded.find(settings.home, embedded.runtime_directory())
    if server is not None:
        embedded.stop(server)
    if now:
        _hand_back(settings)
    return True


def _hand_back(settings: Settings) -> None:
    """Offer the jobs again whose workers were not waited for; the next lab need not wait for their leases."""
    services = Services(settings)
    if (settings.home / "store.sqlite").exists():
        for record in services.store.find(JobQuery(status=Status.RUNNING, limit=None)):
            services.store.lose(record.id, record.attempt, "the lab was stopped", counts=False)
    services.close()


def _start_supervisor(settings: Settings) -> None:
    logs = settings.home / "logs"
    logs.mkdir(exist_ok=True, mode=0o700)
    log = logs / "pool.log"
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    command = [sys.executable, "-m", "nanoos_lab.worker.daemon", str(settings.home)]
    try:
        subprocess.run(command, env=environment | settings.environment(), check=True, cwd="/")  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise ServiceError(f"the workers of the embedded lab cannot be started: {error}; see {log}") from None
    deadline = time.monotonic() + 10.0
    while pool.running(settings) is None:
        if time.monotonic() > deadline:
            raise ServiceError(f"the workers of the embedded lab did not start; {log} says why")
        time.sleep(0.01)


#: Variables of a notebook kernel that a worker must not inherit.
_FOREIGN = frozenset({"JPY_PARENT_PID", "JPY_SESSION_NAME", "MPLBACKEND", "PYTHONSTARTUP", "GIT_PAGER", "PAGER"})


@contextmanager
def _starting(settings: Settings) -> Iterator[None]:
    """Let one process at a time start things."""
    with (settings.home / "start.lock").open("a") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield
