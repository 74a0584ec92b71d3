"""Runs of the LAMMPS engine in a process of their own, so that pytest's own process never loads LAMMPS."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import threading
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.request import FileRef, JobRequest
from nanoos_lab.core.resources import Resources
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import program
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.engines.lammps import LammpsEngine, executable, library
from tests.engines.context import RecordingContext
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.frames import Results, RunHead, Sample

_METHOD = multiprocessing.get_context("spawn")


def plain_lmp(folder: Path, *arguments: str, ranks: int = 1) -> str:
    """Run the real binary of the wheel, outside of nanoos_lab; return what it prints."""
    mpi, launcher, binary = library.mpi_library(), executable.launcher_of_wheel(), executable.of_wheel()
    assert mpi
    command = [str(launcher), "-n", str(ranks)] if ranks > 1 else []
    environment = {**os.environ, "LD_LIBRARY_PATH": str(mpi.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(binary), *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a run is treated, apart from its parameters."""

    watched: bool = False
    threads: int = 1
    ranks: int = 1
    allow_shell: bool = False
    #: Live samples, frames alone not counted, after which a stop is asked for.
    stop_after_live: int | None = None
    #: And frames alone.
    stop_after_glimpses: int = 0
    #: Wall seconds after the first sample at which a stop is asked for, from another thread.
    stop_after: float | None = None
    #: Whether nobody takes frames alone.
    broken: bool = False
    #: Samples that it waits for with that, too.
    samples: int = 1
    #: Seconds that a program has to stop by itself after a cancel.
    grace: float = program.GRACE
    #: Variables of the environment besides ours.
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a run handed over, and what it left."""

    results: Results
    head: RunHead
    samples: list[Sample]
    live: list[Sample]
    progress: list[int]
    workdir: Path
    #: Wall seconds between the stop that was asked for and the end.
    stop_took: float
    #: Seconds of CPU time between them: what LAMMPS, unless it has ranks, has computed after it was asked.
    stop_cpu: float

    @property
    def steps(self) -> list[int]:
        return [sample.step for sample in self.samples]

    @property
    def columns(self) -> list[str]:
        return [column.name for column in self.head.columns]

    @property
    def rows(self) -> np.ndarray[Any, Any]:
        return np.array([sample.row for sample in self.samples])

    def series(self, column: str) -> np.ndarray[Any, Any]:
        return self.rows[:, self.columns.index(column)]

    def __getitem__(self, name: str) -> Any:
        return self.results.properties[name]

    @property
    def atoms(self) -> Atoms:
        assert self.results.structure is not None
        return self.results.structure.atoms()


class Outside:
    """Starts runs, one after another, in one process that lives as long as the tests."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._pipe, theirs = _METHOD.Pipe()
        self._process = _METHOD.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def close(self) -> None:
        self._pipe.close()
        self._process.join(10)

    def run(
        self, workdir: Path, structure: Atoms | None, task: str, options: Options | None = None, **parameters: Any
    ) -> Outcome:
        """Check and run; raises what the engine raises."""
        options = options or Options()
        workdir.mkdir(exist_ok=True)
        request, files = submitted(structure, task, EnginePolicy(allow_shell=options.allow_shell), **parameters)
        kind, value = self._answer((request.to_json(), request.structure, files, workdir, options))
        if kind == "engine error":
            message, reason, remedy, correction = value
            raise EngineError(message, reason=reason, remedy=remedy, correction=correction)
        assert kind == "outcome", value
        return value

    def _answer(self, order: object) -> tuple[str, Any]:
        try:
            self._pipe.send(order)
            return self._pipe.recv()
        except BaseException:
            # A run that is given up, at pytest's timeout, still goes on: the next test needs another process.
            self._process.kill()
            self.close()
            self._start()
            raise


def submitted(
    atoms: Atoms | None, task: str, policy: EnginePolicy | None = None, **parameters: Any
) -> tuple[JobRequest, dict[str, Path]]:
    """Do what a submit does: validate, check, name the files by content."""
    engine = LammpsEngine()
    given = validate(engine.tasks[task], parameters, where=f"engine 'lammps', task {task!r}")
    structure = Structure.encode(atoms) if atoms is not None else None
    files = dict(engine.check(structure, task, given, policy or EnginePolicy()))
    refs = {
        role: FileRef(name=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for role, path in files.items()
    }
    request = JobRequest(
        structure=structure, engine="lammps", task=task, parameters=given.model_dump(mode="json"), files=refs
    )
    return request, files


def _serve(pipe: Connection) -> None:
    while True:
        try:
            order = pipe.recv()
        except EOFError:
            os._exit(0)
        try:
            pipe.send(("outcome", _run(*order)))
        except EngineError as error:
            pipe.send(("engine error", (error.message, error.reason, error.remedy, error.correction)))
        except Exception:
            pipe.send(("bug", traceback.format_exc()))


def _run(
    data: dict[str, Any], structure: Structure | None, files: dict[str, Path], workdir: Path, options: Options
) -> Outcome:
    import time

    context = RecordingContext(
        workdir=workdir,
        files=files,
        watched=options.watched,
        resources=Resources(threads=options.threads, ranks=options.ranks),
        policy=EnginePolicy(allow_shell=options.allow_shell),
        stop_after_live=options.stop_after_live,
        stop_after_glimpses=options.stop_after_glimpses,
    )
    if options.broken:
        context.live = _broken
    asked: list[tuple[float, float]] = []
    if options.stop_after is not None:
        after = options.stop_after

        def stop() -> None:
            context.begun.wait(60)
            time.sleep(after)
            until(lambda: len(context.samples) >= options.samples)
            asked.append((time.perf_counter(), time.process_time()))
            context.ask_to_stop()

        threading.Thread(target=stop, daemon=True).start()
    program.GRACE = options.grace
    before = dict(os.environ)
    os.environ.update(options.environment)
    try:
        results = LammpsEngine().run(JobRequest.from_json(data, structure), context)
    finally:
        os.environ.clear()
        os.environ.update(before)
    ended = time.perf_counter(), time.process_time()
    took, used = (end - begin for begin, end in zip(asked[0] if asked else ended, ended, strict=True))
    assert context.head is not None
    return Outcome(
        results, context.head, context.samples, context.live_samples, context.progress_steps, workdir, took, used
    )


def _broken(sample: Sample) -> None:
    if not sample.row:
        raise BrokenPipeError("nobody listens")
