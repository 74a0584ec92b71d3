"""Between a worker and its work-horse, which serves one job after the other.

A fork of a worker that has engines loaded costs more than a short job: its page tables are copied, and then, page by
page, whatever either side touches. A work-horse runs nothing but our own code, so it need not be forked for every job;
engines are, each time.
"""

from __future__ import annotations

import json
import os
import socket

from nanoos_lab.worker import pipe

#: Seconds between two looks at whether a work-horse lives whose end of the pipe somebody else may hold open.
_LOOK = 1.0
_READY = b"ready"
#: Bytes of the longest message.
_MOST = 1 << 16


class Reins:
    """A pipe of which, after the fork, worker and work-horse hold one end each.

    Parameters
    ----------
    jobs
        How many jobs the work-horse serves before it leaves, with whatever memory it has lost.
    """

    def __init__(self, jobs: int) -> None:
        self._left = jobs
        self._worker, self._horse = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        #: Process id of the work-horse, once it is forked.
        self.pid = 0

    # -- in the worker ----------------------------------------------------------------------------------------------

    def hold(self, pid: int) -> None:
        """Be the worker of the work-horse with this process id."""
        self.pid = pid
        self._horse.close()

    def give(self, *order: str) -> bool:
        """Give the next job to the work-horse, which is ready; False if it is no more."""
        try:
            if self._worker.recv(_MOST) != _READY:
                return False
            self._worker.send(json.dumps(order).encode())
        except OSError:
            return False
        return True

    def ready(self) -> bool:
        """Wait until the work-horse has done its job and is ready for another; False if it has left or died.

        RQ's alarm may ring at any point of this, whichever thread it reaches, and RQ asks again; so what the work-horse
        has said is left in the pipe until it is given something.
        """
        try:
            while not pipe.readable([self._worker.fileno()], _LOOK):
                if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    return False
            return self._worker.recv(_MOST, socket.MSG_PEEK) == _READY
        except OSError:
            return False

    def drop(self) -> None:
        """Let the work-horse go."""
        self._worker.close()

    # -- in the work-horse ------------------------------------------------------------------------------------------

    def take(self) -> None:
        """Be the work-horse."""
        self._worker.close()

    def next(self) -> list[str] | None:
        """Say that the job is done and wait for the next one; None if there will be none."""
        self._left -= 1
        if self._left <= 0:
            return None
        try:
            self._horse.send(_READY)
            data = self._horse.recv(_MOST)
        except OSError:
            return None
        order: list[str] | None = json.loads(data) if data else None
        return order
