"""The supervisor of the embedded lab: forks its workers from one preloaded process, stops when nobody needs it.

Three kinds of process: the supervisor (imports everything, opens nothing, only forks and waits), its workers,
and one keeper that reconciles and watches for idleness. When the supervisor dies, however it dies, its workers
finish what they run and leave, and the next call of any user process starts a new supervisor.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

from nanoos_lab.broker import embedded
from nanoos_lab.core.errors import ServiceError
from nanoos_lab.core.status import Status
from nanoos_lab.store.schedules import Schedules
from nanoos_lab.worker import lock
from nanoos_lab.worker.processes import end_with
from nanoos_lab.worker.reaper import Reconciler
from nanoos_lab.worker.services import Services
from nanoos_lab.worker.settings import Settings
from nanoos_lab.worker.strays import end_strays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

#: Seconds between two passes of the reconciler.
RECONCILE = 5.0
#: A worker that dies younger than this is replaced only after the same time.
YOUNG = 2.0
#: Exit code of the keeper that asks the supervisor to stop.
IDLE = 3
#: What stops the supervisor.
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def running(settings: Settings) -> int | None:
    """Return the process id of the running supervisor, or None."""
    return lock.holder(settings.home)


class Supervisor:
    """Keeps `concurrency` workers and one keeper alive until it is told to stop or nobody needs it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._children: dict[int, tuple[str, float]] = {}
        self._wanted: dict[str, Callable[[], None]] = {}
        self._stopping = False
        self._idle = False

    def run(self) -> bool:
        """Run until stopped; return whether it was because nobody needed the lab."""
        embedded.start(self._settings.home, embedded.runtime_directory())
        _preload()
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        self._wanted = {f"worker-{index}": self._worker for index in range(1, self._settings.concurrency + 1)}
        self._wanted["keeper"] = self._keeper
        for name in self._wanted:
            self._fork(name)
        while self._children:
            self._reap()
        server = embedded.find(self._settings.home, embedded.runtime_directory())
        if server is not None:
            embedded.stop(server)
        for number in _SIGNALS:
            # Nothing is left that a signal would have to be passed on to.
            signal.signal(number, signal.SIG_DFL)
        log.info("stopped")
        return self._idle

    def _fork(self, name: str) -> None:
        parent = os.getpid()
        # A signal waits until the child is known here, or has handlers of its own there: it must reach every child.
        with _held_back():
            if self._stopping:
                return
            pid = os.fork()
            if pid == 0:
                self._child(name, parent)
            self._children[pid] = (name, time.monotonic())
        log.info("%s started, pid %d", name, pid)

    def _child(self, name: str, parent: int) -> NoReturn:
        code = 1
        try:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            # A warm shutdown: the job that runs is finished first.
            end_with(parent, signal.SIGTERM)
            self._wanted[name]()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            log.exception("%s ended by an error", name)
        finally:
            logging.shutdown()
            os._exit(code)

    def _reap(self) -> None:
        try:
            pid, status = os.wait()
        except InterruptedError:
            return
        name, born = self._children.pop(pid, ("a stranger", 0.0))
        code = os.waitstatus_to_exitcode(status)
        log.info("%s ended, pid %d, code %d", name, pid, code)
        if name == "keeper" and code == IDLE:
            log.info("nobody needs this lab; stopping")
            self._idle = not self._stopping
            self._stop()
        if not self._stopping and name in self._wanted:
            time.sleep(max(0.0, YOUNG - (time.monotonic() - born)))
            if not self._stopping:
                self._fork(name)

    def _on_signal(self, _number: int, _frame: object) -> None:
        # Passed on each time: at the second signal RQ's workers no longer wait for their work-horse.
        self._idle = False
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        for pid in self._children:
            # It may have ended, and be about to be crossed off.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _worker(self) -> None:
        from nanoos_lab.worker.rq_worker import work

        work(Services(self._settings).connection)

    def _keeper(self) -> None:
        Keeper(self._settings).run()


class Keeper:
    """Reconciles, and says when nobody needs the lab any more."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def run(self) -> None:
        """Run until idle; leave with the code that says so."""
        services = Services(self._settings)
        reconciler = Reconciler(services.store, services.queue)
        last_needed = time.monotonic()
        while time.monotonic() - last_needed < self._settings.idle_timeout:
            try:
                embedded.start(self._settings.home, embedded.runtime_directory())
                reconciler.lose_dead()
                reconciler.make_pass()
                end_strays(services.store)
                if _has_work(services):
                    last_needed = time.monotonic()
            except ServiceError as error:
                log.warning("no pass of the reconciler: %s", error)
            time.sleep(min(RECONCILE, self._settings.idle_timeout / 4))
        sys.exit(IDLE)


def _has_work(services: Services) -> bool:
    counts = services.store.count()
    waiting = any(counts.get(status, 0) for status in (Status.PENDING, Status.QUEUED, Status.RUNNING))
    return waiting or Schedules(services.store).any()


def _has_got_work(settings: Settings) -> bool:
    """Say whether a job has come while the lab was stopping: who submitted it has seen a lab that runs."""
    services = Services(settings)
    try:
        return _has_work(services)
    except ServiceError as error:
        log.warning("not known whether a job has come meanwhile: %s", error)
        return False
    finally:
        services.close()


def _preload() -> None:
    from nanoos_lab.worker.rq_worker import preload

    preload()


@contextmanager
def _held_back() -> Iterator[None]:
    """Have the signals that stop the supervisor wait."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def main() -> None:
    """Run the supervisor of the lab that the environment names; the caller holds its lock."""
    settings = Settings.load()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(process)d %(name)s %(message)s")
    while Supervisor(settings).run() and _has_got_work(settings):
        log.info("a job has come meanwhile; starting again")
