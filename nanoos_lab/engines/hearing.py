"""Waiting for what a program says: seldom awake, since a process that has slept takes long to come to itself."""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress

#: Most bytes that are read at once: as many as a pipe holds, so that whoever writes more has to wait.
_MOST = 1 << 16
#: Seconds, at most, for which words are gathered before they are read: programs say what belongs together line by line.
#: It is no more than this part of the time that the program lasts so far, since a short one goes on fast.
GATHERING, OF_AGE = 0.2, 0.02
#: Of a program that says much no more are gathered than this part of what a pipe holds.
_PART = 0.25


class Ear:
    """Hears a program by a pipe, and a bell that other threads ring.

    Parameters
    ----------
    pipe
        Descriptor of the end of the pipe that is read.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._bell, self._rope = os.pipe()
        for end in (self._bell, self._rope):
            os.set_blocking(end, False)
        self._any, self._end = select.poll(), select.poll()
        self._any.register(pipe, select.POLLIN)
        # That the other side has closed it is always told.
        self._end.register(pipe, 0)
        for poll in (self._any, self._end):
            poll.register(self._bell, select.POLLIN)
        self._begun = self._heard_at = time.monotonic()
        #: Bytes in a second, of late.
        self._rate = 0.0

    def close(self) -> None:
        """Hear no more; who rings the bell later is not heard."""
        with self._lock:
            os.close(self._bell)
            os.close(self._rope)
            self._bell = self._rope = -1

    def ring(self) -> None:
        """Have `hear` come back; called from any thread, at any time."""
        with self._lock, suppress(BlockingIOError):
            if self._rope >= 0:
                os.write(self._rope, b"!")

    def hear(self, seconds: float) -> bytes | None:
        """Wait for at most so many seconds; return what was said, nothing of which means that no more will come.

        Returns
        -------
        bytes or None
            None if nothing was said in that time, or the bell has rung before.
        """
        if all(descriptor != self._pipe for descriptor, _ in self._any.poll(1000 * seconds)):
            self._take_rings()
            return None
        # At most till its end, or till the bell rings, which is heard the next time.
        self._end.poll(1000 * self._gathering())
        data = os.read(self._pipe, _MOST)
        self._learn(len(data))
        return data

    def _take_rings(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._bell, _MOST)

    def _gathering(self) -> float:
        """Return the seconds for which there is certainly room for more, or less."""
        room = _PART * _MOST / self._rate if self._rate else GATHERING
        return min(GATHERING, OF_AGE * (time.monotonic() - self._begun), room)

    def _learn(self, count: int) -> None:
        """Note how much was said."""
        before, self._heard_at = self._heard_at, time.monotonic()
        self._rate = count / max(self._heard_at - before, 1e-6)
