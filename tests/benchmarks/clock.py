"""CPU and wall time of processes, and waiting for conditions."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def cpu_of(command: Sequence[str]) -> float:
    """Run a command to its end; return the CPU seconds, user and system, of it and its children."""
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_utime + usage.ru_stime


def cpu_of_tree(pid: int) -> float:
    """Return the CPU seconds that a process and its descendants, ended or not, have used so far."""
    root = psutil.Process(pid)
    total = 0.0
    for process in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def cpu_of_threads(pid: int) -> float:
    """Return the CPU seconds of the threads that a process has, to the nanosecond; they must not end meanwhile."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text().split()[0])
    return 1e-9 * total


def until(condition: Callable[[], bool], *, timeout: float = 120.0, pause: float = 0.002) -> float:
    """Wait for a condition; return the moment at which it was seen, by `time.perf_counter`."""
    deadline = time.perf_counter() + timeout
    while not condition():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"not within {timeout} s")
        time.sleep(pause)
    return time.perf_counter()
