"""Programs of a run that have outlived it: found by the mark in their environment, on this host, and ended.

A run's own nursery ends what the run has started. If all of work-horse, nursery and engine are killed at once, what
had made itself a daemon lives on; this is the sweep for that.
"""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nanoos_lab.core.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nanoos_lab.store.reading import StoreReader

log = logging.getLogger(__name__)

#: Variable with job and attempt, ``<job id>_<attempt>``, in the environment of all programs that a run starts. What was
#: only forked does not show it: the system shows the environment that a program was started with.
MARK = "NANOOS_ATTEMPT"


def end_strays(store: StoreReader) -> list[int]:
    """Kill the processes of this user on this host whose attempt has ended; return their ids.

    Raises
    ------
    StoreError
        If it does not answer: then nothing is known, and nothing killed.
    """
    found = dict(marked())
    if not found:
        return []
    records = store.get_many({job_id for job_id, _ in found.values()})
    current = {job_id: record.attempt for job_id, record in records.items() if record.status is Status.RUNNING}
    # A job that this store does not know is another lab's.
    strays = [pid for pid, (job_id, number) in found.items() if job_id in records and current.get(job_id) != number]
    for pid in strays:
        log.warning("process %d has outlived its attempt %s_%d; it is killed", pid, *found[pid])
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return strays


def marked() -> Iterator[tuple[int, tuple[str, int]]]:
    """Yield the process ids on this host that carry a mark, with job and attempt."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            environment = (folder / "environ").read_bytes().split(b"\0")
            for entry in environment:
                name, _, value = entry.decode(errors="replace").partition("=")
                if name == MARK and value:
                    job_id, _, number = value.partition("_")
                    yield int(folder.name), (job_id, int(number))
