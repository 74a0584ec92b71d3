"""What a process does that answers for others: it ends with its parent, adopts orphans, and ends what is left."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nanoos_lab.worker.strays import marked

if TYPE_CHECKING:
    from collections.abc import Collection

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: Seconds that killed processes have to be gone.
PATIENCE = 2.0


def end_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent dies, however it dies.

    Parameters
    ----------
    parent
        Process id of the parent, which may have died already: then this process ends.
    number
        The signal.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, one that has made itself a daemon included."""
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_children(keep: Collection[int] = ()) -> None:
    """Kill every child of this process, and what it adopts meanwhile, until none is left.

    Parameters
    ----------
    keep
        Process ids of children that live on.
    """
    deadline = time.monotonic() + PATIENCE
    while _children_left(keep) and time.monotonic() < deadline:
        for pid in _children():
            if pid not in keep:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        time.sleep(0.002)


def descendants(pid: int) -> list[int]:
    """Return the process ids of all that a process has started, directly or not, and that has not ended.

    Ranks that srun has started are children of Slurm's; those on this host carry the mark that it carries.
    """
    import psutil

    try:
        found = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    launchers = set()
    for child in found:
        with suppress(psutil.NoSuchProcess):
            if child.name() == "srun":
                launchers.add(child.pid)
    return list({child.pid for child in found} | (_ranks_of(launchers) if launchers else set()))


def _ranks_of(launchers: Collection[int]) -> set[int]:
    marks = dict(marked())
    theirs = {marks[pid] for pid in launchers if pid in marks}
    return {pid for pid, mark in marks.items() if mark in theirs}


def _children_left(keep: Collection[int]) -> bool:
    """Say whether there may be children besides those that live on; for none at all one call of the system tells."""
    if keep:
        return any(pid not in keep for pid in _children())
    with suppress(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    return False


def _children() -> list[int]:
    import psutil

    return [child.pid for child in psutil.Process().children()]


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
