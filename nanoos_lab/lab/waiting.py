"""Until jobs have ended: a thread or a task of an event loop waits, and the one listener of the lab wakes it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, suppress
from math import inf
from numbers import Real
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import JobError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nanoos_lab.lab.watch import Change, Watch


def seconds(timeout: Any) -> float | None:
    """Return a timeout as a thread can wait for it; None for as long as it takes, and one that has passed is 0.

    Raises
    ------
    ParameterError
        If it is no number.
    """
    if timeout is None:
        return None
    number: Any = timeout
    # NaN is not more than anything.
    if isinstance(timeout, bool) or not isinstance(timeout, Real) or not number >= -inf:
        raise ParameterError("timeout", timeout, "a number of seconds, or None to wait as long as it takes")
    return float(min(max(number, 0), threading.TIMEOUT_MAX))


def block(watch: Watch, ids: Sequence[str], timeout: float | None) -> bool:
    """Block this thread until jobs have ended.

    Parameters
    ----------
    watch
        The feed of their lab.
    ids
        Which jobs.
    timeout
        Seconds to wait at most; None waits as long as it takes.

    Returns
    -------
    bool
        False if they have not all ended in time.

    Raises
    ------
    JobError
        If the lab is closed meanwhile.
    """
    ended = threading.Event()
    with _heard(watch, ids, ended.set):
        return ended.wait(timeout)


async def leave(watch: Watch, ids: Sequence[str]) -> None:
    """Leave the event loop to others until jobs have ended; holds no thread, and may be given up at any time.

    Raises
    ------
    JobError
        If the lab is closed meanwhile.
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        # Whoever has given up may have closed the loop.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set)

    with _heard(watch, ids, wake):
        await ended.wait()


@contextmanager
def _heard(watch: Watch, ids: Sequence[str], wake: Callable[[], None]) -> Iterator[None]:
    """Call `wake`, in another thread, once jobs have ended or their lab is closed.

    Raises
    ------
    JobError
        After the block, if the lab was closed.
    """
    left, closed = set(ids), threading.Event()

    def hear(change: Change) -> None:
        if change.record is not None and change.record.status.finished:
            left.discard(change.job_id)
            if not left:
                wake()

    def close() -> None:
        closed.set()
        wake()

    subscriptions = [watch.subscribe(job_id, hear, closed=close) for job_id in ids]
    try:
        yield
    finally:
        for subscription in subscriptions:
            subscription.close()
    if left and closed.is_set():
        job_id = next(job_id for job_id in ids if job_id in left)
        raise JobError(f"job {job_id} has not ended, and the lab that waited for it is closed", job_id=job_id)
