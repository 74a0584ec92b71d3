"""How much may be under way to a browser that has not yet said that it got it.

A kernel's messages have no back-pressure: the Jupyter server keeps what a slow or closed page does not take. So every
message is counted until the page acknowledges it. Pure: the clock is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

#: Bytes of frames that may be under way.
FRAME_BYTES = 32 * 2**20
#: Frames under way while acknowledgements come in; keeps the picture fresh.
WINDOW = 4
#: Messages under way that are told apart; older ones are counted together.
MOST_PENDING = 256
#: Seconds without an acknowledgement after which a page counts as silent.
SILENCE = 5.0
#: Least seconds between two frames: to a page that answers, and to a silent one.
FRAME_PAUSE = (0.05, 0.2)
#: Least seconds between two updates of the card: to a page that answers, and to a silent one.
UPDATE_PAUSE = (0.1, 1.0)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What was sent and not acknowledged, newest last."""

    #: Serial number of the last message.
    sent: int = 0
    #: (serial number, bytes) of the messages under way.
    pending: tuple[tuple[int, int], ...] = ()
    #: When the page last acknowledged something, in seconds of a monotonic clock; None before the first time.
    heard: float | None = None
    #: When something was last sent.
    last: float = field(default=float("-inf"))

    @property
    def outstanding(self) -> int:
        """Bytes under way."""
        return sum(size for _, size in self.pending)

    def silent(self, now: float) -> bool:
        """Whether messages are under way and the page has not answered for a while."""
        return bool(self.pending) and (self.heard is None or now - self.heard > SILENCE)

    def may_send_frame(self, size: int, now: float) -> bool:
        """Whether a frame of `size` bytes may be sent; one that may not is dropped, the next is newer."""
        if self.outstanding + size > max(FRAME_BYTES, size):
            return False
        silent = self.silent(now)
        if not silent and len(self.pending) >= WINDOW:
            return False
        return now - self.last >= FRAME_PAUSE[silent]

    def may_update(self, now: float) -> bool:
        """Whether an update of the card may be sent; one that may not is merged into the next."""
        return now - self.last >= UPDATE_PAUSE[self.silent(now)]

    def after_send(self, size: int, now: float) -> Budget:
        """Return the budget after a message of `size` bytes; `sent` is its serial number."""
        serial = self.sent + 1
        pending = (*self.pending, (serial, size))
        if len(pending) > MOST_PENDING:
            pending = ((pending[1][0], pending[0][1] + pending[1][1]), *pending[2:])
        return replace(self, sent=serial, pending=pending, last=now)

    def after_ack(self, serial: int, now: float) -> Budget:
        """Return the budget after the page acknowledged message `serial` and all before it."""
        rest = tuple(item for item in self.pending if item[0] > serial)
        return replace(self, pending=rest, heard=now)
