"""Deleting files: whole directories, no link followed."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a directory; 0 for what is not there."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    if not stat.S_ISDIR(found.st_mode):
        return found.st_size
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            total += _size(os.path.join(directory, name))
    return total


def remove(path: Path) -> None:
    """Delete a file, a link (not what it leads to) or a whole directory; nothing happens if it is not there.

    Raises
    ------
    OSError
        If something of it stays.
    """
    try:
        is_directory = stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_directory:
        path.unlink(missing_ok=True)
        return
    _open_up(path)
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        # Somebody else deletes it too; what is left is looked at again.
        if path.exists():
            shutil.rmtree(path)


def remove_all_but(path: Path, names: Collection[str]) -> int:
    """Delete what lies in a directory, except under these names; return the bytes that were freed."""
    freed = 0
    for entry in list(path.iterdir()):
        if entry.name not in names:
            freed += size(entry)
            remove(entry)
    return freed


def _open_up(path: Path) -> None:
    """Let the owner write into the directories below: programs may leave some that are read-only."""
    _open(path)
    for directory, names, _ in os.walk(path):
        for name in names:
            _open(os.path.join(directory, name))


def _open(directory: Path | str) -> None:
    mode = os.lstat(directory).st_mode
    if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(directory, 0o700)


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0
