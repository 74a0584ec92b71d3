"""Workers whose one function only notes that it ran; named to ``rq worker`` as ``standin.OurWorker``."""

from __future__ import annotations

import os
import time
from pathlib import Path

from rq import Worker

from nanoos_lab.worker import run
from nanoos_lab.worker.rq_worker import NanoosWorker

__all__ = ["OurWorker", "PlainWorker"]


def run_job(job_id: str, attempt: int) -> str:
    notes = Path(os.environ["STANDIN_NOTES"])
    with notes.open("a") as file:
        file.write(f"{job_id}_{attempt}\n")
    deadline = time.monotonic() + 60
    while notes.with_name("hold").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return "succeeded"


run.run_job = run_job
OurWorker = NanoosWorker
PlainWorker = Worker
