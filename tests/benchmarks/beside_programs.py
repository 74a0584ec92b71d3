"""What our own processes cost while an engine's program runs: work-horse and engine process, in shares of a core."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

from ase.build import bulk

from tests.benchmarks.clock import cpu_of_threads, until
from tests.benchmarks.figures import Figure, middle
from tests.benchmarks.place import OURS, place
from tests.engines.vasp.conftest import REPLAY
from tests.engines.vasp.running import atoms_of
from tests.engines.vasp.synthetic import Run, potcar
from tests.processes import engine_of, horse_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab

#: What the replay of VASP plays: SCF iterations of so many seconds, so many in each of more steps than are needed.
PLAYED = Run(steps=200, iterations=8, seconds=0.5)
#: Seconds until a run is no longer young, of a measurement, and until the run knows that it is watched.
SETTLING, MEASURED, KNOWN = 20.0, 30.0, 2.0
#: The most that both processes may cost, in percent of a core.
SHARE = 1.0


@dataclass(frozen=True, kw_only=True)
class _Program:
    """What our processes are beside of."""

    #: Its name.
    name: str
    #: What it computes, for longer than is measured.
    atoms: Atoms
    how: dict[str, Any]
    #: The file of its output, and the lines in it that tell of SCF iterations.
    output: str
    iteration: str


#: Warm silicon: pw.x comes to the end of each SCF cycle, and the run to no end.
PW = _Program(
    name="pw.x",
    atoms=bulk("Si", cubic=True),
    how={
        "engine": "espresso",
        "task": "md",
        "pseudos": {"Si": "Si.pz-vbc.UPF"},
        "ecutwfc": 16.0,
        "kpts": (2, 2, 2),
        "temperature": 300.0,
        "steps": 100_000,
    },
    output="espresso.out",
    iteration=r"estimated scf accuracy",
)
VASP = _Program(
    name="VASP (replay)",
    atoms=atoms_of(PLAYED),
    how={"engine": "vasp", "xc": "PBE", "task": "relax", "steps": 1000, "fmax": 1e-6},
    output="vasp.out",
    iteration=r"^DAV:",
)


def run(quick: bool) -> list[Figure]:
    """Run pw.x and the replay of VASP; look at our processes while nobody watches, then while somebody does."""
    turns, part = (1, 0.2) if quick else (3, 1.0)
    with _vasp_replay(), place() as here:
        here.worker(OURS, "simulations")
        return [figure for program in (PW, VASP) for figure in _beside(program, here.lab, turns, part)]


@contextmanager
def _vasp_replay() -> Iterator[None]:
    """Have the replay of the tests stand in for VASP."""
    with tempfile.TemporaryDirectory(prefix="nanoos-bench-") as name:
        root = Path(name)
        program, potential = root / "vasp_std", root / "potentials" / "potpaw_PBE" / "Si" / "POTCAR"
        program.write_text(f"#!/bin/sh\nexec {sys.executable} -I {REPLAY}\n")
        program.chmod(0o755)
        potential.parent.mkdir(parents=True)
        potential.write_text(potcar("Si"))
        played = {"VASP_REPLAY": str(PLAYED.write(root / "recording")), "VASP_REPLAY_SPEED": "1"}
        found = {"NANOOS_VASP_STD": str(program), "VASP_PP_PATH": str(root / "potentials")}
        with patch.dict(os.environ, found | played):
            yield


def _beside(program: _Program, lab: Lab, turns: int, part: float) -> list[Figure]:
    job = lab.submit(program.atoms, cache=False, **program.how)
    meter = _Meter(lab, job, program)
    try:
        until(lambda: _is_underway(job))
        time.sleep(part * SETTLING)
        unwatched = [meter.measure(part * MEASURED) for _ in range(turns)]
        # As a card does, which shows frames.
        subscription = lab.watch.subscribe(job.id, lambda change: None, frames=True)
        time.sleep(KNOWN)
        watched = [meter.measure(part * MEASURED) for _ in range(turns)]
        subscription.close()
    finally:
        job.cancel()
        job.wait(60)
    return [
        *_figures(f"beside {program.name}, unwatched", unwatched),
        *_figures(f"beside {program.name}, watched", watched),
    ]


def _is_underway(job: Job) -> bool:
    """Whether it has come to its first step.

    Raises
    ------
    RuntimeError
        If it never will.
    """
    if job.done():
        raise RuntimeError(f"job {job.id} has ended before it was measured: {job.status}")
    return job.running() and len(job.thermo) > 0


class _Reading(NamedTuple):
    """CPU seconds of both processes, or percent of a core; SCF iterations so far, or in a second."""

    horse: float
    engine: float
    iterations: float


class _Meter:
    """Reads the CPU clocks of a job's processes, and how far its program is."""

    def __init__(self, lab: Lab, job: Job, program: _Program) -> None:
        self._lab, self._job, self._program = lab, job, program

    def measure(self, seconds: float) -> _Reading:
        """Return percent of a core, and SCF iterations in a second."""
        begin, before = time.perf_counter(), self._read()
        time.sleep(seconds)
        after, wall = self._read(), time.perf_counter() - begin
        horse, engine, iterations = ((new - old) / wall for new, old in zip(after, before, strict=True))
        return _Reading(100 * horse, 100 * engine, iterations)

    def _read(self) -> _Reading:
        work = self._lab.services.artifacts.attempt_dir(self._job.id, 1) / "work"
        said = (work / self._program.output).read_text(errors="replace")
        processes = horse_of(self._job), engine_of(self._job)
        horse, engine = (cpu_of_threads(process.pid) for process in processes)
        return _Reading(horse, engine, len(re.findall(self._program.iteration, said, re.MULTILINE)))


def _figures(beside: str, readings: list[_Reading]) -> list[Figure]:
    return [
        middle(f"{beside}: SCF iterations", [one.iterations for one in readings], "1/s"),
        middle(f"{beside}: work-horse", [one.horse for one in readings], "%"),
        middle(f"{beside}: engine process", [one.engine for one in readings], "%"),
        middle(f"{beside}: both, percent of a core", [one.horse + one.engine for one in readings], "%", at_most=SHARE),
    ]
