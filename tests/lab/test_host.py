"""More than the machine has is refused where the lab's workers are on it."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from nanoos_lab.broker.queue import WorkerState
from nanoos_lab.core.errors import InputError, ParameterError
from nanoos_lab.core.resources import Resources
from nanoos_lab.engines import program, registry
from nanoos_lab.lab import host
from tests.engines.espresso.running import SILICON, silicon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nanoos_lab.lab.lab import Lab

#: What keeps a job from running: a time that no test lives to see.
LATER = datetime.now(UTC) + timedelta(days=30)


def test_more_cores_than_there_are_are_refused_before_a_worker_is_used(lab: Lab) -> None:
    there = len(os.sched_getaffinity(0))
    before = len(lab.jobs())
    for asked in ({"ranks": there + 1}, {"threads": there + 1}, {"ranks": there, "threads": 2}):
        with pytest.raises(ParameterError, match=rf"has {there} cores"):
            lab.submit(bulk("Cu"), engine="lammps", task="static", potential="Cu_u3.eam", resources=asked)
    assert len(lab.jobs()) == before


def test_more_gpus_than_there_are_are_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    settings = lab.settings.model_copy(update={"gpus": ("2", "5")})
    host.check(Resources(gpus=2), settings)
    with pytest.raises(ParameterError, match=r"has 2 \(2, 5\)") as caught:
        host.check(Resources(gpus=3), settings)
    assert (caught.value.field, caught.value.value) == ("resources", {"gpus": 3})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    with pytest.raises(ParameterError, match=r"has 1 \(5\)"):
        host.check(Resources(gpus=2), settings)


def test_a_gpu_is_refused_where_none_shows(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ParameterError, match="shows no GPU; NANOOS_GPUS"):
        lab.submit(bulk("Cu"), engine="mock", task="md", steps=10, resources={"gpus": 1})


@pytest.mark.parametrize(
    ("engine", "task", "parameters", "asked", "says"),
    [
        ("ase", "static", {"calculator": "emt"}, {"ranks": 2}, "engine 'ase', task 'static' uses one core"),
        ("ase", "static", {"calculator": "emt"}, {"threads": 2}, "uses one core"),
        ("lammps", "static", {"potential": "Cu_u3.eam"}, {"gpus": 1}, "uses only ranks, threads"),
        ("tblite", "static", {"method": "GFN2-xTB"}, {"ranks": 2}, "uses only threads"),
    ],
)
def test_what_a_run_could_not_use_is_refused(lab: Lab, engine: str, task: str, parameters, asked, says: str) -> None:
    with pytest.raises(ParameterError, match=says) as caught:
        lab.submit(bulk("Cu"), engine=engine, task=task, resources=asked, **parameters)
    assert (caught.value.field, caught.value.value) == ("resources", asked)


@pytest.fixture
def hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """Have a program looked for where it is not; return where that is."""

    def hide(name: str) -> Path:
        place = tmp_path / name
        monkeypatch.setenv(program.variable(name), str(place))
        registry.forget()
        return place

    yield hide
    registry.forget()


#: A program, a task that needs it, and what is said if it is missing.
NEEDED = [
    ("pw.x", "static", r"engine 'espresso' cannot run on this machine: NANOOS_PW_X is"),
    ("dos.x", "dos", r"engine 'espresso', task 'dos' cannot run on this machine: NANOOS_DOS_X is"),
    ("ph.x", "gamma_phonons", r"engine 'espresso', task 'gamma_phonons' cannot run .*: NANOOS_PH_X is"),
]


@pytest.mark.parametrize(("name", "task", "says"), NEEDED)
def test_a_program_that_is_not_here_is_asked_for_until_it_is_installed(
    lab: Lab, hidden: Callable[[str], Path], name: str, task: str, says: str
) -> None:
    there, before = shutil.which(name), len(lab.jobs())
    missing = hidden(name)
    with pytest.raises(InputError, match=says):
        lab.submit(silicon(), engine="espresso", task=task, **SILICON)
    assert len(lab.jobs()) == before
    missing.symlink_to(str(there))
    assert lab.submit(silicon(), engine="espresso", task=task, not_before=LATER, cache=False, **SILICON).cancel()


def test_a_task_does_not_wait_for_the_program_of_another(lab: Lab, hidden: Callable[[str], Path]) -> None:
    hidden("dos.x")
    host.check_engine("espresso", "bands", lab.settings)
    with pytest.raises(InputError):
        host.check_engine("espresso", "dos", lab.settings)


@pytest.mark.parametrize(("name", "task"), [each[:2] for each in NEEDED])
def test_a_program_that_is_not_here_may_be_on_a_cluster(
    lab: Lab, hidden: Callable[[str], Path], name: str, task: str
) -> None:
    hidden(name)
    host.check_engine("espresso", task, lab.settings.model_copy(update={"redis_url": "redis://example.org"}))
    with pytest.raises(InputError):
        host.check_engine("espresso", task, lab.settings)


def test_of_a_cluster_nobody_knows_by_this_machine(lab: Lab) -> None:
    cluster = lab.settings.model_copy(update={"redis_url": "redis://example.org"})
    assert not cluster.embedded
    host.check(Resources(ranks=100_000, gpus=8), cluster)


def worker(name: str, *cores: int, gpus: int | None = 0, queue: str = "simulations") -> WorkerState:
    """A worker with so many cores on each of its nodes; one without any does not say."""
    has = {"cores": cores, "gpus": gpus} if cores else {}
    return WorkerState(name=name, host=name, queues=(queue,), state="idle", pid=1, heartbeat=datetime.now(UTC), **has)


SMALL, LARGE, WIDE = worker("small", 2), worker("large", 64, gpus=4), worker("wide", 3, 3)


@pytest.mark.parametrize(
    ("asked", "workers"),
    [
        (Resources(ranks=16, threads=4, gpus=4), [SMALL, LARGE]),
        (Resources(ranks=2, threads=3), [SMALL, WIDE]),
        # Such a worker may yet come, or be there without saying so.
        (Resources(ranks=65), []),
        (Resources(ranks=65), [worker("other", 2, queue="default")]),
        (Resources(gpus=5), [SMALL, LARGE, worker("plain")]),
    ],
    ids=["one has it", "one has it on two nodes", "none is there", "none serves the queue", "one does not say"],
)
def test_what_a_worker_of_a_cluster_may_have_is_let_through(asked: Resources, workers: list[WorkerState]) -> None:
    host.check_workers(asked, "simulations", workers)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (Resources(ranks=65), "ranks · threads is 65, and the best worker of queue 'simulations', on large, has 64"),
        (Resources(ranks=16, threads=5), "ranks · threads is 80"),
        (Resources(gpus=5), "on large, has 64 cores and 4 GPUs; start a worker that has more first"),
        (Resources(ranks=65, gpus=4), "ranks · threads is 65"),
    ],
)
def test_what_no_worker_of_a_cluster_has_is_refused(asked: Resources, says: str) -> None:
    with pytest.raises(ParameterError, match=says):
        host.check_workers(asked, "simulations", [SMALL, LARGE])


def test_ranks_whose_threads_are_on_no_node_together_are_refused() -> None:
    for asked in (Resources(ranks=3, threads=2), Resources(threads=4)):
        with pytest.raises(ParameterError, match=r"on wide, has 3 \+ 3 cores on 2 nodes"):
            host.check_workers(asked, "simulations", [SMALL, WIDE])
