"""A job's data as a file of another program's format, by the file's extension."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nanoos_lab.lab.job import Job
    from nanoos_lab.store.trajectory import TrajectoryReader


def write(job: Job, path: Path, *, replace: bool = False) -> str:
    """Write the thermo table (``.csv``) or the trajectory (any format of ASE's) and say what was written.

    The file appears when it is complete, or not at all.

    Raises
    ------
    InputError
        If the file exists, the job has nothing to write yet, or ASE cannot write that format.
    """
    if path.exists() and not replace:
        raise InputError(f"{path} exists; --force replaces it")
    if path.suffix == ".csv":
        return _write_thermo(job, path)
    return _write_trajectory(job, path)


def _write_thermo(job: Job, path: Path) -> str:
    thermo = job.thermo
    if thermo.empty:
        raise InputError(f"job {job.id} ({job.status}) has no thermo rows")
    with _complete(path) as new:
        thermo.to_csv(new)
    units = ", ".join(f"{name} ({unit})" for name, unit in thermo.attrs["units"].items())
    return f"{path}: {len(thermo)} rows of step, {units}"


def _write_trajectory(job: Job, path: Path) -> str:
    frames = job.trajectory
    if len(frames) == 0:
        raise InputError(f"job {job.id} ({job.status}) has no frames")
    with _complete(path) as new:
        _write_frames(frames, new)
    return f"{path}: {len(frames)} frames of {len(frames[0])} atoms"


def _write_frames(frames: TrajectoryReader, path: Path) -> None:
    """Write frame by frame where the format allows it, so that a long trajectory needs no memory."""
    from ase.io import write as ase_write
    from ase.io.formats import UnknownFileTypeError, filetype
    from ase.io.trajectory import Trajectory

    try:
        kind = filetype(str(path), read=False)
        if kind == "traj":
            with Trajectory(str(path), "w") as file:
                for atoms in frames:
                    file.write(atoms)
        elif kind == "extxyz":
            with path.open("w") as text:
                for atoms in frames:
                    ase_write(text, atoms, format="extxyz")
        else:
            ase_write(path, list(frames), format=kind)
    except (UnknownFileTypeError, ValueError, TypeError, NotImplementedError) as error:
        raise InputError(f"ASE cannot write a trajectory as {path.suffix or path.name!r}: {error}") from error


@contextmanager
def _complete(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` that becomes it at the end, unless something fails."""
    new = path.with_name(f".partial-{path.name}")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
