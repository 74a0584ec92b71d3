"""Writing and reading frames: the store's segments against `ase.io.Trajectory`."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import Trajectory

from nanoos_lab.core.frames import Frame, RunHead, Sample
from nanoos_lab.core.units import THERMO_COLUMNS, Column, unit_of
from nanoos_lab.store.segments import SegmentWriter
from nanoos_lab.store.trajectory import TrajectoryReader
from tests.benchmarks.figures import Figure, middle, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

#: Edge of the cell in Å.
CELL = 50.0


def run(quick: bool) -> list[Figure]:
    """Write and read in turns."""
    rounds = 2 if quick else 7
    figures: list[Figure] = []
    for atoms, frames in ((1_000, 50), (10_000, 10)) if quick else ((1_000, 1_000), (10_000, 200)):
        figures += _write_and_read(atoms, frames, rounds)
    return figures + _open_long(1_000 if quick else 10_000, rounds)


def _write_and_read(atoms: int, frames: int, rounds: int) -> list[Figure]:
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="nanoos-bench-") as folder:
            place = Path(folder)
            for name, seconds in _round(place, _frames(atoms), frames).items():
                times.setdefault(name, []).append(seconds / frames)
    size = f"{atoms} atoms"
    figures = []
    for what in ("write", "read"):
        ours, ase = times[f"{what}, ours"], times[f"{what}, ase"]
        figures += [
            middle(f"{size}: {what} a frame, ours", [1e3 * value for value in ours], "ms"),
            middle(f"{size}: {what} a frame, ase.io", [1e3 * value for value in ase], "ms"),
            ratio(f"{size}: {what}, ours / ase.io", ours, ase),
        ]
    lazy = ratio(f"{size}: one atom of every frame, ours / ase.io", times["path, ours"], times["read, ase"])
    chosen = ratio(f"{size}: open and read a random frame, ours / ase.io", times["any, ours"], times["any, ase"])
    return [*figures, chosen, lazy]


def _round(place: Path, samples: list[Sample], frames: int) -> dict[str, float]:
    """Return seconds for so many frames."""
    numbers = np.full(len(samples[0].frame.positions), 29)
    chosen = np.random.default_rng(0).integers(frames, size=frames)
    path = str(place / "ase.traj")
    return {
        "write, ours": _timed(lambda: _write_ours(place, numbers, samples, frames)),
        "write, ase": _timed(lambda: _write_ase(path, numbers, samples, frames)),
        "read, ours": _timed(lambda: [atoms.positions for atoms in TrajectoryReader(place)]),
        "read, ase": _timed(lambda: [atoms.positions for atoms in Trajectory(path)]),
        "any, ours": _timed(lambda: [TrajectoryReader(place)[int(index)] for index in chosen]),
        "any, ase": _timed(lambda: [Trajectory(path)[int(index)] for index in chosen]),
        "path, ours": _timed(lambda: np.asarray(TrajectoryReader(place).positions[:, 0])),
    }


def _open_long(frames: int, rounds: int) -> list[Figure]:
    samples = _frames(100)
    numbers = np.full(100, 29)
    ours, ase = [], []
    with tempfile.TemporaryDirectory(prefix="nanoos-bench-") as folder:
        path = str(Path(folder) / "ase.traj")
        _write_ours(Path(folder), numbers, samples, frames)
        _write_ase(path, numbers, samples, frames)
        for _ in range(rounds):
            ours.append(_timed(lambda: len(TrajectoryReader(Path(folder)))))
            ase.append(_timed(lambda: len(Trajectory(path))))
    return [
        middle(f"open {frames} frames, ours", [1e3 * value for value in ours], "ms"),
        middle(f"open {frames} frames, ase.io", [1e3 * value for value in ase], "ms"),
    ]


def _timed(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def _frames(atoms: int) -> list[Sample]:
    """Return a few different samples, to be written again and again."""
    random = np.random.default_rng(0)
    return [
        Sample(
            step=step,
            row=tuple(random.random(len(THERMO_COLUMNS))),
            frame=Frame(
                step=step,
                time=float(step),
                positions=CELL * random.random((atoms, 3)),
                cell=CELL * np.eye(3),
                velocities=random.random((atoms, 3)),
            ),
        )
        for step in range(4)
    ]


def _write_ours(place: Path, numbers: np.ndarray, samples: list[Sample], frames: int) -> None:
    columns = tuple(Column(name=name, unit=unit_of(name)) for name in THERMO_COLUMNS)
    with SegmentWriter(
        place, RunHead(total=frames, columns=columns, numbers=numbers, pbc=(True, True, True))
    ) as writer:
        for index in range(frames):
            writer.append(samples[index % len(samples)])


def _write_ase(path: str, numbers: np.ndarray, samples: list[Sample], frames: int) -> None:
    atoms = Atoms(numbers=numbers, cell=CELL * np.eye(3), pbc=True)
    masses = atoms.get_masses()[:, np.newaxis]
    with Trajectory(path, "w") as writer:
        for index in range(frames):
            frame = samples[index % len(samples)].frame
            atoms.positions[:] = frame.positions
            atoms.set_momenta(masses * frame.velocities / units.fs)
            atoms.calc = SinglePointCalculator(atoms, energy=samples[index % len(samples)].row[2])
            writer.write(atoms)
