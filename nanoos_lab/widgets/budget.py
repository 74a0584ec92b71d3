"""How much may be under way to a browser that has not yet said that it got it.

A kernel's messages have no back-pressure: the Jupyter server keeps what a slow or closed page does not take. So every
message is counted until the page acknowledges it, and the longer the page is silent, the rarer they become. Pure: the
clock is an argument, in seconds of a monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

#: Bytes of frames that may be under way.
FRAME_BYTES = 32 * 2**20
#: Frames under way to a page that answers; keeps the picture fresh.
WINDOW = 4
#: Seconds without an acknowledgement after which a page counts as silent.
SILENCE = 5.0
#: Messages under way that are told apart; older ones are counted together.
MOST_PENDING = 256
#: A silent page gets a message whenever its silence has grown by this fraction.
PATIENCE = 0.1


class Pace(NamedTuple):
    """Least seconds between two messages."""

    #: To a page that answers.
    answering: float
    #: To a silent page, at first.
    silent: float


#: Frames, ≤ 20 a second.
FRAMES = Pace(0.05, 0.2)
#: Updates of the card, ≤ 10 a second, and ≤ 1 a second if nobody takes them.
UPDATES = Pace(0.1, 1.0)


class Sent(NamedTuple):
    """A message under way."""

    #: Its number, from 1.
    serial: int
    #: Its size in bytes.
    size: int
    #: When it was sent.
    time: float


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What was sent and not acknowledged."""

    #: Serial number of the last message.
    sent: int = 0
    #: Messages under way, oldest first.
    pending: tuple[Sent, ...] = ()
    #: When the page last acknowledged something.
    heard: float = float("-inf")
    #: When something was last sent.
    last: float = float("-inf")

    @property
    def outstanding(self) -> int:
        """Bytes under way."""
        return sum(message.size for message in self.pending)

    def silence(self, now: float) -> float:
        """Return for how many seconds the page has owed an acknowledgement."""
        return now - max(self.heard, self.pending[0].time) if self.pending else 0.0

    def exhausted(self, size: int) -> bool:
        """Whether a frame of `size` bytes is too much, unless it is alone."""
        return bool(self.pending) and self.outstanding + size > FRAME_BYTES

    def may_send_frame(self, size: int, now: float) -> bool:
        """Whether a frame of `size` bytes may be sent; one that may not is dropped, the next is newer."""
        if self.exhausted(size):
            return False
        full = len(self.pending) >= WINDOW and self.silence(now) <= SILENCE
        return not full and self._due(FRAMES, now)

    def may_update(self, now: float) -> bool:
        """Whether an update of the card may be sent; one that may not is merged into the next."""
        return self._due(UPDATES, now)

    def after_send(self, size: int, now: float) -> Budget:
        """Return the budget after a message of `size` bytes; `sent` is its serial number."""
        serial = self.sent + 1
        pending = (*self.pending, Sent(serial, size, now))
        if len(pending) > MOST_PENDING:
            first, second, *rest = pending
            pending = (Sent(second.serial, first.size + second.size, first.time), *rest)
        return replace(self, sent=serial, pending=pending, last=now)

    def after_ack(self, serial: int, now: float) -> Budget:
        """Return the budget after the page acknowledged message `serial` and all before it."""
        rest = tuple(message for message in self.pending if message.serial > serial)
        return replace(self, pending=rest, heard=now)

    def _due(self, pace: Pace, now: float) -> bool:
        silence = self.silence(now)
        pause = max(pace.silent, PATIENCE * silence) if silence > SILENCE else pace.answering
        return now - self.last >= pause
