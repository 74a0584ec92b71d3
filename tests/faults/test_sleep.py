"""A laptop that sleeps, a disk that is full, a process that escapes: what no storm can tell apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil
import pytest
from ase.build import bulk

from nanoos_lab.broker import embedded
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.lab import local
from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker import pool
from nanoos_lab.worker.settings import Settings
from nanoos_lab.worker.strays import MARK, end_strays
from tests.processes import engine_of, horse_of, kill_tree
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nanoos_lab.lab.job import Job

COPPER = bulk("Cu", cubic=True)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """An embedded lab with the shortest lease."""
    with Lab(Settings.load(home=tmp_path / "home", concurrency=1, lease=3.0)) as lab:
        yield lab
        local.stop(lab.settings, now=True)


def submit(lab: Lab, **parameters: object) -> Job:
    return lab.submit(COPPER, engine="mock", task="md", steps=100, every=10, **parameters)


def everything(lab: Lab) -> list[psutil.Process]:
    """Return the supervisor, all below it, and the server."""
    supervisor = psutil.Process(pool.running(lab.settings))
    server = embedded.find(lab.settings.home, embedded.runtime_directory())
    assert server is not None
    return [supervisor, *supervisor.children(recursive=True), psutil.Process(server.pid)]


def test_a_laptop_that_sleeps_and_wakes_finds_its_jobs_going_on(lab: Lab) -> None:
    """All stand still for longer than a lease, and go on: none is reaped, none doubled."""
    job = submit(lab, duration=12.0)
    until(lambda: job.status == "running" and len(job.thermo) > 0)
    asleep = everything(lab)
    for process in asleep:
        process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    until(lambda: time.monotonic() - begun > 5.0)
    for process in asleep:
        process.send_signal(signal.SIGCONT)
    assert job.wait(60).status == "succeeded"
    # Its watchdogs may have ended the engine, whose lease was over by every clock there is but the sleeper's own;
    # then the job went on from where it was.
    assert job.thermo.index.tolist() == list(range(0, 101, 10))
    assert [attempt.outcome for attempt in job.attempts][-1] == "succeeded"


def test_a_worker_that_stands_still_for_longer_than_its_lease_finds_its_job_taken(lab: Lab) -> None:
    job = submit(lab, duration=6.0)
    until(lambda: job.status == "running" and len(job.thermo) > 0)
    horse = psutil.Process(job.attempts[0].pid)
    zombies = [horse, *horse.children(recursive=True)]
    engine = engine_of(job)
    for process in zombies:
        process.send_signal(signal.SIGSTOP)
    until(lambda: job.record.attempt == 2)
    for process in zombies:
        process.send_signal(signal.SIGCONT)
    until(lambda: not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE)
    assert job.wait(90).status == "succeeded"
    assert [attempt.outcome for attempt in job.attempts] == ["lost", "succeeded"]
    assert job.thermo.index.tolist() == list(range(0, 101, 10))


def test_a_daemon_that_has_outlived_all_of_its_run_is_swept(lab: Lab, tmp_path: Path) -> None:
    """All of work-horse, nursery and engine are killed at once, so that nobody is left to end what the run started."""
    job = submit(lab)
    assert job.wait(60).status == "succeeded"
    mark = f"{job.id}_1"
    stray = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=os.environ | {MARK: mark})
    other = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env=os.environ | {MARK: f"{'0' * 32}_1"}
    )
    try:
        assert stray.wait(90) == -signal.SIGKILL
        assert other.poll() is None, "a process of another lab is none of ours"
    finally:
        for one in (stray, other):
            one.kill()
            one.wait()


def test_a_process_of_a_running_attempt_is_no_stray(lab: Lab) -> None:
    store = lab.services.store
    job = submit(lab, duration=30.0)
    until(lambda: job.status == "running")
    with subprocess.Popen(["sleep", "600"], env=os.environ | {MARK: f"{job.id}_1"}) as process:
        try:
            assert end_strays(store) == []
            assert process.poll() is None
            job.cancel()
            job.wait(90)
            until(lambda: process.poll() is not None)
        finally:
            process.kill()


def fill(disk: Path) -> Path:
    """Write until there is no room; return the file that takes it all."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))
    return ballast


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount a disk of that size, in memory."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_said_and_the_job_succeeds_when_there_is_room_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "6m") as disk:
        settings = Settings.load(home=tmp_path / "home", artifacts_url=str(disk / "artifacts"), concurrency=1)
        with Lab(settings) as lab:
            ballast = fill(disk)
            job = submit(lab, retries={"attempts": 3, "delay": 1.0})
            until(lambda: job.record.failures > 0)
            assert job.attempts[0].failure.reason is Reason.RESOURCE
            ballast.unlink()
            assert job.wait(60).status == "succeeded"
            local.stop(settings, now=True)


def test_a_job_that_costs_three_workers_is_given_up(lab: Lab) -> None:
    """The queue behind it goes on."""
    store = lab.services.store
    job = submit(lab, not_before=None, queue="default", retries=100, duration=0.0)
    job.wait(60)
    poison = submit(lab, duration=60.0, retries={"attempts": 100, "delay": 0.0})
    for number in (1, 2, 3):
        until(lambda number=number: poison.record.attempt == number and poison.status == "running")
        until(lambda: len(poison.attempts) == poison.record.attempt)
        kill_tree(horse_of(poison))
    until(lambda: poison.status == "failed")
    assert poison.record.reason is Reason.LOST
    assert "3 times" in poison.record.failure.message
    assert submit(lab).wait(60).status == "succeeded"
    assert store.count()[Status.RUNNING] == 0
