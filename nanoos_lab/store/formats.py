"""A trajectory in a file format of the field."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ase.io import write

from nanoos_lab.core.errors import UnknownNameError

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.store.trajectory import TrajectoryReader


def export(trajectory: TrajectoryReader, path: Path, *, format: str | None = None) -> Path:
    """Write a trajectory, or a slice of one, into a file that other programs read.

    Parameters
    ----------
    trajectory
        The frames; they are read one by one.
    path
        Where to; the ending says the format unless `format` does.
    format
        One of the names that `ase.io.write` knows: "extxyz", "traj", "proteindatabank", "vasp-xdatcar", …

    Raises
    ------
    UnknownNameError
        If ASE cannot write that format.
    """
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    try:
        name = format or filetype(str(path), read=False)
    except UnknownFileTypeError:
        name = path.suffix
    writable = [key for key, value in ioformats.items() if value.can_write]
    if name not in writable:
        raise UnknownNameError("trajectory format", name, writable)
    write(path, trajectory if ioformats[name].single is False else trajectory[-1], format=name)
    return path
