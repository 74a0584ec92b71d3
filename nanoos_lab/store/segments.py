"""What one attempt of a job writes while it runs: a segment of thermo and trajectory in its own directory.

::

    head.json        what stays the same: steps in all, columns with their units, periodicity
    thermo.npy       a row a sample, all float64; opened by numpy.load
    trajectory.traj  ASE's own format, append-only; opened by ase.io.read
    frames.npy       where in the .traj file each frame lies, for random access

Each file is readable, without a lock, at any moment of the run and after a kill.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from ase import __version__ as ase_version
from ase import units
from ase.data import atomic_masses
from ase.io import ulm

from nanoos_lab.store.files import replacing, sync_directory
from nanoos_lab.store.growing import GrowingTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nanoos_lab.core.frames import Frame, RunHead, Sample

HEAD = "head.json"
THERMO = "thermo.npy"
TRAJECTORY = "trajectory.traj"
FRAMES = "frames.npy"

#: One row a frame. Times in fs, energy in eV (NaN if unknown), cell in Å; `positions` and `momenta` are byte offsets in
#: the .traj file, −1 if the frame has none.
FRAME = np.dtype(
    [
        ("step", "<i8"),
        ("time", "<f8"),
        ("energy", "<f8"),
        ("positions", "<i8"),
        ("momenta", "<i8"),
        ("cell", "<f8", (3, 3)),
    ]
)
_FRAME_ROW = struct.Struct("<qddqq9d")


@dataclass(frozen=True, kw_only=True)
class SegmentPlace:
    """Where the samples of one attempt lie, and which of them count."""

    #: Directory of the attempt.
    directory: Path
    #: Last step that counts: what an attempt writes that is no longer the current one is not read. None: all.
    last_step: int | None = None


def places(directories: Path | Sequence[Path | SegmentPlace]) -> list[SegmentPlace]:
    """Return the segments that a reader is asked for: one directory, or those of a job's attempts in their order."""
    several = [directories] if isinstance(directories, Path) else directories
    return [SegmentPlace(directory=one) if isinstance(one, Path) else one for one in several]


class SegmentWriter:
    """Writes the samples of one attempt.

    After `flush` returns they outlive a kill of the process and of the machine; before, they may be lost, but never
    spoil what is already there.

    Parameters
    ----------
    directory
        The attempt's own; must hold no segment yet.
    head
        What stays the same in the run.
    """

    def __init__(self, directory: Path, head: RunHead) -> None:
        names = [column.name for column in head.columns]
        self._directory = directory
        self._head = head
        self._energy = names.index("potential_energy") if "potential_energy" in names else None
        self._row = struct.Struct(f"<{len(names) + 1}d")
        self._named = False
        with replacing(directory / HEAD) as file:
            file.write(_head_json(head))
        self._thermo = GrowingTable(directory / THERMO, np.dtype([(name, "<f8") for name in ["step", *names]]))
        self._frames: _FrameWriter | None = None

    def append(self, sample: Sample) -> None:
        """Add a sample: a row of thermo and, if it has one, a frame."""
        self._thermo.append(self._row.pack(sample.step, *sample.row))
        if sample.frame is not None:
            if self._frames is None:
                self._frames = _FrameWriter(self._directory, self._head)
                self._named = False
            energy = None if self._energy is None else float(sample.row[self._energy])
            self._frames.append(sample.frame, energy)

    def flush(self) -> None:
        """Put all samples so far on disk."""
        if self._frames is not None:
            self._frames.flush()
        self._thermo.flush()
        if not self._named:
            sync_directory(self._directory)
            self._named = True

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        if self._frames is not None:
            self._frames.close()
        self._thermo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _FrameWriter:
    """Writes the .traj file through ASE's ULM layer, and the index beside it."""

    def __init__(self, directory: Path, head: RunHead) -> None:
        self._numbers = np.asarray(head.numbers)
        self._masses = head.masses
        self._file = ulm.Writer(directory / TRAJECTORY, "w", tag="ASE-Trajectory")
        self._index = GrowingTable(directory / FRAMES, FRAME)
        self._file.write(
            version=1, ase_version=ase_version, pbc=[bool(flag) for flag in head.pbc], numbers=self._numbers
        )
        if head.masses is not None:
            self._file.write(masses=np.asarray(head.masses, dtype="<f8"))

    def append(self, frame: Frame, energy: float | None) -> None:
        file = self._file
        cell = np.asarray(frame.cell, dtype=float)
        file.write(
            positions=np.ascontiguousarray(frame.positions, dtype="<f8"),
            cell=cell.tolist(),
            info={"step": int(frame.step), "time": float(frame.time)},
        )
        if frame.velocities is not None:
            file.write(momenta=self._momentum_per_velocity * np.asarray(frame.velocities, dtype="<f8"))
        known = energy is not None and np.isfinite(energy)
        if known:
            file.child("calculator").write(name="nanoos_lab", energy=energy)
        row = _FRAME_ROW.pack(
            frame.step,
            frame.time,
            energy if known else np.nan,
            self._offset("positions"),
            self._offset("momenta"),
            *cell.ravel(),
        )
        file.sync()
        self._index.append(row)

    def flush(self) -> None:
        if self._index.flushed:
            return
        # The frames before the index that points to them.
        os.fdatasync(self._file.fd.fileno())
        self._index.flush()

    def close(self) -> None:
        self._file.close()
        self._index.close()

    def _offset(self, name: str) -> int:
        """Return where the array of the frame that is being written begins."""
        entry = self._file.data.get(f"{name}.")
        return int(entry["ndarray"][2]) if entry else -1

    @cached_property
    def _momentum_per_velocity(self) -> np.ndarray[Any, Any]:
        """Factor from Å/fs to ASE's momenta, shape (atoms, 1)."""
        masses = atomic_masses[self._numbers] if self._masses is None else self._masses
        factor: np.ndarray[Any, Any] = np.asarray(masses)[:, np.newaxis] / units.fs
        return factor


def _head_json(head: RunHead) -> bytes:
    plain = {
        "version": 1,
        "total": head.total,
        "columns": [{"name": column.name, "unit": column.unit} for column in head.columns],
        "pbc": [bool(flag) for flag in head.pbc],
    }
    return json.dumps(plain).encode()
