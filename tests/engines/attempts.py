"""Attempts at a job in real engine processes, followed over the pipe by a work-horse without store and broker."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import signal
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from nanoos_lab.core.frames import Frame, RunHead, Sample
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.record import Steering
from nanoos_lab.core.request import FileRef, JobRequest
from nanoos_lab.core.resources import Resources
from nanoos_lab.core.structures import Structure
from nanoos_lab.core.units import Column
from nanoos_lab.engines import registry
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.store.segments import SegmentWriter
from nanoos_lab.store.thermo import ThermoTable, read_thermo
from nanoos_lab.store.trajectory import TrajectoryReader
from nanoos_lab.worker import child, pipe
from nanoos_lab.worker.context import PipeContext

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from multiprocessing.connection import Connection
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.engines.base import StopReason

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.engines.preloaded"])


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What befalls an attempt: its process is killed, or it is asked to stop."""

    #: "kill", or the reason for the stop.
    what: str
    #: When the first sample at this step or later was made.
    sample: float = math.inf
    #: When so many checkpoints were made.
    checkpoints: float = math.inf
    #: Changes of parameters that are asked for first, and the sample from which on they are.
    steer: Mapping[str, Any] | None = None
    steer_at: float = math.inf
    #: Whether it comes over the pipe or from another process, some time later; else at once, from another thread.
    outside: bool = False


def at_sample(step: int, what: str = "pause", *, outside: bool = False) -> Trouble:
    return Trouble(what=what, sample=step, outside=outside)


def at_checkpoint(number: int, what: str = "kill", *, outside: bool = False) -> Trouble:
    return Trouble(what=what, checkpoints=number, outside=outside)


@dataclass
class Attempt:
    """What an attempt said and left."""

    directory: Path
    #: "done", "failed", or "gone" if its process died.
    end: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    structure: Structure | None = None
    #: Steps of the checkpoints of which it told.
    checkpoints: list[int] = field(default_factory=list)
    first: int = -1
    #: At which step each steering was applied that had not been before, by its number.
    steered: dict[int, int] = field(default_factory=dict)

    @property
    def log(self) -> str:
        return (self.directory / "log.txt").read_text()

    @property
    def atoms(self) -> Atoms:
        assert self.structure is not None
        return self.structure.atoms()

    @property
    def place(self) -> Path:
        return self.directory / "checkpoints"


class Job:
    """A job whose attempts are made one after another.

    Parameters
    ----------
    home
        Directory of the job.
    engine, task, atoms, parameters
        What to run.
    grid
        Steps between checkpoints.
    interval
        Seconds between checkpoints, where the grid is not given.
    ranks
        MPI ranks.
    """

    def __init__(
        self,
        home: Path,
        engine: str,
        task: str,
        atoms: Atoms,
        *,
        grid: int | None = None,
        interval: float = 60.0,
        ranks: int = 1,
        **parameters: Any,
    ) -> None:
        home.mkdir()
        self._home = home
        self._options = {"checkpoint_interval": interval, "checkpoint_steps": grid}
        self.request, self._files = _submitted(engine, task, atoms, parameters, Resources(ranks=ranks))
        self.attempts: list[Attempt] = []
        #: What the attempts so far have been asked for on their way, with the steps at which it was applied.
        self.steerings: list[Steering] = []

    def attempt(self, trouble: Trouble | None = None) -> Attempt:
        """Make an attempt and follow it to its end."""
        attempt = Attempt(self._home / str(len(self.attempts) + 1))
        attempt.directory.mkdir()
        ours, theirs = _FORKS.Pipe()
        process = _FORKS.Process(target=_engine_process, args=(theirs, trouble))
        process.start()
        theirs.close()
        fields = {
            "request": self.request.to_json(),
            "directory": str(attempt.directory),
            "files": {role: str(path) for role, path in self._files.items()},
            "policy": {"allow_shell": False, "calculators": None},
            "checkpoints": [str(earlier.place) for earlier in self.attempts],
            "steerings": [one.to_json() for one in self.steerings],
            **self._options,
        }
        assert self.request.structure is not None
        pipe.send(ours, "run", fields, {"structure": np.frombuffer(self.request.structure.data, dtype=np.uint8)})
        _follow(ours, attempt, trouble if trouble and trouble.outside else None, process.pid)
        ours.close()
        process.join(90)
        self.attempts.append(attempt)
        if attempt.steered and trouble and trouble.steer:
            for number, step in attempt.steered.items():
                self.steerings.append(Steering(number=number, changes=trouble.steer, step=step))
        return attempt

    @property
    def thermo(self) -> ThermoTable:
        """The rows of all attempts, joined as for the user."""
        table = read_thermo([attempt.directory for attempt in self.attempts])
        assert table is not None
        return table

    @property
    def trajectory(self) -> TrajectoryReader:
        """The frames of all attempts, joined as for the user."""
        return TrajectoryReader([attempt.directory for attempt in self.attempts])

    def series(self, column: str) -> np.ndarray[Any, Any]:
        """Return the values of a column of thermo."""
        names = [each.name for each in self.thermo.columns]
        return self.thermo.values[:, names.index(column)]


