"""Workers whose one function only notes that it ran; named to ``rq worker`` as ``standin.OurWorker``."""

from __future__ import annotations

import os
import time
from pathlib import Path

from rq import Worker

from nanoos_lab.engines.mock import MockEngine
from nanoos_lab.worker import run
from nanoos_lab.worker.rq_worker import NanoosWorker

__all__ = ["OurWorker", "PlainWorker"]


def load(_engine: MockEngine) -> bool:
    """Note in which process; what is noted beside a job says whether its own was forked from there."""
    global loaded_by
    loaded_by = os.getpid()
    with Path(os.environ["STANDIN_NOTES"]).with_name("loads").open("a") as file:
        file.write(f"{loaded_by}\n")
    return True


def run_job(job_id: str, attempt: int) -> str:
    notes = Path(os.environ["STANDIN_NOTES"])
    with notes.with_name("runs").open("a") as file:
        file.write(f"{os.getppid()} {loaded_by}\n")
    with notes.open("a") as file:
        file.write(f"{job_id}_{attempt}\n")
    deadline = time.monotonic() + 60
    while notes.with_name("hold").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return "succeeded"


#: The process that has loaded what runs of the engine begin with.
loaded_by: int | None = None

run.run_job = run_job
if "STANDIN_LOADS" in os.environ:
    MockEngine.load = load  # type: ignore[attr-defined]
OurWorker = NanoosWorker
PlainWorker = Worker
