"""A job's data as a file for other programs, by the file's extension."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError, NanoosError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nanoos_lab.lab.job import Job


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
    return _write_thermo(job, path) if path.suffix == ".csv" else _write_trajectory(job, path)


def _write_thermo(job: Job, path: Path) -> str:
    thermo = job.thermo
    if thermo.empty:
        raise InputError(f"job {job.id} ({job.status}) has no thermo rows")
    with _complete(path) as new:
        thermo.to_csv(new)
    units = ", ".join(f"{name} ({unit})" for name, unit in thermo.attrs["units"].items())
    return f"{path}: {len(thermo)} rows of step, {units}"


def _write_trajectory(job: Job, path: Path) -> str:
    from nanoos_lab.store.formats import export

    frames = job.trajectory
    if len(frames) == 0:
        raise InputError(f"job {job.id} ({job.status}) has no frames")
    with _complete(path) as new:
        try:
            export(frames, new)
        except NanoosError:
            raise
        except Exception as error:
            # ASE's writers raise whatever their code stumbles over.
            raise InputError(f"ASE cannot write this trajectory as {path.name}: {error}") from error
    return f"{path}: {len(frames)} frames of {len(frames[0])} atoms"


@contextmanager
def _complete(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` that becomes it at the end, unless something fails."""
    new = path.with_name(f".partial-{path.name}")
    try:
        yield new
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