def _engine_process(connection: Connection, trouble: Trouble | None) -> None:
    if trouble is not None and not trouble.outside:
        _Troubled.trouble = trouble
        child.PipeContext = _Troubled  # type: ignore[misc]
    child.main(connection, os.getppid())


class _Troubled(PipeContext):
    """The engine's context, in an attempt that trouble befalls."""

    trouble: ClassVar[Trouble]
    _made = 0
    _asked = False

    def sample(self, sample: Sample) -> None:
        super().sample(sample)
        if self.trouble.steer is not None and sample.step >= self.trouble.steer_at and not self._asked:
            self._asked = True
            self._steerings.append(Steering(number=len(self._steerings) + 1, changes=self.trouble.steer))
            assert self._steer is not None
            self._steer()
        if sample.step >= self.trouble.sample:
            self._strike()

    @contextmanager
    def checkpoint(self, step: int, facts: Mapping[str, Any]) -> Iterator[Path]:
        with super().checkpoint(step, facts) as directory:
            yield directory
        self._made += 1
        if self._made == self.trouble.checkpoints:
            self._strike()

    def _strike(self) -> None:
        if self.trouble.what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.stop is None:
            threading.Thread(target=self._ask).start()

    def _ask(self) -> None:
        with self._lock:
            self.stop = cast("StopReason", self.trouble.what)
            interrupt = self._interrupt
        if interrupt is not None:
            interrupt()


def _submitted(
    engine_name: str, task: str, atoms: Atoms, parameters: dict[str, Any], resources: Resources
) -> tuple[JobRequest, dict[str, Path]]:
    engine = registry.get(engine_name)
    given = validate(engine.tasks[task], parameters, where=f"engine {engine_name!r}, task {task!r}")
    structure = Structure.encode(atoms)
    files = dict(engine.check(structure, task, given, EnginePolicy()))
    refs = {
        role: FileRef(name=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for role, path in files.items()
    }
    plain = given.model_dump(mode="json")
    request = JobRequest(
        structure=structure, engine=engine_name, task=task, parameters=plain, files=refs, resources=resources
    )
    return request, files


def _follow(connection: Connection, attempt: Attempt, trouble: Trouble | None, pid: int | None) -> None:
    """Take what the engine says until it has ended."""
    samples = _Samples(attempt)
    while not attempt.end:
        try:
            message = pipe.receive(connection)
        except (EOFError, OSError):
            attempt.end = "gone"
            break
        samples.take(message)
        _note(attempt, message)
        if trouble and (samples.last >= trouble.sample or len(attempt.checkpoints) >= trouble.checkpoints):
            _give(trouble.what, connection, pid)
            trouble = None
    samples.close()


def _give(order: str, connection: Connection, pid: int | None) -> None:
    if order == "kill":
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    else:
        with suppress(OSError):
            pipe.send(connection, "stop", {"reason": order, "grace": 300.0})


def _note(attempt: Attempt, message: pipe.Message) -> None:
    if message.kind == "begin":
        attempt.first = message.fields["first"]
    elif message.kind == "steered":
        attempt.steered[message.fields["number"]] = message.fields["step"]
    elif message.kind == "checkpoint":
        attempt.checkpoints.append(message.fields["step"])
    elif message.kind in ("done", "failed"):
        attempt.end, attempt.fields = message.kind, dict(message.fields)
        if message.fields.get("has_structure"):
            attempt.structure = Structure(message.arrays["$structure"].tobytes())


class _Samples:
    """The recorder's part: samples outlive the engine as soon as they have come."""

    def __init__(self, attempt: Attempt) -> None:
        self.last = -1
        self._directory = attempt.directory
        self._writer: SegmentWriter | None = None

    def take(self, message: pipe.Message) -> None:
        if message.kind == "begin":
            self._writer = SegmentWriter(self._directory, _head(message))
        elif message.kind == "sample":
            assert self._writer is not None, "the head comes before the first sample"
            self._writer.append(_sample(message))
            self.last = message.fields["step"]

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _head(message: pipe.Message) -> RunHead:
    first, second, third = message.fields["pbc"]
    return RunHead(
        total=message.fields["total"],
        columns=tuple(Column(**column) for column in message.fields["columns"]),
        numbers=message.arrays["numbers"],
        pbc=(first, second, third),
        masses=message.arrays.get("masses"),
        first=message.fields["first"],
    )


def _sample(message: pipe.Message) -> Sample:
    fields, arrays = message.fields, message.arrays
    frame = Frame(
        step=fields["step"],
        time=fields["time"],
        positions=arrays["positions"],
        cell=arrays["cell"],
        velocities=arrays.get("velocities"),
    )
    return Sample(step=fields["step"], row=tuple(fields["row"]), frame=frame)
