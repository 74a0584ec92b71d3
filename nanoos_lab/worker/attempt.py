"""One attempt at a job, as the work-horse sees it: claim, start the engine, follow it, judge, tell the store."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from nanoos_lab.broker.live import LiveWriter
from nanoos_lab.core.errors import StoreError, StructureError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.record import Correction, Failure, Usage
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry
from nanoos_lab.store.checkpoints import discard
from nanoos_lab.store.records import Holder
from nanoos_lab.store.results import read_results, scalars, write_results
from nanoos_lab.worker import failures, pipe
from nanoos_lab.worker.child import CHECKPOINTS
from nanoos_lab.worker.clocks import now
from nanoos_lab.worker.following import GRACE, EndOfRun, Follower
from nanoos_lab.worker.outcome import Success, adopt
from nanoos_lab.worker.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np

    from nanoos_lab.core.record import Assignment, JobRecord
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.store.records import Orders
    from nanoos_lab.worker.devices import Taken
    from nanoos_lab.worker.nursery import EngineProcess
    from nanoos_lab.worker.services import Services

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Longest pause in s between two tries to reach a store that is away.
LONGEST_PAUSE = 5.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the attempt ended; no status if it was never ours or is ours no longer."""

    #: Where the job stands now, or None.
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
        The engine process, which waits for its run.
    job_id, attempt
        What to claim.
    gpus
        Graphics processors that are held for it.
    """

    def __init__(self, services: Services, engine: EngineProcess, job_id: str, attempt: int, gpus: Taken) -> None:
        self._services = services
        self._store = services.store
        self._engine = engine
        self._id = job_id
        self._number = attempt
        self._gpus = gpus
        #: Of how many steerings the engine knows, and the steps of which the store knows.
        self._known = 0
        self._told: dict[int, int] = {}

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
        asked = now()
        if self._store.claim(self._id, self._number, holder) is None:
            log.info("job %s attempt %d: stale message, nothing to do", self._id, self._number)
            return Outcome(status=None)
        live.event({"kind": "status", "status": Status.RUNNING, "attempt": self._number})
        outcome = self._see_through(live, asked)
        if outcome.status is not None:
            live.event({"kind": "status", "status": outcome.status, "attempt": self._number})
        return outcome

    def _see_through(self, live: LiveWriter, asked: float) -> Outcome:
        """Run the engine; whatever goes wrong on our side ends the attempt now, not when its lease is over."""
        try:
            return self._run(live, asked)
        except Exception as error:
            log.exception("job %s attempt %d", self._id, self._number)
            self._engine.kill()
            return self._fail(failures.trouble(error))

    def _run(self, live: LiveWriter, asked: float) -> Outcome:
        try:
            assignment = self._within_lease(lambda: self._store.assignment(self._id), asked)
            directory = self._services.artifacts.new_attempt_dir(self._id, self._number)
            earlier = self._services.artifacts.attempt_dirs(self._id, last=self._number - 1)
            if (success := adopt(directory, earlier)) is not None:
                return self._adopt(success)
            recorder = Recorder(directory, live)
            self._start(assignment, directory, earlier, asked)
        except StructureError as error:
            # However often it is tried, there will be none.
            return self._fail(Failure(reason=Reason.INPUT, message=str(error)))
        except (OSError, StoreError) as error:
            return self._fail(failures.not_started(error))
        follower = Follower(
            self._engine,
            recorder,
            live,
            lambda: self._beat(recorder),
            lease=self._services.settings.lease,
            assignment=assignment,
            releasable=_resumable(assignment.request),
        )
        try:
            end = follower.follow(asked)
        finally:
            recorder.close()
        return self._finish(directory, recorder, assignment, end)

    def _start(self, assignment: Assignment, directory: Path, earlier: list[Path], asked: float) -> None:
        request = assignment.corrected_request
        self._known = len(assignment.steerings)
        late = request.structure_of is not None
        if request.structure_of is not None:
            request = replace(request, structure=self._structure_of(request.structure_of.job_id, asked))
        earlier, last_steps = self._usable(earlier, asked)
        self._engine.start(
            request,
            directory=directory,
            files={role: self._services.artifacts.path(ref) for role, ref in request.files.items()},
            policy=self._services.settings.policy,
            gpus=self._gpus,
            checkpoints=[str(path / CHECKPOINTS) for path in earlier],
            last_steps=last_steps,
            checkpoint_interval=self._services.settings.checkpoint,
            late=late,
            job=f"{self._id}_{self._number}",
            steerings=[one.to_json() for one in assignment.steerings],
        )

    def _usable(self, earlier: list[Path], asked: float) -> tuple[list[Path], list[int | None]]:
        """Return the earlier attempts whose checkpoints this one may go on from.

        And up to which step the samples of each count: a checkpoint beyond would leave a gap.
        """
        if not earlier:
            return [], []
        segments = self._within_lease(lambda: self._store.segments(self._id), asked)
        last = {segment.attempt: segment.last_step for segment in segments}
        abandoned = max((segment.attempt for segment in segments if segment.abandoned), default=0)
        usable = [path for path in earlier if int(path.name) > abandoned]
        return usable, [last.get(int(path.name), 0) for path in usable]

    def _structure_of(self, job_id: str, asked: float) -> Structure:
        """Return the final structure of another job, which has succeeded.

        Raises
        ------
        StructureError
            If it has left none.
        """
        holder = self._within_lease(lambda: self._store.holder(job_id), asked)
        structure = read_results(self._services.artifacts.attempt_dir(holder.id, holder.attempt)).structure
        if structure is None:
            raise StructureError(f"job {job_id} has left no final structure")
        return structure

    def _beat(self, recorder: Recorder) -> Orders:
        self._note(recorder.steered)
        orders = self._store.beat(self._id, self._number, step=recorder.step, total=recorder.total, known=self._known)
        self._known += len(orders.steerings)
        return orders

    def _note(self, steered: Mapping[int, int]) -> None:
        """Store at which steps steerings were applied: before a step counts that came after."""
        news = {number: step for number, step in steered.items() if number not in self._told}
        if news and self._store.steered(self._id, self._number, news):
            self._told |= news

    # -- the end ---------------------------------------------------------------------------------------------------

    def _finish(self, directory: Path, recorder: Recorder, assignment: Assignment, end: EndOfRun) -> Outcome:
        message = end.message
        if message is None:
            return Outcome(status=None)
        stopped = message.kind == "done" and message.fields["stopped"]
        if message.kind == "done" and not stopped and end.cause != "cancel":
            return self._succeed(directory, recorder, assignment, message, end)
        if message.kind == "done":
            write_results(directory, _results(message, assignment))
        self._beat_last(recorder)
        usage = self._usage(end)
        if end.cause == "cancel":
            return self._settle(
                Status.CANCELLED, lambda: self._store.end_cancelled(self._id, self._number, usage=usage)
            )
        if end.cause == "pause" and stopped:
            return self._after(lambda: self._store.release(self._id, self._number, usage=usage))
        ending = {
            "usage": usage,
            "correction": _correction(message, end),
            "final": self._is_final(message, end),
            "provenance": _provenance(recorder.made_by, assignment) if recorder.made_by else None,
        }
        return self._fail(self._why(message, assignment, end), **ending)

    def _why(self, message: pipe.Message, assignment: Assignment, end: EndOfRun) -> Failure:
        """Say why a run ended without results."""
        if end.cause == "memory":
            return failures.memory_limit(assignment.limits, end.memory)
        if end.cause == "silence":
            return failures.silence(end.patience)
        if end.cause in ("soft", "hard"):
            return failures.time_limit(end.cause, assignment.limits)
        if message.kind == "failed":
            reason, text, remedy = (message.fields[name] for name in ("reason", "message", "remedy"))
            return Failure(reason=Reason(reason), message=text, remedy=remedy)
        # It has closed the pipe, as a rule by its death; one that lives on would be waited for in vain.
        return failures.death(self._engine.join(GRACE))

    def _is_final(self, message: pipe.Message, end: EndOfRun) -> bool:
        """Say whether no worker could do better: all those of an embedded lab lack what this host lacks."""
        missing = message.kind == "failed" and end.cause is None and message.fields.get("missing", False)
        return bool(missing) and self._services.settings.embedded

    def _usage(self, end: EndOfRun) -> Usage:
        used = self._engine.join(GRACE)
        return Usage(ran=end.ran, cpu=used.cpu, peak_memory=used.peak_memory)

    def _beat_last(self, recorder: Recorder) -> None:
        """Store how far it got; the outcome matters more, so a store that is away is left to the outcome's retries."""
        try:
            self._beat(recorder)
        except StoreError as error:
            log.warning("job %s attempt %d: no last beat: %s", self._id, self._number, error)

    def _succeed(
        self, directory: Path, recorder: Recorder, assignment: Assignment, message: pipe.Message, end: EndOfRun
    ) -> Outcome:
        results = _results(message, assignment)
        write_results(directory, results)
        success = Success(
            step=recorder.step,
            total=recorder.total,
            scalars=scalars(results),
            provenance=results.provenance,
            usage=self._usage(end),
            steered=tuple(recorder.steered.items()),
        )

        def keep() -> None:
            # Nobody may read what is written by an attempt that may not be the current one any more.
            if now() < end.lease_until:
                success.write(directory)

        outcome = self._settle(Status.SUCCEEDED, lambda: self._tell(success), away=keep)
        if outcome.status is not None:
            self._discard_checkpoints()
        return outcome

    def _discard_checkpoints(self) -> None:
        """Delete what nobody goes on from any more; what stays for now goes with the job."""
        places = [path / CHECKPOINTS for path in self._services.artifacts.attempt_dirs(self._id, last=self._number)]
        with suppress(OSError):
            discard([place for place in places if place.exists()])

    def _tell(self, success: Success) -> bool:
        self._note(dict(success.steered))
        return self._store.succeed(
            self._id,
            self._number,
            step=success.step,
            total=success.total,
            scalars=success.scalars,
            provenance=success.provenance,
            usage=success.usage,
        )

    def _adopt(self, success: Success) -> Outcome:
        """Take over what an earlier attempt has finished while the store was away."""
        self._engine.kill()
        log.info("job %s attempt %d: adopts the results of an earlier attempt", self._id, self._number)
        return self._settle(
            Status.SUCCEEDED,
            lambda: self._store.count_all(self._id, self._number, success.step) and self._tell(success),
        )

    def _fail(self, failure: Failure, **ending: Any) -> Outcome:
        """End the attempt without results; `ending` is what else `Store.fail` takes."""
        outcome = self._after(lambda: self._store.fail(self._id, self._number, failure, **ending))
        return replace(outcome, failure=failure if outcome.status is not None else None)

    def _after(self, commit: Callable[[], JobRecord | None]) -> Outcome:
        record = self._insist(commit)
        return Outcome(status=None if record is None else record.status)

    def _settle(self, status: Status, commit: Callable[[], bool], *, away: Callable[[], None] | None = None) -> Outcome:
        return Outcome(status=status if self._insist(commit, away) else None)

    # -- a store that is away --------------------------------------------------------------------------------------

    def _within_lease(self, ask: Callable[[], _T], asked: float) -> _T:
        """Ask the store; while it is away, try again for as long as the lease lasts."""
        return self._insist(ask, until=asked + self._services.settings.lease)

    def _insist(
        self, ask: Callable[[], _T], away: Callable[[], None] | None = None, *, until: float | None = None
    ) -> _T:
        """Ask the store until it answers: it takes no word of an attempt that is no longer the current one.

        Parameters
        ----------
        ask
            What to ask.
        away
            Called once if it does not answer at first.
        until
            When to give up, by `clocks.now`.
        """
        pause = 0.1
        while True:
            try:
                return ask()
            except StoreError:
                if until is not None and now() > until:
                    raise
                if away is not None:
                    away()
                    away = None
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)


