"""What it costs a run of LAMMPS to be watched: CPU time against the same run unwatched, and against a plain script."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from bisect import bisect
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
from ase.build import bulk

from tests.benchmarks.clock import cpu_of_threads
from tests.benchmarks.figures import Figure, middle, ratio
from tests.benchmarks.place import OURS, place
from tests.processes import engine_of, horse_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab
    from nanoos_lab.lab.watch import Change

#: Argon, as Lennard and Jones would have it, near its melting point.
LJ: dict[str, Any] = {"potential": "lj", "epsilon": 0.0104, "sigma": 3.4, "cutoff": 8.5, "timestep": 2.0}
#: Unit cells along an edge → turns.
FULL = {10: 12, 20: 10, 40: 10}
QUICK = {10: 2, 20: 1}
#: Seconds, about, in which the cadence learns, that are measured, and that follow, so that their end is seen.
LEARNING, MEASURED, REST = 12.0, 10.0, 3.0


def run(quick: bool) -> list[Figure]:
    """Run bare, unwatched and watched in turns."""
    figures: list[Figure] = []
    with place() as here:
        here.worker(OURS, "simulations")
        for cells, turns in (QUICK if quick else FULL).items():
            figures += _compare(here.lab, argon(cells), turns, part=0.3 if quick else 1.0)
    return figures


def argon(cells: int) -> Atoms:
    """Return a crystal of 4 · cells³ atoms."""
    return bulk("Ar", "fcc", a=5.4, cubic=True) * (cells, cells, cells)


def submit(lab: Lab, atoms: Atoms, *, steps: int, every: int, queue: str = "simulations", **more: Any) -> Job:
    """Submit a run of molecular dynamics."""
    how = {"temperature": 90.0, "steps": steps, "every": every, **LJ, **more}
    return lab.submit(atoms, engine="lammps", task="md", queue=queue, cache=False, **how)


@dataclass(frozen=True)
class Length:
    """Steps of a run."""

    learning: int
    measured: int
    rest: int = 0

    @classmethod
    def lasting(cls, step: float, part: float) -> Length:
        """Return how many steps take part of the usual time, if one takes `step` seconds."""
        return cls(*(math.ceil(part * seconds / step) for seconds in (LEARNING, MEASURED, REST)))

    @property
    def steps(self) -> int:
        return self.learning + self.measured + self.rest

    @property
    def every(self) -> int:
        """Steps between samples that are kept."""
        return max(self.measured // 2, 1)


def _compare(lab: Lab, atoms: Atoms, turns: int, part: float) -> list[Figure]:
    script = script_of(lab, atoms)
    few = math.ceil(1e6 / len(atoms))
    length = Length.lasting(_run_bare(script, Length(few, few)), part)
    bare, unwatched, watched = in_turns(turns, lambda: _run_bare(script, length), lab, atoms, length)
    cpu = {True: [meter.step for meter in watched], False: [meter.step for meter in unwatched]}
    size = f"{len(atoms)} atoms"
    return [
        middle(f"{size}: CPU of a step, bare", [1e3 * value for value in bare], "ms"),
        ratio(f"{size}: watched / unwatched", cpu[True], cpu[False], at_most=1.01),
        ratio(f"{size}: watched / bare", cpu[True], bare, at_most=1.01),
        ratio(f"{size}: unwatched / bare", cpu[False], bare),
        middle(f"{size}: work-horse's share, watched", [100 * meter.horse for meter in watched], "%"),
        middle(f"{size}: work-horse's share, unwatched", [100 * meter.horse for meter in unwatched], "%"),
        middle(f"{size}: frames", [meter.frames / meter.wall for meter in watched], "1/s"),
        middle(f"{size}: frames by CPU time", [meter.frames / meter.cpu for meter in watched], "1/s"),
    ]


def script_of(lab: Lab, atoms: Atoms) -> Path:
    """Return the input that our run gives to LAMMPS."""
    job = submit(lab, atoms, steps=1, every=1)
    job.result(600)
    return lab.services.artifacts.attempt_dir(job.id, 1) / "work" / "in.lammps"


def _run_bare(script: Path, length: Length) -> float:
    """Return CPU seconds of a step."""
    numbers = [str(number) for number in (length.learning, length.measured, length.every)]
    command = [sys.executable, "-m", "tests.benchmarks.bare_lammps", str(script), *numbers]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(result.stdout) / length.measured


def in_turns(
    turns: int, bare: Callable[[], float], lab: Lab, atoms: Atoms, length: Length, **more: Any
) -> tuple[list[float], list[Meter], list[Meter]]:
    """Return what was measured of a bare run, and of ours, unwatched and watched, in turns."""
    found: tuple[list[float], list[Meter], list[Meter]] = ([], [], [])
    for _ in range(turns):
        found[0].append(bare())
        found[1].append(_run(lab, atoms, length, watched=False, **more))
        found[2].append(_run(lab, atoms, length, watched=True, **more))
    return found


def _run(lab: Lab, atoms: Atoms, length: Length, *, watched: bool, **more: Any) -> Meter:
    job = submit(lab, atoms, steps=length.steps, every=length.every, **more)
    meter = Meter(lab, job.id, length.learning, length.learning + length.measured)
    subscription = lab.watch.subscribe(job.id, meter.hear, frames=watched)
    job.result(600)
    subscription.close()
    return meter


@dataclass
class Meter:
    """Reads the CPU clocks of a job's processes whenever its progress is told."""

    lab: Lab
    job_id: str
    #: The steps between which it is measured.
    first: int
    last: int
    _frames: list[int] = field(default_factory=list)
    _readings: list[_Reading] = field(default_factory=list)
    _pids: tuple[int, int] | None = None

    @property
    def _whole(self) -> _Reading:
        return self._at(self.last) - self._at(self.first)

    def _at(self, step: int) -> _Reading:
        """Return what would have been read at a step: between two readings, a part of the way."""
        after = bisect(self._readings, step, key=lambda reading: reading.step)
        one, other = self._readings[after - 1 : after + 1]
        return one.towards(other, (step - one.step) / (other.step - one.step))

    @property
    def wall(self) -> float:
        """Seconds that were measured."""
        return self._whole.wall

    @property
    def cpu(self) -> float:
        """CPU seconds of work-horse and engine that were measured."""
        return self._whole.horse + self._whole.engine

    @property
    def step(self) -> float:
        """CPU seconds of a step."""
        return self.cpu / self._whole.step

    @property
    def pace(self) -> float:
        """Seconds of a step."""
        return self.wall / self._whole.step

    @property
    def horse(self) -> float:
        """The work-horse's share of the CPU time."""
        return self._whole.horse / self.cpu

    @property
    def frames(self) -> int:
        """Frames that were shown meanwhile."""
        return sum(self.first < step <= self.last for step in self._frames)

    def hear(self, change: Change) -> None:
        event = change.event or {}
        if event.get("kind") == "progress":
            # The last step may be heard of when the engine has ended.
            with suppress(FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess, IndexError):
                horse, engine = map(cpu_of_threads, self._processes())
                self._readings.append(_Reading(time.perf_counter(), event["step"], horse, engine))
        if change.frame is not None:
            self._frames.append(change.frame.step)

    def _processes(self) -> tuple[int, int]:
        if self._pids is None:
            job = self.lab.load(self.job_id)
            self._pids = horse_of(job).pid, engine_of(job).pid
        return self._pids


class _Reading(NamedTuple):
    wall: float
    step: float
    horse: float
    engine: float

    def __sub__(self, other: _Reading) -> _Reading:
        return _Reading(*(one - two for one, two in zip(self, other, strict=True)))

    def towards(self, other: _Reading, part: float) -> _Reading:
        return _Reading(*(one + part * (two - one) for one, two in zip(self, other, strict=True)))
