"""A file that another program writes, line by line as it grows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIECE = 1 << 18


class Tail:
    """Remembers how far the file was read; it need not be there yet.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0
        self._rest = b""

    def lines(self) -> Iterator[str]:
        """Yield the whole lines that came since the last call, with their ends."""
        # Opened anew each time: only so does a file that another host writes show what is new.
        try:
            file = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            while data := os.pread(file, _PIECE, self._place):
                self._place += len(data)
                *whole, self._rest = (self._rest + data).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace") + "\n"
        finally:
            os.close(file)
