"""The embedded lab stops when it is told to or when nobody needs it, at any moment, and loses no job by it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from nanoos_lab.lab import local
from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker import pool
from nanoos_lab.worker.settings import Settings
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


def log_of(settings: Settings) -> str:
    path = settings.home / "logs" / "pool.log"
    return path.read_text() if path.exists() else ""


def test_a_job_that_comes_while_the_lab_stops_is_run(tmp_path: Path) -> None:
    settings = Settings.load(home=tmp_path / "home", concurrency=1, idle_timeout=1.0)
    with Lab(settings) as lab:
        lab.start()
        until(lambda: "nobody needs this lab" in log_of(settings))
        job = lab.submit(bulk("Cu"), engine="mock", task="static")
        assert job.wait(60).status == "succeeded"
        local.stop(settings, now=True)


@pytest.mark.parametrize("moment", ["worker-1 started", "keeper started"])
def test_a_stop_that_comes_during_the_start_reaches_everybody(tmp_path: Path, moment: str) -> None:
    settings = Settings.load(home=tmp_path / "home", concurrency=4)
    local.start(settings)
    until(lambda: moment in log_of(settings))
    supervisor = pool.running(settings)
    assert supervisor
    os.kill(supervisor, signal.SIGTERM)
    until(lambda: pool.running(settings) is None)
    assert "stopped" in log_of(settings)
    assert local.state(settings).server is None
