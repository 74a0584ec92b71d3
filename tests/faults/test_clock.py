"""The clock of the computer is set by an hour, forwards or backwards, while a job runs: nothing comes of it."""

from __future__ import annotations

import subprocess
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from nanoos_lab.lab import local
from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker.settings import Settings
from tests.fixtures.programs import program
from tests.processes import horse_of
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600
#: Longer than it takes the reconciler to make its next pass.
LEASE = 8.0


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tells a process another time of day, and leaves the time since the boot alone."""
    built = tmp_path_factory.mktemp("clock") / "clock.so"
    compiler = program("gcc", package="gcc")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", built, Path(__file__).with_name("clock.c")], check=True)
    return built


@pytest.fixture
def clock(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file by which the clock of processes that start from now on is set."""
    file = tmp_path / "clock"
    file.write_text("0")
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("CLOCK_OFFSET", str(file))
    return file


@pytest.fixture
def lab(tmp_path: Path, clock: Path) -> Iterator[Lab]:
    """An embedded lab, all of whose processes look at that clock."""
    with Lab(Settings.load(home=tmp_path / "home", concurrency=1, lease=LEASE)) as lab:
        yield lab
        local.stop(lab.settings, now=True)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_run_goes_on_whatever_the_clock_says(lab: Lab, clock: Path, jump: int) -> None:
    job = lab.submit(bulk("Cu"), engine="mock", task="md", steps=100, every=10, duration=2 * LEASE)
    until(lambda: job.status == "running" and len(job.thermo) > 0)
    # Its work-horse says nothing for a moment, shorter than its lease, so that the reconciler comes first.
    horse = horse_of(job)
    horse.suspend()
    clock.write_text(str(jump))
    moment = time.monotonic()
    until(lambda: time.monotonic() > moment + 0.8 * LEASE)
    horse.resume()
    until(lambda: job.status.finished)
    assert job.status == "succeeded"
    assert [attempt.outcome for attempt in job.attempts] == ["succeeded"]
    assert job.thermo.index.tolist() == list(range(0, 101, 10))
    # The store was there when the clock was set.
    assert abs(job.record.ended - job.record.started - timedelta(seconds=jump)) < timedelta(seconds=60)


def test_new_jobs_and_cancels_are_heard_after_the_clock_was_set(lab: Lab, clock: Path) -> None:
    job = lab.submit(bulk("Cu"), engine="mock", task="md", steps=100, every=10, duration=60.0)
    until(lambda: job.status == "running" and len(job.thermo) > 0)
    clock.write_text(str(-HOUR))
    after = lab.submit(bulk("Cu"), engine="mock", task="md", steps=10, every=5)
    job.cancel()
    until(lambda: job.status.finished and after.status.finished)
    assert (job.status, after.status) == ("cancelled", "succeeded")
