"""A run of LAMMPS's library that makes no step any more is stopped, as a program that says nothing is."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
from ase.build import bulk

from nanoos_lab.core.errors import JobFailedError
from nanoos_lab.core.status import Reason
from nanoos_lab.worker.strays import MARK
from tests.waiting import until

if TYPE_CHECKING:
    import pytest

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab

#: A script that makes some steps, and then never comes back from a call.
HANGS = """
units metal
read_data structure.data
pair_style eam
pair_coeff * * Cu_u3.eam
velocity all create 300.0 1
fix 1 all nve
thermo 10
run 100
shell sleep 3600
"""


def lab_with(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, **settings: str) -> Lab:
    """Return a lab with settings in its environment."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    lab: Lab = request.getfixturevalue("own_lab")
    return lab


def processes_of(job: Job) -> list[psutil.Process]:
    """Return the processes that carry the mark of a job."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if job.id in process.environ().get(MARK, ""):
                found.append(process)
    return found


def assert_given_up(job: Job, seconds: int) -> None:
    error = job.exception(90)
    assert isinstance(error, JobFailedError)
    assert error.reason is Reason.ENGINE
    assert f"nothing was heard of the run for {seconds} s" in str(error)
    until(lambda: not processes_of(job), what="the end of all its processes")


def test_a_script_that_never_comes_back_from_a_call_is_stopped(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_with(request, monkeypatch, NANOOS_ALLOW_SHELL="true")
    copper = bulk("Cu", cubic=True) * (4, 4, 4)
    job = lab.submit(copper, engine="lammps", task="script", script=HANGS, silence=3)
    assert_given_up(job, 3)
    assert job.thermo.index[-1] == 100


def test_ranks_of_which_one_stands_still_are_stopped(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For it the other waits in MPI for ever."""
    lab = lab_with(request, monkeypatch, NANOOS_SILENCE="8")
    copper = bulk("Cu", cubic=True) * (4, 4, 4)
    how = {"potential": "Cu_u3.eam", "temperature": 300.0, "steps": 10**9, "every": 20}
    job = lab.submit(copper, engine="lammps", task="md", **how, resources={"ranks": 2})
    until(lambda: len(job.thermo) > 2, what="rows")
    [_, rank] = [one for one in processes_of(job) if "rank.py" in " ".join(one.cmdline()) and "python" in one.name()]
    rank.send_signal(signal.SIGSTOP)
    assert_given_up(job, 8)
