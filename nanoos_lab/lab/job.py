"""The live handle that a person holds, shaped like a `concurrent.futures.Future`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import JobCancelledError, JobError, JobFailedError
from nanoos_lab.core.record import Failure
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.lab import steering, waiting
from nanoos_lab.lab.results import ResultsView
from nanoos_lab.lab.views import view
from nanoos_lab.store.results import read_results
from nanoos_lab.store.segments import SegmentPlace
from nanoos_lab.store.thermo import read_thermo
from nanoos_lab.store.trajectory import TrajectoryReader

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    import pandas as pd
    from ase import Atoms

    from nanoos_lab.core.frames import Results
    from nanoos_lab.core.record import Attempt, Event, JobRecord
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.lab.lab import Lab
    from nanoos_lab.store.prune import Pruned


class Job:
    """One job; get it from `nanoos_lab.submit` or `nanoos_lab.load`.

    Evaluate it in a notebook cell to see its live card. Two handles of the same job are equal.
    """

    __slots__ = ("_request", "id", "lab")

    def __init__(self, lab: Lab, job_id: str) -> None:
        self.lab = lab
        self.id = job_id
        self._request: JobRequest | None = None

    @property
    def record(self) -> JobRecord:
        """What the store knows of the job now."""
        return self.lab.services.store.get(self.id)

    @property
    def request(self) -> JobRequest:
        """What was asked for."""
        if self._request is None:
            self._request = self.lab.services.store.request(self.id)
        return self._request

    @property
    def name(self) -> str:
        """Its name for people."""
        return self.record.name

    @property
    def status(self) -> Status:
        """Where it stands; equal to its word."""
        return self.record.status

    @property
    def progress(self) -> float:
        """Fraction done, 0–1."""
        return self.record.progress

    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.status.finished

    def running(self) -> bool:
        """Whether a worker runs it now."""
        return self.status is Status.RUNNING

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.status is Status.CANCELLED

    def wait(self, timeout: float | None = None) -> Job:
        """Block until the job has ended; in a notebook cell, ``await job`` leaves the kernel free.

        Parameters
        ----------
        timeout
            Seconds to wait at most; None waits as long as it takes.

        Raises
        ------
        ParameterError
            If the timeout is no number.
        TimeoutError
            If it has not ended by then; it goes on.
        JobError
            If the lab is closed meanwhile; it goes on.
        """
        seconds = waiting.seconds(timeout)
        if not self.done() and not waiting.block(self.lab.watch, [self.id], seconds):
            raise TimeoutError(f"job {self.id} has not ended within {timeout} s; it goes on")
        return self

    def __await__(self) -> Generator[Any, None, Job]:
        return self._end().__await__()

    async def _end(self) -> Job:
        if not await asyncio.to_thread(self.done):
            await waiting.leave(self.lab.watch, [self.id])
        return self

    def result(self, timeout: float | None = None) -> Mapping[str, Any]:
        """Wait for the end and return the results.

        Raises
        ------
        JobFailedError
            If it failed; carries the reason, the engine's own message and a remedy.
        JobCancelledError
            If it was cancelled.
        TimeoutError
            If it has not ended within `timeout` seconds.
        """
        error = self.exception(timeout)
        if error is not None:
            raise error
        return self.results

    def exception(self, timeout: float | None = None) -> JobError | None:
        """Wait for the end and return the error, or None if it succeeded."""
        return _error(self.wait(timeout).record)

    def cancel(self) -> bool:
        """End the job: a queued one at once, a running one within seconds; what it has produced so far is kept.

        Returns
        -------
        bool
            False if it had succeeded or failed before; True, as in `concurrent.futures`, if it was cancelled already.
        """
        return self.lab.cancel(self.id)

    def pause(self) -> bool:
        """Have the job rest: a waiting one is held back, a running one stands still where it is.

        After some minutes a run that can go on from a checkpoint makes room for others.

        Returns
        -------
        bool
            False if it had ended before.
        """
        return self.lab.pause(self.id)

    def resume(self) -> bool:
        """Have a paused job go on.

        Returns
        -------
        bool
            False if it had ended before.
        """
        return self.lab.resume(self.id)

    def steer(self, **changes: Any) -> int:
        """Change parameters of the job on its way, such as ``temperature=900``.

        They hold from the next step at which the run can take them, in every attempt at the job; that step is in
        `steerings`. A job that waits begins with them. Its results are its own then: they answer no equal request.

        Parameters
        ----------
        **changes
            Parameters of its task that can be changed on the way, such as `temperature`, `temperature_end`, `tdamp`,
            and with ensemble="npt" `pressure` and `pdamp`. A new temperature leads from there to `temperature_end` at
            the last step, if there is one.

        Returns
        -------
        int
            The number of the steering, counted from 1.

        Raises
        ------
        InputError
            If engine, task or run have nothing to steer, or a value is not allowed; nothing was changed.
        TransitionError
            If the job has ended, or is being cancelled.
        """
        return self.lab.steer(self.id, changes)

    @property
    def steerable(self) -> pd.DataFrame:
        """What `steer` can change while the job is on its way: a row for each parameter, with its value and unit.

        The value is that which holds once all that was asked for is applied. No rows if there is nothing to steer;
        ``job.steer()`` says why.
        """
        from nanoos_lab.lab.tables import steerable_frame

        return steerable_frame(steering.steerable(self.lab.services, self.id))

    @property
    def steerings(self) -> pd.DataFrame:
        """The changes of its parameters so far: a row for each, by its number, with the step from which it holds.

        The step is missing while the run has not come to it; if the job has ended, the change came too late.
        """
        from nanoos_lab.lab.tables import steerings_frame

        return steerings_frame(self.lab.services.store.steerings(self.id))

    def retry(self, *, limits: Any = None, retries: Any = None) -> Job:
        """Try a failed job again, from its newest checkpoint if it has one.

        Parameters
        ----------
        limits, retries
            New ones, as `Lab.submit` takes them; None keeps the old ones.

        Raises
        ------
        TransitionError
            If it has not failed.
        """
        self.lab.retry(self.id, limits=limits, retries=retries)
        return self

    def delete(self) -> Pruned:
        """Delete the job, which has ended, with its files and nothing else's.

        Raises
        ------
        InputError
            If it has not ended, or another job depends on it or shows its results.
        """
        return self.lab.delete(self)

    @property
    def paused(self) -> bool:
        """Whether it rests, or is asked to."""
        return self.record.paused is not None

    @property
    def cached_from(self) -> str | None:
        """Id of the equal job whose results these are; None if it ran itself."""
        return self.record.cached_from

    @property
    def attempts(self) -> list[Attempt]:
        """Every try at the job, with its worker, host, outcome, error, CPU time and memory."""
        return self.lab.services.store.attempts(self.id)

    @property
    def thermo(self) -> pd.DataFrame:
        """Scalar time series, a row per sample, indexed by step; ``attrs["units"]`` has every column's unit."""
        from nanoos_lab.lab.tables import thermo_frame

        return thermo_frame(read_thermo(self._segments()))

    @property
    def trajectory(self) -> TrajectoryReader:
        """The frames so far, as a sequence of `ase.Atoms`.

        Its `positions` (frames, atoms, 3), `cells`, `steps` and `times` are array-like and stay on disk.
        """
        return TrajectoryReader(self._segments())

    @property
    def results(self) -> Mapping[str, Any]:
        """Final properties by ASE's names, in ASE's units; ``.units`` names them.

        A name that is not among them raises an `UnknownResultError`, a KeyError, which says those that are.

        Raises
        ------
        JobError
            If the job has ended without results, or has not ended.
        """
        outcome = self.outcome
        return ResultsView(outcome.properties, outcome.units)

    @property
    def outcome(self) -> Results:
        """All that it has resulted in: properties, final structure, and what made them.

        Raises
        ------
        JobError
            If it has ended without results, or has not ended.
        """
        record = self.record
        error = _error(record)
        if error is not None:
            raise error
        if not record.status.finished:
            raise JobError(f"job {self.id} is {record.status}: no results yet; job.wait() waits", job_id=self.id)
        holder = self._holder()
        return read_results(self.lab.services.artifacts.attempt_dir(holder.id, holder.attempt))

    @property
    def structure(self) -> Atoms:
        """The final structure.

        Raises
        ------
        JobError
            If the job has not succeeded.
        """
        structure = self.outcome.structure
        if structure is None:
            raise JobError(f"job {self.id} has no final structure", job_id=self.id)
        return structure.atoms()

    @property
    def log(self) -> str:
        """What the engine printed, over all attempts."""
        return "".join(path.read_text(errors="replace") for path in self._logs())

    def log_end(self, size: int = 100_000) -> str:
        """Return the last `size` bytes of the log as text: an engine may print more than fits into memory."""
        parts: list[bytes] = []
        for path in reversed(self._logs()):
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - size))
                parts.insert(0, file.read(size))
            size -= len(parts[0])
        return b"".join(parts).decode(errors="replace")

    @property
    def files(self) -> dict[str, Path]:
        """The files that the last attempt's engine left, by name."""
        holder = self._holder()
        return self.lab.services.artifacts.files(holder.id, holder.attempt)

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What made the results: engine, version, program by digest, inputs, seed, packages, host and resources.

        Raises
        ------
        JobError
            If it has ended without results, or has not ended.
        """
        return self.outcome.provenance

    def reproduce(self, directory: str | Path) -> Path:
        """Write a directory with inputs and a line of shell that gives the same numbers without nanoos_lab.

        ``run.sh`` is that line; what came out of the job is in ``expected``, what made it in ``provenance.json``.

        Parameters
        ----------
        directory
            A new one, or one that is empty.

        Returns
        -------
        pathlib.Path
            The directory.

        Raises
        ------
        InputError
            If the directory is not empty, or the engine has no recipe for such a job.
        JobError
            If the job has no results.
        """
        from nanoos_lab.lab.reproduce import reproduce

        return reproduce(self, directory)

    @property
    def events(self) -> list[Event]:
        """The job's history."""
        return self.lab.services.store.events(self.id)

    @property
    def warning(self) -> str | None:
        """Why the job does not move, if it waits for something that a person must do."""
        return self.lab.warning(self.record)

    @property
    def caveat(self) -> str | None:
        """What has not converged, if there are results all the same; None if nothing is known to be missing."""
        return self.record.caveat

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Job {self.id}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        return view("job", _plain)(self)

    def _holder(self) -> JobRecord:
        """Return the job whose files these are: this one, or the equal one whose results it has."""
        return self.lab.services.store.holder(self.id)

    def _logs(self) -> list[Path]:
        paths = [segment.directory / "log.txt" for segment in self._segments()]
        return [path for path in paths if path.exists()]

    def _segments(self) -> list[SegmentPlace]:
        """Return where the samples of the attempts lie, and which of them count."""
        holder = self._holder()
        store, artifacts = self.lab.services.store, self.lab.services.artifacts
        last = {one.attempt: one.last_step for one in store.segments(holder.id) if one.attempt < holder.attempt}
        places = artifacts.attempt_dirs(holder.id, last=holder.attempt)
        return [SegmentPlace(directory=place, last_step=last.get(int(place.name))) for place in places]


def _error(record: JobRecord) -> JobError | None:
    """Return why a job has ended without results; None if it has results, or has not ended."""
    if record.status is Status.CANCELLED:
        return JobCancelledError(job_id=record.id)
    if record.status is Status.FAILED:
        failure = record.failure or Failure(reason=Reason.BUG, message="no reason was stored")
        return JobFailedError(failure.message, job_id=record.id, reason=failure.reason, remedy=failure.remedy)
    return None


def _plain(job: Job) -> dict[str, str]:
    return {"text/plain": repr(job)}
