"""A work-horse serves one job after the other, and is replaced when something is wrong with it."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest
from ase.build import bulk

from nanoos_lab.lab import local
from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker.settings import Settings
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nanoos_lab.lab.job import Job


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with one worker."""
    with Lab(Settings.load(home=tmp_path_factory.mktemp("lab"), concurrency=1)) as lab:
        yield lab
        local.stop(lab.settings, now=True)


def horse_of(job: Job) -> int:
    """Return the process id of the work-horse that ran a job."""
    [attempt] = job.lab.services.store.attempts(job.wait(60).id)
    return attempt.pid


def submit(lab: Lab, **parameters: object) -> Job:
    return lab.submit(bulk("Cu"), engine="mock", task="md", steps=10, **parameters)


def test_one_horse_serves_many_jobs_each_with_an_engine_process_of_its_own(one_worker: Lab) -> None:
    jobs = [submit(one_worker, seed=seed) for seed in (1, 2, 3)]
    [horse] = {horse_of(job) for job in jobs}
    assert [str(job.status) for job in jobs] == ["succeeded"] * 3
    # The nursery, and the one engine process that it has ready.
    until(lambda: len(psutil.Process(horse).children(recursive=True)) == 2)


def test_a_failed_attempt_is_the_last_of_its_horse(one_worker: Lab) -> None:
    failed = horse_of(submit(one_worker, fail_at=5))
    next_one = submit(one_worker)
    assert horse_of(next_one) != failed
    assert next_one.status == "succeeded"
    assert not psutil.pid_exists(failed)


def test_a_horse_that_was_killed_while_it_waited_is_replaced(one_worker: Lab) -> None:
    killed = horse_of(submit(one_worker))
    until(lambda: all(worker.state == "idle" for worker in one_worker.services.queue.workers()))
    os.kill(killed, signal.SIGKILL)
    next_one = submit(one_worker)
    assert horse_of(next_one) != killed
    assert next_one.status == "succeeded"


def test_a_horse_leaves_with_its_worker(one_worker: Lab) -> None:
    horse = horse_of(submit(one_worker))
    assert local.stop(one_worker.settings)
    until(lambda: not psutil.pid_exists(horse))
