"""Where the reconciler runs: in a process of its own beside our workers, and for one pass in a plain ``rq worker``.

The embedded lab has a keeper of its own (`pool.Keeper`), open labs reconcile while they watch.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from typing import TYPE_CHECKING, NoReturn

from nanoos_lab.core.errors import ServiceError
from nanoos_lab.worker.processes import end_with
from nanoos_lab.worker.reaper import Reconciler
from nanoos_lab.worker.services import Services
from nanoos_lab.worker.strays import end_strays

if TYPE_CHECKING:
    from nanoos_lab.worker.settings import Settings

log = logging.getLogger("rq.worker")

#: Seconds between two passes, about: keepers that were started together do not all come at once.
INTERVAL = 5.0
#: Seconds between two looks for strays, which read something of every process of the host.
SWEEP = 30.0


class WorkerKeeper:
    """The keeper beside one worker, forked again if it dies.

    Parameters
    ----------
    settings
        Of the lab whose jobs the worker runs.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pid: int | None = None

    def see_to(self) -> None:
        """Fork it if it is not there."""
        if self._pid is not None:
            ended, _ = os.waitpid(self._pid, os.WNOHANG)
            if ended == 0:
                return
            log.warning("the keeper has ended; a new one is started")
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            _main(self._settings, parent)


def _main(settings: Settings, parent: int) -> NoReturn:
    """Run in the forked process; never returns into the worker's code."""
    code = 1
    try:
        end_with(parent)
        for number in (signal.SIGINT, signal.SIGTERM):
            # It ends with its worker, which may have a job to finish first.
            signal.signal(number, signal.SIG_IGN)
        _keep(Services(settings))
        code = 0
    finally:
        os._exit(code)


def _keep(services: Services) -> None:
    reconciler = Reconciler(services.store, services.queue)
    next_sweep = 0.0
    while True:
        make_pass(reconciler)
        if time.monotonic() >= next_sweep:
            _end_strays(services)
            next_sweep = time.monotonic() + SWEEP
        time.sleep(INTERVAL * random.uniform(0.8, 1.2))  # noqa: S311 - only to spread them


def make_pass(reconciler: Reconciler) -> None:
    """Reconcile, unless store or broker are away: the next pass does it then."""
    try:
        reconciler.make_pass()
    except ServiceError as error:
        log.warning("no pass of the reconciler: %s", error)


def _end_strays(services: Services) -> None:
    try:
        end_strays(services.store)
    except ServiceError as error:
        log.warning("no look for strays: %s", error)
