"""Reading the trajectory of a job, over all its attempts, without loading it."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import atomic_masses
from ase.io import ulm

from nanoos_lab.core.frames import Frame
from nanoos_lab.store.arrays import FrameArray
from nanoos_lab.store.growing import open_table
from nanoos_lab.store.segments import FRAMES, TRAJECTORY, SegmentPlace, places
from nanoos_lab.store.thermo import kept

if TYPE_CHECKING:
    from pathlib import Path


class TrajectoryReader(Sequence[Atoms]):
    """The frames of a job in order, as `ase.Atoms` and as arrays that lie on disk.

    It shows what was written when it was made; a new reader shows what came later. Where attempts overlap, the later
    one counts from its first step on, so that every step is there once. Safe to share between threads.

    Parameters
    ----------
    directories
        The directories of the attempts, in order, and what of them counts; those without frames do no harm.
    """

    def __init__(self, directories: Path | Sequence[Path | SegmentPlace]) -> None:
        found = [(place.last_step, _open(place.directory)) for place in places(directories)]
        self._segments = [segment for _, segment in found if segment is not None]
        counts = kept(
            [last for last, segment in found if segment is not None],
            [segment.index["step"] for segment in self._segments],
        )
        self._ends = np.cumsum(counts, dtype=np.int64)
        self._counts = counts
        self._chosen: range | None = None

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Atoms: ...
    @overload
    def __getitem__(self, index: slice) -> TrajectoryReader: ...
    def __getitem__(self, index: int | slice) -> Atoms | TrajectoryReader:
        """Return a frame, or a reader of some of the frames.

        Positions and cell in Å, momenta in ASE's units, the potential energy in eV where it is known;
        ``info["step"]`` and ``info["time"]`` (fs).
        """
        if isinstance(index, slice):
            part = object.__new__(TrajectoryReader)
            part._segments, part._counts, part._ends = self._segments, self._counts, self._ends
            part._chosen = self._order[index]
            return part
        segment, place = self._find(index)
        return segment.atoms(place)

    def frame(self, index: int) -> Frame:
        """Return a frame as the engine handed it over; velocities in Å/fs."""
        segment, place = self._find(index)
        return segment.frame(place)

    @cached_property
    def steps(self) -> np.ndarray[Any, Any]:
        """Step of each frame, shape (frames,)."""
        return self._column("step", np.empty(0, dtype="<i8"))

    @cached_property
    def times(self) -> np.ndarray[Any, Any]:
        """Simulated time of each frame in fs, shape (frames,)."""
        return self._column("time", np.empty(0))

    @cached_property
    def cells(self) -> np.ndarray[Any, Any]:
        """Cell of each frame in Å, vectors as rows, shape (frames, 3, 3); a memory map if one attempt wrote all."""
        return self._column("cell", np.empty((0, 3, 3)))

    @property
    def positions(self) -> FrameArray:
        """Positions in Å, shape (frames, atoms, 3), read where they are looked at."""
        return self._vectors("positions", "Å")

    @property
    def velocities(self) -> FrameArray | None:
        """Velocities in Å/fs, shape (frames, atoms, 3), read where they are looked at; None if a frame has none."""
        if any((segment.index["momenta"] < 0).any() for segment in self._segments):
            return None
        return self._vectors("velocities", "Å/fs")

    @property
    def numbers(self) -> np.ndarray[Any, Any]:
        """Atomic numbers, shape (atoms,)."""
        return self._segments[-1].numbers if self._segments else np.empty(0, dtype=int)

    @property
    def _order(self) -> range:
        return self._chosen if self._chosen is not None else range(int(self._ends[-1]) if len(self._ends) else 0)

    def _find(self, index: int) -> tuple[_Segment, int]:
        try:
            place = self._order[index]
        except IndexError:
            raise IndexError(f"frame {index} of a trajectory of {len(self)}") from None
        number = int(np.searchsorted(self._ends, place, side="right"))
        before = int(self._ends[number - 1]) if number else 0
        return self._segments[number], place - before

    def _column(self, name: str, empty: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        parts = [segment.index[name][:count] for segment, count in zip(self._segments, self._counts, strict=True)]
        whole = parts[0] if len(parts) == 1 else np.concatenate([empty, *parts])
        chosen = self._order
        if not len(chosen):
            return empty
        return whole[chosen.start : chosen.stop if chosen.stop >= 0 else None : chosen.step]

    def _vectors(self, name: str, unit: str) -> FrameArray:
        def read(frame: int, start: int, stop: int) -> np.ndarray[Any, Any]:
            segment, place = self._find(frame)
            return segment.vectors(name, place, start, stop)

        return FrameArray(len(self), len(self.numbers), read, unit=unit)


class _Segment:
    """The frames of one attempt."""

    def __init__(self, path: Path, index: np.ndarray[Any, Any]) -> None:
        with ulm.open(path) as head:
            self.numbers = np.asarray(head.numbers)
            self._masses = head.get("masses")
            self._pbc = head.pbc
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self._bytes = 3 * 8 * len(self.numbers)
        self.index = index[: self._complete(index)]

    def atoms(self, place: int) -> Atoms:
        row = self.index[place]
        atoms = Atoms(
            numbers=self.numbers,
            masses=self._masses,
            positions=self.vectors("positions", place, 0, len(self.numbers)),
            cell=row["cell"],
            pbc=self._pbc,
            info={"step": int(row["step"]), "time": float(row["time"])},
        )
        if row["momenta"] >= 0:
            atoms.set_array("momenta", self.vectors("momenta", place, 0, len(self.numbers)), float, (3,))
        if np.isfinite(row["energy"]):
            atoms.calc = SinglePointCalculator(atoms, energy=float(row["energy"]))
        return atoms

    def frame(self, place: int) -> Frame:
        row = self.index[place]
        atoms = len(self.numbers)
        return Frame(
            step=int(row["step"]),
            time=float(row["time"]),
            positions=self.vectors("positions", place, 0, atoms),
            cell=np.array(row["cell"]),
            velocities=self.vectors("velocities", place, 0, atoms) if row["momenta"] >= 0 else None,
        )

    def vectors(self, name: str, place: int, start: int, stop: int) -> np.ndarray[Any, Any]:
        """Read the positions (Å), momenta (ASE's units) or velocities (Å/fs) of atoms [start, stop) of a frame."""
        field = "positions" if name == "positions" else "momenta"
        found = np.empty((stop - start, 3), dtype="<f8")
        buffer: Any = found
        os.preadv(self._file, [buffer], int(self.index[field][place]) + 24 * start)
        if name == "velocities":
            masses = atomic_masses[self.numbers] if self._masses is None else self._masses
            found *= units.fs / masses[start:stop, np.newaxis]
        return found

    def _complete(self, index: np.ndarray[Any, Any]) -> int:
        """Return how many frames are whole; after a power cut the last ones may not be."""
        size = os.fstat(self._file).st_size
        count = len(index)
        while count and max(index["positions"][count - 1], index["momenta"][count - 1]) + self._bytes > size:
            count -= 1
        return count


def _open(directory: Path) -> _Segment | None:
    try:
        index = open_table(directory / FRAMES)
    except (FileNotFoundError, ValueError):
        return None
    segment = _Segment(directory / TRAJECTORY, index) if len(index) else None
    return segment if segment is not None and len(segment.index) else None
