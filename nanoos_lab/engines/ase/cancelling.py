"""A cancel that ends a calculator in the middle of what it computes, if that takes long."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from nanoos_lab.engines.base import RunContext

#: By what the main thread is interrupted; nothing else in an engine process uses it.
_SIGNAL = signal.SIGUSR1
#: Seconds that a step may last after a cancel, so that it is kept; and until the next try, where it was not computing.
_WAIT = 0.7
_CALCULATES: ContextVar[bool] = ContextVar("calculates", default=False)


class CancelledError(BaseException):
    """The run was cancelled while its calculator was at work; no error, so that no calculator takes it for one."""


@contextmanager
def cancelled_in_time(context: RunContext) -> Iterator[None]:
    """Have a cancel raise `CancelledError` in the main thread inside of `calculation`, if the run goes on for long.

    It is raised as soon as the calculator comes back to Python; a wait for a program ends by it too. Other stops wait
    for the end of a step: a state is to be saved then. Outside of `calculation` the run itself sees that it is to stop,
    and what it is writing is not cut off.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ident, over, lock = threading.get_ident(), threading.Event(), threading.Lock()

    def interrupt() -> None:
        while not over.wait(_WAIT):
            with lock:
                # Where nobody handles it any more it would end the process.
                if not over.is_set():
                    signal.pthread_kill(ident, _SIGNAL)

    def cancel() -> None:
        if context.stop == "cancel":
            threading.Thread(target=interrupt, name="cancel", daemon=True).start()

    before = signal.signal(_SIGNAL, _raise_while_calculating)
    try:
        context.on_stop(cancel)
        yield
    finally:
        with lock:
            over.set()
        signal.signal(_SIGNAL, before)


@contextmanager
def calculation() -> Iterator[None]:
    """Name the part of a run that a cancel may cut off."""
    token = _CALCULATES.set(True)
    try:
        yield
    finally:
        _CALCULATES.reset(token)


def _raise_while_calculating(_number: int, _frame: FrameType | None) -> None:
    if _CALCULATES.get():
        raise CancelledError
