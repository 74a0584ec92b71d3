"""Whether a run has been quiet for so long that it counts as stuck."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: What a run writes is looked at after this part of the time for which it may be quiet.
_PART = 0.25


class Quiet:
    """How long nothing has been heard of a run: no message, and no file that has changed.

    A calculator may write to a file for hours until it has energies to tell of.

    Parameters
    ----------
    directory
        Where the run writes.
    """

    def __init__(self, directory: Path) -> None:
        #: Seconds of running time for which it may be quiet; the run says how many.
        self.patience = math.inf
        self._directory = directory
        self._since = self._looked = 0.0
        self._signs: int | None = None

    def heard(self, moment: float) -> None:
        """Note that something was heard; `moment` is the running time in s."""
        self._since = self._looked = moment

    def too_long(self, moment: float) -> bool:
        """Say whether it has lasted for too long; `moment` is the running time in s."""
        if moment - self._looked > _PART * self.patience:
            self._looked = moment
            signs = _signs(self._directory)
            if signs != self._signs:
                self._signs, self._since = signs, moment
        return moment - self._since > self.patience


def _signs(directory: Path) -> int:
    """Return what changes when a file in a directory does."""
    found = set()
    for file in _files(os.fspath(directory)):
        # It may have gone meanwhile.
        with suppress(OSError):
            status = file.stat(follow_symlinks=False)
            found.add((file.path, status.st_mtime_ns, status.st_size))
    return hash(frozenset(found))


def _files(directory: str) -> Iterator[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            else:
                yield entry
