"""Finding the processes of a job, and ending them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from tests.waiting import until

if TYPE_CHECKING:
    from nanoos_lab.lab.job import Job


def horse_of(job: Job) -> psutil.Process:
    """Return the work-horse of a job's newest attempt."""
    return psutil.Process(job.lab.services.store.attempts(job.id)[-1].pid)


def kill(*processes: psutil.Process) -> None:
    """Kill at once, whatever is still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def kill_tree(root: psutil.Process) -> None:
    """Kill a process and all that it has started; it stands still meanwhile, so that it starts nothing more."""
    with suppress(psutil.NoSuchProcess):
        root.suspend()
        kill(root, *root.children(recursive=True))


def engine_of(job: Job) -> psutil.Process:
    """Return the engine process of a job's newest attempt, which works in the attempt's directory."""
    attempt = job.lab.services.store.attempts(job.id)[-1]
    place = job.lab.services.artifacts.attempt_dir(job.id, attempt.number) / "work"
    found: list[psutil.Process] = []

    def look() -> bool:
        for process in psutil.Process(attempt.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.cwd() == str(place):
                    found.append(process)
        return bool(found)

    until(look)
    return found[0]
