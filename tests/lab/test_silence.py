"""A run of LAMMPS's library that makes no step any more is stopped, as a program that says nothing is."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest
from ase.build import bulk

from nanoos_lab.core.errors import JobFailedError
from nanoos_lab.core.status import Reason
from nanoos_lab.worker.strays import MARK
from tests.waiting import until

if TYPE_CHECKING:
    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab

MD = {"engine": "lammps", "task": "md", "potential": "Cu_u3.eam", "temperature": 300.0, "steps": 10**9, "every": 20}


@pytest.fixture
def hasty_lab(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Lab:
    """A lab in which a run may be quiet for three seconds."""
    monkeypatch.setenv("NANOOS_SILENCE", "3")
    lab: Lab = request.getfixturevalue("own_lab")
    return lab


def processes_of(job: Job) -> list[psutil.Process]:
    """Return the processes that work in the directory of a job, the engine process first."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if job.id in process.cwd():
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_that_makes_no_step_any_more_is_stopped(hasty_lab: Lab, ranks: int) -> None:
    """In one process it stands still itself; of two ranks one does, for which the other waits in MPI for ever."""
    job = hasty_lab.submit(bulk("Cu", cubic=True) * (4, 4, 4), **MD, resources={"ranks": ranks}, retries=1)
    until(lambda: len(job.thermo) > 2, what="rows")
    engine, *others = processes_of(job)
    marked = [one for one in others if "python" in one.name() and job.id in one.environ().get(MARK, "")]
    assert len(marked) == (0 if ranks == 1 else 2)
    (marked or [engine])[-1].send_signal(signal.SIGSTOP)
    error = job.exception(90)
    assert isinstance(error, JobFailedError)
    assert error.reason is Reason.ENGINE
    assert "nothing was heard of the run for 3 s" in str(error)
    until(lambda: not processes_of(job), what="the end of all its processes")
