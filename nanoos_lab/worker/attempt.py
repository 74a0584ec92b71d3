"""One attempt at a job, as the work-horse sees it: claim, follow the engine, keep its output, finish."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, TypeVar

from nanoos_lab.broker.live import LiveWriter
from nanoos_lab.core.errors import StoreError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.record import Failure
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.core.structures import Structure
from nanoos_lab.store.records import Holder
from nanoos_lab.store.results import scalars, write_results
from nanoos_lab.worker import pipe
from nanoos_lab.worker.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np

    from nanoos_lab.worker.nursery import End, EngineProcess
    from nanoos_lab.worker.services import Services

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Seconds between two signs of life, and between two flushes of what the engine produced.
BEAT = 1.0
#: Seconds that an engine has to stop by itself before it is killed.
GRACE = 5.0
#: Seconds that a run lasts before orders are listened to: one that is shorter needs no connection for them.
SHORT = 0.1


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the attempt ended; no status if it was never ours or is ours no longer."""

    #: Final status, or None.
    status: Status | None
    #: Why, if it failed.
    failure: Failure | None = None


class AttemptRun:
    """One attempt at a job.

    Parameters
    ----------
    services
        The lab's services.
    engine
        The engine process, forked already.
    job_id, attempt
        What to claim.
    """

    def __init__(self, services: Services, engine: EngineProcess, job_id: str, attempt: int) -> None:
        self._services = services
        self._engine = engine
        self._id = job_id
        self._number = attempt
        self._ended: pipe.Message | None = None
        self._current = True
        self._kill_at: float | None = None
        self._cancelled = False
        self._heard = _now()

    def run(self) -> Outcome:
        """Claim the attempt and see it through."""
        # Before the claim: without a server to name, the job stays as it was.
        live = LiveWriter(self._services.live, self._id, self._number)
        try:
            return self._claimed(live)
        finally:
            live.close()

    def _claimed(self, live: LiveWriter) -> Outcome:
        holder = Holder(worker=_worker_name(), host=socket.gethostname(), pid=os.getpid())
        if self._services.store.claim(self._id, self._number, holder) is None:
            log.info("job %s attempt %d: stale message, nothing to do", self._id, self._number)
            return Outcome(status=None)
        self._heard = _now()
        live.event({"kind": "status", "status": Status.RUNNING, "attempt": self._number})
        outcome = self._see_through(live)
        if outcome.status is not None:
            live.event({"kind": "status", "status": outcome.status, "attempt": self._number})
        return outcome

    def _see_through(self, live: LiveWriter) -> Outcome:
        """Follow the engine; whatever goes wrong on our side ends the attempt now, not when its lease is over."""
        try:
            return self._follow(live)
        except StoreError:
            # The store was away for a whole lease, so the attempt is another worker's to take.
            raise
        except Exception as error:
            log.exception("job %s attempt %d", self._id, self._number)
            self._engine.kill()
            return self._fail(_trouble(error), {})

    def _follow(self, live: LiveWriter) -> Outcome:
        directory = self._services.artifacts.attempt_dir(self._id, self._number)
        recorder = Recorder(directory, live)
        try:
            self._start(directory)
        except (OSError, StoreError) as error:
            return self._fail(Failure(reason=Reason.RESOURCE, message=f"the run could not be started: {error}"), {})
        try:
            self._loop(recorder, live)
        finally:
            recorder.close()
        return self._finish(directory, recorder)

    def _start(self, directory: Path) -> None:
        request = self._insist(lambda: self._services.store.request(self._id))
        files = {role: self._services.artifacts.path(ref) for role, ref in request.files.items()}
        self._engine.start(request, directory=directory, files=files, policy=self._services.settings.policy)

    def _loop(self, recorder: Recorder, live: LiveWriter) -> None:
        """Follow the engine until it has ended, its process is gone, or the attempt is no longer ours."""
        listen = time.monotonic() + SHORT
        next_beat = time.monotonic() + BEAT
        while self._ended is None and self._current:
            listening = time.monotonic() >= listen
            orders = live.fileno() if listening else None
            sources: list[Any] = [self._engine.pipe] if orders is None else [self._engine.pipe, orders]
            due = next_beat if listening else listen
            ready = wait(sources, timeout=max(0.0, due - time.monotonic()))
            if orders in ready:
                self._obey(recorder, live)
            if self._engine.pipe in ready:
                self._read(recorder)
            if time.monotonic() >= next_beat:
                self._beat(recorder)
                next_beat = time.monotonic() + BEAT

    def _read(self, recorder: Recorder) -> None:
        try:
            message = pipe.receive(self._engine.pipe)
        except (EOFError, OSError):
            self._ended = pipe.Message(kind="gone", fields={})
            return
        if message.kind in ("done", "failed"):
            self._ended = message
        else:
            recorder.take(message)

    def _obey(self, recorder: Recorder, live: LiveWriter) -> None:
        for order in live.orders():
            if order.get("order") == "cancel":
                # Only a hint: the store decides, now instead of at the next beat.
                self._beat(recorder)
            elif order.get("order") == "look" and isinstance(order.get("seconds"), (int, float)):
                recorder.look(order["seconds"])
                self._engine.order("look", watched=True, cost=recorder.live_cost)

    def _beat(self, recorder: Recorder) -> None:
        recorder.flush()
        if recorder.watched or recorder.left():
            # Each time with what a live sample has cost here lately, which its cadence takes into account.
            self._engine.order("look", watched=recorder.watched, cost=recorder.live_cost)
        try:
            orders = self._services.store.beat(self._id, self._number, step=recorder.step, total=recorder.total)
        except StoreError as error:
            log.warning("job %s attempt %d: no beat: %s", self._id, self._number, error)
            if _now() - self._heard > self._services.settings.lease:
                self._give_up("its lease is over")
            return
        self._heard = _now()
        if not orders.current:
            self._give_up("it is no longer ours")
        elif orders.cancel and not self._cancelled:
            self._cancelled = True
            self._kill_at = time.monotonic() + GRACE
            self._engine.order("stop", reason="cancel")
        elif self._kill_at is not None and time.monotonic() > self._kill_at:
            self._engine.kill()

    def _give_up(self, why: str) -> None:
        """End the engine of an attempt that another worker may have taken."""
        log.warning("job %s attempt %d: %s; its engine is ended", self._id, self._number, why)
        self._current = False
        self._engine.kill()

    def _finish(self, directory: Path, recorder: Recorder) -> Outcome:
        message = self._ended
        if not self._current or message is None:
            return Outcome(status=None)
        if self._cancelled:
            if message.kind == "done":
                write_results(directory, _results(message))
            self._beat_last(recorder)
            return self._settle(Status.CANCELLED, lambda: self._services.store.end_cancelled(self._id, self._number))
        if message.kind == "done":
            return self._succeed(directory, recorder, message)
        if message.kind == "failed":
            self._beat_last(recorder)
            failure = Failure(
                reason=Reason(message.fields["reason"]),
                message=message.fields["message"],
                remedy=message.fields["remedy"],
            )
            return self._fail(failure, {})
        # It has closed the pipe, as a rule by its death; one that lives on would be waited for in vain.
        return self._fail(_death(self._engine.join(GRACE)), {})

    def _beat_last(self, recorder: Recorder) -> None:
        """Store how far it got; the outcome matters more, so a store that is away is left to the outcome's retries."""
        try:
            self._services.store.beat(self._id, self._number, step=recorder.step, total=recorder.total)
        except StoreError as error:
            log.warning("job %s attempt %d: no last beat: %s", self._id, self._number, error)

    def _succeed(self, directory: Path, recorder: Recorder, message: pipe.Message) -> Outcome:
        results = _results(message)
        write_results(directory, results)
        return self._settle(
            Status.SUCCEEDED,
            lambda: self._services.store.succeed(
                self._id,
                self._number,
                step=recorder.step,
                total=recorder.total,
                scalars=scalars(results),
                provenance=results.provenance,
            ),
        )

    def _fail(self, failure: Failure, provenance: Mapping[str, Any]) -> Outcome:
        outcome = self._settle(
            Status.FAILED,
            lambda: self._services.store.fail(self._id, self._number, failure, provenance=provenance),
        )
        return Outcome(status=outcome.status, failure=failure if outcome.status is not None else None)

    def _settle(self, status: Status, commit: Callable[[], bool]) -> Outcome:
        return Outcome(status=status if self._insist(commit) else None)

    def _insist(self, ask: Callable[[], _T]) -> _T:
        """Ask the store; while it is away, try again for as long as the lease lasts."""
        deadline = _now() + self._services.settings.lease
        pause = 0.1
        while True:
            try:
                return ask()
            except StoreError:
                if _now() > deadline:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, 5.0)


