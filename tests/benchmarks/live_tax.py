"""What it costs a run of LAMMPS to be watched: CPU time against the same run unwatched, and against a plain script."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from ase.build import bulk

from tests.benchmarks.figures import Figure, middle, ratio
from tests.benchmarks.place import OURS, place
from tests.processes import engine_of, horse_of

if TYPE_CHECKING:
    from ase import Atoms

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab
    from nanoos_lab.lab.watch import Change

#: Argon, as Lennard and Jones would have it, near its melting point.
LJ: dict[str, Any] = {"potential": "lj", "epsilon": 0.0104, "sigma": 3.4, "cutoff": 8.5, "timestep": 2.0}
#: Unit cells along an edge → steps in which the cadence learns, steps that are measured, and turns.
FULL = {10: (500, 2_000, 24), 20: (60, 200, 12), 40: (10, 60, 10)}
QUICK = {10: (200, 1_000, 2), 20: (20, 150, 1)}


def run(quick: bool) -> list[Figure]:
    """Run bare, unwatched and watched in turns."""
    figures: list[Figure] = []
    with place() as here:
        here.worker(OURS, "simulations")
        for cells, (learning, measured, turns) in (QUICK if quick else FULL).items():
            atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * (cells, cells, cells)
            figures += _compare(here.lab, atoms, _Length(learning, measured), turns)
    return figures


@dataclass(frozen=True)
class _Length:
    """Steps of a run."""

    learning: int
    measured: int

    @property
    def steps(self) -> int:
        return self.learning + self.measured

    @property
    def every(self) -> int:
        """Steps between samples that are kept."""
        return max(self.measured // 2, 1)


def _compare(lab: Lab, atoms: Atoms, length: _Length, turns: int) -> list[Figure]:
    script = _script(lab, atoms)
    bare, unwatched, watched = [], [], []
    for _ in range(turns):
        bare.append(_run_bare(script, length))
        unwatched.append(_run(lab, atoms, length, watched=False))
        watched.append(_run(lab, atoms, length, watched=True))
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


def _script(lab: Lab, atoms: Atoms) -> Path:
    """Return the input that our run gives to LAMMPS."""
    job = _submit(lab, atoms, _Length(0, 1))
    job.result(600)
    return lab.services.artifacts.attempt_dir(job.id, 1) / "work" / "in.lammps"


def _run_bare(script: Path, length: _Length) -> float:
    """Return CPU seconds of a step."""
    numbers = [str(number) for number in (length.learning, length.measured, length.every)]
    command = [sys.executable, "-m", "tests.benchmarks.bare_lammps", str(script), *numbers]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(result.stdout) / length.measured


def _run(lab: Lab, atoms: Atoms, length: _Length, *, watched: bool) -> _Meter:
    job = _submit(lab, atoms, length)
    meter = _Meter(lab, job.id, length.learning)
    subscription = lab.watch.subscribe(job.id, meter.hear, frames=watched)
    job.result(600)
    subscription.close()
    return meter


def _submit(lab: Lab, atoms: Atoms, length: _Length) -> Job:
    return lab.submit(
        atoms, engine="lammps", task="md", temperature=90.0, steps=length.steps, every=length.every, cache=False, **LJ
    )


@dataclass
class _Meter:
    """Reads the CPU clocks of a job's processes whenever its progress is told."""

    lab: Lab
    job_id: str
    #: The first step that counts.
    first: int
    frames: int = 0
    _readings: list[_Reading] = field(default_factory=list)
    _pids: tuple[int, int] | None = None

    @property
    def _whole(self) -> _Reading:
        return self._readings[-1] - self._readings[0]

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
    def horse(self) -> float:
        """The work-horse's share of the CPU time."""
        return self._whole.horse / self.cpu

    def hear(self, change: Change) -> None:
        event = change.event or {}
        if event.get("kind") == "progress" and event["step"] >= self.first:
            # The last step may be heard of when the engine has ended.
            with suppress(FileNotFoundError, psutil.NoSuchProcess, IndexError):
                horse, engine = map(_cpu, self._processes())
                self._readings.append(_Reading(time.perf_counter(), event["step"], horse, engine))
        if change.frame is not None and self._readings:
            self.frames += 1

    def _processes(self) -> tuple[int, int]:
        if self._pids is None:
            job = self.lab.load(self.job_id)
            self._pids = horse_of(job).pid, engine_of(job).pid
        return self._pids


@dataclass(frozen=True)
class _Reading:
    wall: float
    step: int
    horse: float
    engine: float

    def __sub__(self, other: _Reading) -> _Reading:
        return _Reading(
            self.wall - other.wall, self.step - other.step, self.horse - other.horse, self.engine - other.engine
        )


def _cpu(pid: int) -> float:
    """Return the CPU seconds of a process's threads, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text().split()[0])
    return 1e-9 * total
