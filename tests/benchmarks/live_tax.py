"""What it costs a run of LAMMPS to be watched: CPU time against the same run unwatched, and against a plain script."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from ase.build import bulk

from tests.benchmarks.figures import Figure, middle, ratio
from tests.benchmarks.place import OURS, place

if TYPE_CHECKING:
    from ase import Atoms

    from nanoos_lab.lab.lab import Lab
    from nanoos_lab.lab.watch import Change

#: Argon, as Lennard and Jones would have it, near its melting point.
LJ: dict[str, Any] = {"potential": "lj", "epsilon": 0.0104, "sigma": 3.4, "cutoff": 8.5, "timestep": 2.0}
#: Unit cells along an edge → steps of a run, between kept samples, and turns.
FULL = {10: (4_000, 1_000, 12), 20: (400, 100, 12), 40: (80, 40, 10)}
QUICK = {10: (1_000, 500, 2), 20: (60, 30, 1)}


def run(quick: bool) -> list[Figure]:
    """Run bare, unwatched and watched in turns."""
    figures: list[Figure] = []
    with place() as here:
        here.worker(OURS, "simulations")
        for cells, (steps, every, turns) in (QUICK if quick else FULL).items():
            atoms = bulk("Ar", "fcc", a=5.4, cubic=True) * (cells, cells, cells)
            figures += _compare(here.lab, atoms, _Length(steps, every), turns)
    return figures


@dataclass(frozen=True)
class _Length:
    steps: int
    every: int


def _compare(lab: Lab, atoms: Atoms, length: _Length, turns: int) -> list[Figure]:
    script = _run(lab, atoms, _Length(1, 1), watched=False).input
    bare, unwatched, watched = [], [], []
    for _ in range(turns):
        bare.append(_run_bare(script, length))
        unwatched.append(_run(lab, atoms, length, watched=False))
        watched.append(_run(lab, atoms, length, watched=True))
    cpu = {True: [meter.cpu for meter in watched], False: [meter.cpu for meter in unwatched]}
    horse = [meter.horse / meter.cpu for meter in watched]
    size = f"{len(atoms)} atoms"
    return [
        middle(f"{size}: CPU of the bare run", bare, "s"),
        ratio(f"{size}: watched / unwatched", cpu[True], cpu[False], at_most=1.01),
        ratio(f"{size}: watched / bare", cpu[True], bare, at_most=1.01),
        ratio(f"{size}: unwatched / bare", cpu[False], bare),
        middle(f"{size}: share of the work-horse while watched", [100 * value for value in horse], "%"),
        middle(f"{size}: frames", [meter.frames / meter.wall for meter in watched], "1/s"),
        middle(f"{size}: frames by CPU time", [meter.frames / meter.cpu for meter in watched], "1/s"),
    ]


def _run_bare(script: Path, length: _Length) -> float:
    command = [sys.executable, "-m", "tests.benchmarks.bare_lammps", str(script), str(length.steps), str(length.every)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)


def _run(lab: Lab, atoms: Atoms, length: _Length, *, watched: bool) -> _Meter:
    job = lab.submit(atoms, engine="lammps", task="md", temperature=90.0, steps=length.steps, every=length.every, **LJ)
    meter = _Meter(lab, job.id, length.steps)
    subscription = lab.watch.subscribe(job.id, meter.hear, frames=watched)
    job.result(600)
    subscription.close()
    meter.input = lab.services.artifacts.attempt_dir(job.id, 1) / "work" / "in.lammps"
    return meter


@dataclass
class _Meter:
    """Reads the CPU clocks of a job's processes when its first and its last step are told."""

    lab: Lab
    job_id: str
    last: int
    frames: int = 0
    input: Path = Path()
    _readings: list[tuple[float, float, float]] = field(default_factory=list)
    _pids: tuple[int, int] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def wall(self) -> float:
        """Seconds from the first step to the last."""
        return self._readings[-1][0] - self._readings[0][0]

    @property
    def horse(self) -> float:
        """CPU seconds of the work-horse from the first step to the last."""
        return self._readings[-1][1] - self._readings[0][1]

    @property
    def cpu(self) -> float:
        """CPU seconds of work-horse and engine from the first step to the last."""
        return self.horse + self._readings[-1][2] - self._readings[0][2]

    def hear(self, change: Change) -> None:
        if change.frame is not None:
            self.frames += 1
        event = change.event or {}
        if event.get("kind") == "progress" and event["step"] in (0, self.last):
            horse, engine = self._processes()
            self._readings.append((time.perf_counter(), _cpu(horse), _cpu(engine)))

    def _processes(self) -> tuple[int, int]:
        if self._pids is None:
            horse = self.lab.services.store.attempts(self.job_id)[-1].pid
            self._pids = horse, psutil.Process(horse).children()[0].pid
        return self._pids


def _cpu(pid: int) -> float:
    """Return the CPU seconds of a process's threads, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text().split()[0])
    return 1e-9 * total