def _now() -> float:
    """Return seconds of a clock that nobody sets and that runs while the computer sleeps, as the lease does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _results(message: pipe.Message) -> Results:
    arrays: dict[str, np.ndarray[Any, Any]] = dict(message.arrays)
    data = arrays.pop("$structure").tobytes()
    return Results(
        properties={**message.fields["scalars"], **arrays},
        structure=Structure(data) if message.fields["has_structure"] else None,
        provenance=message.fields["provenance"],
        stopped=message.fields["stopped"],
    )


def _trouble(error: Exception) -> Failure:
    """Say what went wrong in the work-horse itself."""
    if isinstance(error, OSError):
        return Failure(
            reason=Reason.RESOURCE,
            message=f"what the run produced could not be kept: {error}",
            remedy="Look at the free space and the permissions of the artifacts' directory on the worker's host.",
        )
    return Failure(
        reason=Reason.BUG,
        message=f"{type(error).__name__}: {error}",
        remedy="The log of the worker has the traceback; please report it.",
    )


def _death(end: End) -> Failure:
    """Say how an engine process died that did not say it itself."""
    code = end.code
    if code is None:
        return Failure(
            reason=Reason.LOST,
            message="the process that holds the engines was killed",
            remedy="Look at the worker's log and at its host's memory; submit the job again to try it once more.",
        )
    if code == -signal.SIGKILL:
        return Failure(
            reason=Reason.MEMORY,
            message="the engine process was killed by the system (signal 9), as a rule because memory ran out",
            remedy="Use a smaller structure or a host with more memory; `dmesg` on that host tells more.",
        )
    if code < 0:
        name = signal.Signals(-code).name
        return Failure(
            reason=Reason.ENGINE,
            message=f"the engine process crashed ({name})",
            remedy="The log of the job (job.log) has its last words.",
        )
    return Failure(
        reason=Reason.ENGINE,
        message=f"the engine process ended without a result (exit code {code})",
        remedy="The log of the job (job.log) has its last words.",
    )


def _worker_name() -> str:
    from nanoos_lab.broker.queue import current_worker

    return current_worker() or f"{socket.gethostname()}-{os.getpid()}"