def _resumable(request: JobRequest) -> bool:
    """Say whether the run of a request can go on from a checkpoint; one that cannot even begin cannot."""
    try:
        return registry.calculation(request.engine, request.task).resumable
    except Exception:
        return False


def _correction(message: pipe.Message, end: EndOfRun) -> Correction | None:
    """Return what the engine would do differently, if it was not we who ended it."""
    fields = message.fields.get("correction") if message.kind == "failed" and end.cause is None else None
    return Correction(**fields) if fields else None


def _results(message: pipe.Message, assignment: Assignment) -> Results:
    arrays: dict[str, np.ndarray[Any, Any]] = dict(message.arrays)
    data = arrays.pop("$structure").tobytes()
    return Results(
        properties={**message.fields["scalars"], **arrays},
        structure=Structure(data) if message.fields["has_structure"] else None,
        provenance=_provenance(message.fields["provenance"], assignment),
        stopped=message.fields["stopped"],
        units=message.fields["units"],
    )


def _provenance(told: Mapping[str, Any], assignment: Assignment) -> Mapping[str, Any]:
    """Return what made the results, with the request as it was submitted: a corrected one has the key of no job."""
    if not assignment.corrected:
        return told
    asked = assignment.request
    request = {**told["request"], "key": asked.key, "parameters": dict(asked.parameters)}
    return {**told, "request": request, "corrected": dict(assignment.corrected)}


def _worker_name() -> str:
    from nanoos_lab.broker.queue import current_worker

    return current_worker() or f"{socket.gethostname()}-{os.getpid()}"
