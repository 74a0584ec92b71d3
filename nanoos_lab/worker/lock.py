"""The lock that says which process is the supervisor of an embedded lab.

Of the standard library only: the supervisor takes it before it imports anything heavy, so that its starter need not
wait for that.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def holder(home: Path) -> int | None:
    """Return the process id of the running supervisor of the lab in that directory, or None."""
    path = _path(home)
    if not path.exists():
        return None
    with path.open("r+") as file:
        if _try(file):
            return None
        text = file.read().strip()
        return int(text) if text else 0


@contextmanager
def held(home: Path) -> Iterator[bool]:
    """Hold the lock, with this process's id in its file; False if another process holds it."""
    with _path(home).open("a+") as file:
        # One who only asks whether a supervisor runs holds the lock for a moment.
        deadline = time.monotonic() + 1.0
        while not _try(file):
            if time.monotonic() > deadline:
                yield False
                return
            time.sleep(0.02)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield True


def _path(home: Path) -> Path:
    return home / "pool.lock"


def _try(file: IO[str]) -> bool:
    """Take the lock if it is free; a record lock, since a fork does not inherit it."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
