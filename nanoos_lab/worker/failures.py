"""How an attempt can end without results, in words: what failed, why, and what to do next."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from nanoos_lab.core.record import Failure
from nanoos_lab.core.status import Reason
from nanoos_lab.store.changes import loss

if TYPE_CHECKING:
    from nanoos_lab.core.resources import Limits
    from nanoos_lab.worker.nursery import End

_LOG = "The log of the job (job.log) has its last words."
_GIB = 1024**3


def not_started(error: Exception) -> Failure:
    """Say that the run could not begin."""
    return Failure(reason=Reason.RESOURCE, message=f"the run could not be started: {error}")


def trouble(error: Exception) -> Failure:
    """Say what went wrong in the work-horse itself."""
    if isinstance(error, OSError):
        return Failure(
            reason=Reason.RESOURCE,
            message=f"what the run produced could not be kept: {error}",
            remedy="Look at the free space and the permissions of the artifacts' directory on the worker's host.",
        )
    return Failure(
        reason=Reason.BUG,
        message=f"{type(error).__name__}: {error}",
        remedy="The log of the worker has the traceback; please report it.",
    )


def time_limit(which: str, limits: Limits) -> Failure:
    """Say that the run was stopped at one of its limits."""
    seconds = limits.hard if which == "hard" else limits.soft
    how = "was killed at its hard" if which == "hard" else "was stopped at its soft"
    return Failure(
        reason=Reason.TIME_LIMIT,
        message=f"the run {how} time limit of {seconds:g} s",
        remedy="job.retry(limits={'soft': …, 'hard': …}) goes on from its newest checkpoint.",
    )


def memory_limit(limits: Limits, used: int) -> Failure:
    """Say that we killed the run for its memory."""
    return Failure(
        reason=Reason.MEMORY,
        message=f"the run used {used / _GIB:.2f} GiB of memory, more than its limit of {limits.memory:g} GiB",
        remedy="job.retry(limits={'memory': …}) gives it more; a smaller structure needs less.",
    )


def silence(seconds: float) -> Failure:
    """Say that we killed the run since nothing was heard of it for so many seconds."""
    return Failure(
        reason=Reason.ENGINE,
        message=f"nothing was heard of the run for {seconds:g} s, neither a step nor a file, and it was killed",
        remedy="The log of the job (job.log) has its last words; it may have hung in MPI or a file system. If it only "
        "takes long, NANOOS_SILENCE on the worker's host gives it more seconds; 0 is for never.",
    )


def death(end: End) -> Failure:
    """Say how an engine process died that did not say it itself."""
    if end.code is None:
        return loss("the process that holds the engines was killed")
    if end.code == -signal.SIGKILL:
        peak = f", which it used {end.peak_memory / _GIB:.2f} GiB of at most" if end.peak_memory else ""
        return Failure(
            reason=Reason.MEMORY,
            message="the engine process was killed by the system (signal 9), as a rule because memory ran out" + peak,
            remedy="Use a smaller structure or a host with more memory; `dmesg` on that host tells more.",
        )
    if end.code < 0:
        name = signal.Signals(-end.code).name
        return Failure(reason=Reason.ENGINE, message=f"the engine process crashed ({name})", remedy=_LOG)
    return Failure(
        reason=Reason.ENGINE,
        message=f"the engine process ended without a result (exit code {end.code})",
        remedy=_LOG,
    )
