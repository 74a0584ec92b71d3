"""Ranks inside a real Slurm: they find each other, and end with their run.

srun gives each task the place that it has in its step, in its environment. A notebook or a worker may be such a task,
and no program that it starts may take that place for its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.resources import Resources, cores
from nanoos_lab.engines.program import Command, Program, nodes
from nanoos_lab.engines.ranks import beside
from tests.engines.context import RecordingContext
from tests.fixtures.programs import program
from tests.fixtures.slurm import NODES
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: A rank that says who it is, in one piece, and stays.
RANK = "import os, time; os.write(1, f'{os.getpid()}\\n'.encode()); time.sleep(600)"
#: The same of where it is.
NODE_RANK = (
    "import os, time; os.write(1, f'{os.environ[\"SLURMD_NODENAME\"]} {os.getpid()}\\n'.encode()); time.sleep(600)"
)
#: The same energies with one rank and with two, of a program and of a library, over workers that this starts.
SUBMITS = """
import json
from ase.build import bulk
import nanoos_lab as nl
from tests.engines.espresso.running import SILICON, silicon

def found(atoms, ranks, **how):
    job = nl.submit(atoms, task="static", cache=False, resources={"ranks": ranks}, **how)
    return job.result(90)["energy"], job.provenance.get("ranks", 1)

copper = {"engine": "lammps", "potential": "Cu_u3.eam"}
print(json.dumps({
    "program": [found(silicon(), ranks, engine="espresso", **SILICON) for ranks in (1, 2)],
    "library": [found(bulk("Cu", cubic=True) * (3, 3, 3), ranks, **copper) for ranks in (1, 2)],
}))
"""
#: The same over two nodes of which each has a core, and what does not go there.
SPREADS = """
import json, os
from ase.build import bulk
import nanoos_lab as nl
from tests.engines.espresso.running import SILICON, silicon

def energy(ranks):
    how = {"engine": "espresso", "task": "static", "cache": False, "resources": {"ranks": ranks}}
    return nl.submit(silicon(), **how, **SILICON).result(90)["energy"]

def refusal(ranks, **how):
    try:
        nl.submit(bulk("Cu"), task="static", resources={"ranks": ranks}, **how).result(90)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

copper = {"engine": "lammps", "potential": "Cu_u3.eam"}
assert len(os.sched_getaffinity(0)) == 1
print(json.dumps({"energies": [energy(1), energy(2)], "three": refusal(3, **copper), "library": refusal(2, **copper)}))
"""
#: Two ranks stand still while their job is paused, go on, and end when it is cancelled.
PAUSES = """
import psutil
import nanoos_lab as nl
from tests.engines.espresso.running import SLOW_SILICON, silicon
from tests.waiting import until

def states():
    found = [one.info for one in psutil.process_iter(["name", "status", "environ"]) if one.info["name"] == "pw.x"]
    return [one["status"] for one in found if (one["environ"] or {}).get("NANOOS_ATTEMPT") == f"{job.id}_1"]

job = nl.submit(silicon(), engine="espresso", task="md", steps=10_000, resources={"ranks": 2}, **SLOW_SILICON)
until(lambda: len(states()) == 2, what="two ranks")
job.pause()
until(lambda: states() == ["stopped"] * 2, what="both stand still")
job.resume()
until(lambda: len(states()) == 2 and "stopped" not in states(), what="both go on")
job.cancel()
job.wait(60)
until(lambda: not states(), what="both have ended")
print("{}")
"""
#: Starts two ranks, and hands on what they say.
ENGINE = f"""
import sys
from functools import partial
from pathlib import Path
from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.resources import Resources
from nanoos_lab.engines.program import Command, Program
from tests.engines.context import RecordingContext

command = Command.of(Path(sys.executable), "-c", {RANK!r}, resources=Resources(ranks=2))
with Program(command, RecordingContext(workdir=Path(sys.argv[1])), output="it.out") as run:
    for line in run.lines():
        if line:
            print(line, flush=True)
"""


@pytest.mark.parametrize(
    "step",
    [(), ("srun", "-n", "1", "-c", "2"), ("srun", "-n", "1", "-c", "2", "--mpi=none")],
    ids=["batch", "step", "step-none"],
)
def test_jobs_run_with_one_rank_and_with_two(slurm: Mapping[str, str], tmp_path: Path, step: tuple[str, ...]) -> None:
    for (alone, one), (together, two) in said_in_slurm(slurm, tmp_path, SUBMITS, *step).values():
        assert together == pytest.approx(alone, abs=1e-6)
        assert (one, two) == (1, 2)


def test_a_job_has_the_cores_of_all_nodes_that_slurm_has_given(slurm: Mapping[str, str], tmp_path: Path) -> None:
    """Of its own host the lab has one core."""
    found = said_in_slurm(slurm, tmp_path, SPREADS, "taskset", "-c", "0", allocated=("-N", "2", "-n", "2"))
    alone, together = found["energies"]
    assert together == pytest.approx(alone, abs=1e-6)
    assert found["three"].startswith("ParameterError: resources={'ranks': 3, 'threads': 1}")
    assert "Slurm has given this lab 1 + 1 cores on 2 nodes" in found["three"]
    assert "2 MPI ranks of 1 threads need 2 cores; there are 1 here" in found["library"]
    assert "An executable, which NANOOS_LMP names, runs on all nodes of Slurm's allocation" in found["library"]


@pytest.mark.usefixtures("two_nodes")
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_ranks_on_two_nodes_end_with_their_run(tmp_path: Path, how: str) -> None:
    context = RecordingContext(workdir=tmp_path)
    command = Command.of(Path(sys.executable), "-c", NODE_RANK, resources=Resources(ranks=2))
    ranks: dict[str, int] = {}
    with Program(command, context, output="it.out") as run:
        for line in run.lines():
            if line:
                node, pid = line.split()
                ranks[node] = int(pid)
            if len(ranks) == 2:
                context.ask_to_stop() if how == "stopped" else run.kill()
        run.wait()
    until(lambda: not any(map(psutil.pid_exists, ranks.values())), what="the ranks have ended")
    assert set(ranks) == set(NODES)


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"SLURM_JOB_CPUS_PER_NODE": "4(x2),2"}, None),
        ({"SLURM_JOB_CPUS_PER_NODE": "4(x2),2", "SLURM_JOB_ID": "1"}, (4, 4, 2)),
        ({"SLURM_JOB_CPUS_PER_NODE": "4(x2),2", "SLURM_JOB_ID": "1", "NANOOS_MPIRUN": "true"}, None),
        ({"SLURM_JOB_CPUS_PER_NODE": "1", "SLURM_JOB_ID": "1"}, None),
        # A step may have less of it.
        ({"SLURM_JOB_CPUS_PER_NODE": "999", "SLURM_JOB_ID": "1"}, (999,)),
    ],
)
def test_ranks_may_be_on_all_nodes_where_srun_starts_them(
    monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], expected: tuple[int, ...] | None
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_JOB_CPUS_PER_NODE", "NANOOS_MPIRUN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert nodes() == (expected or (cores(),))
    assert nodes(ranks=1) == (cores(),)


def test_ranks_stand_still_while_their_job_is_paused(slurm: Mapping[str, str], tmp_path: Path) -> None:
    said_in_slurm(slurm, tmp_path, PAUSES)


def said_in_slurm(
    slurm: Mapping[str, str], place: Path, code: str, *step: str, allocated: Sequence[str] = ("-N", "1", "-n", "2")
) -> dict[str, Any]:
    """Return what Python code says in an allocation of two cores, as a researcher with a lab there."""
    program("pw.x", package="quantum-espresso")
    own = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATABASE_URL")}
    environment = {**own, **slurm, "NANOOS_HOME": str(place / "home"), "PYTHONPATH": os.getcwd()}
    call = partial(subprocess.run, env=environment, capture_output=True, text=True)
    # Slurm ends it before the time here is up.
    try:
        done = call(
            ["salloc", "-Q", *allocated, "-t", "4", *step, sys.executable, "-c", code], timeout=300, check=False
        )
    finally:
        down = call([Path(sys.executable).with_name("nanoos-lab"), "down", "--now"], timeout=60, check=False)
    assert down.returncode == 0, down.stderr
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.usefixtures("allocation")
def test_a_stop_ends_all_ranks(tmp_path: Path) -> None:
    context = RecordingContext(workdir=tmp_path)
    command = Command.of(Path(sys.executable), "-c", RANK, resources=Resources(ranks=2))
    assert command.arguments[0].endswith("/srun")
    ranks: list[int] = []
    with Program(command, context, output="it.out") as run:
        for line in run.lines():
            if line and line.isdigit():
                ranks.append(int(line))
            if len(ranks) == 2:
                context.ask_to_stop()
        run.wait()
    until(lambda: not any(map(psutil.pid_exists, ranks)), what="the ranks have ended")
    assert len(ranks) == 2


@pytest.mark.usefixtures("allocation")
@pytest.mark.parametrize("how", ["nothing is heard", "its engine fails"])
def test_ranks_end_with_a_run_that_is_given_up(tmp_path: Path, how: str) -> None:
    command = Command.of(Path(sys.executable), "-c", RANK, resources=Resources(ranks=2))
    ranks: list[int] = []
    silence = 2.0 if how == "nothing is heard" else None

    def hear() -> None:
        with Program(command, RecordingContext(workdir=tmp_path), output="it.out", silence=silence) as run:
            for line in run.lines():
                ranks.extend([int(line)] if line and line.isdigit() else [])
                if len(ranks) == 2 and silence is None:
                    raise ZeroDivisionError

    with pytest.raises((EngineError, ZeroDivisionError)):
        hear()
    until(lambda: not any(map(psutil.pid_exists, ranks)), what="the ranks have ended", seconds=10)
    assert len(ranks) == 2


@pytest.mark.usefixtures("allocation")
def test_ranks_know_their_attempt_where_a_batch_job_hands_on_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_EXPORT_ENV", "NONE")
    monkeypatch.setenv("NANOOS_ATTEMPT", "job_1")
    says = "import os; os.write(1, (os.environ.get('NANOOS_ATTEMPT', '') + '\\n').encode())"
    command = Command.of(Path(sys.executable), "-c", says, resources=Resources(ranks=2))
    with Program(command, RecordingContext(workdir=tmp_path), output="it.out") as run:
        assert [line for line in run.lines() if line] == ["job_1"] * 2
        assert run.wait() == 0, run.errors


@pytest.mark.usefixtures("allocation")
def test_ranks_end_with_an_engine_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ENGINE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout
        ranks = [int(engine.stdout.readline()) for _ in range(2)]
        assert all(map(psutil.pid_exists, ranks))
        engine.send_signal(signal.SIGKILL)
    until(lambda: not any(map(psutil.pid_exists, ranks)), what="the ranks have ended")


def test_only_what_makes_a_rank_is_left_out() -> None:
    batch = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_MPI_TYPE": "none", "PATH": "/bin"}
    assert beside(batch) == batch
    tuned = {"PMIX_MCA_gds": "hash", "PMI_MMAP_SYNC_WAIT_TIME": "300", "SLURM_STEPMGR": "node1"}
    assert beside({"PMI_FD": "9", "PMIX_RANK": "0", "PMIX_SERVER_URI41": "…", **tuned}) == tuned
    job = {"SLURM_JOB_CPUS_PER_NODE": "4(x2)", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[1-2]"}
    narrow = {"SLURM_TASKS_PER_NODE": "1", "SLURM_NNODES": "1", "SLURM_NODELIST": "node1"}
    assert beside({**batch, **job, **narrow, **tuned, "SLURM_STEP_ID": "0", "SLURM_STEPID": "0"}) == {
        **{"SLURM_JOB_ID": "1", "PATH": "/bin", **job, **tuned},
        **{"SLURM_TASKS_PER_NODE": "4(x2)", "SLURM_NNODES": "2", "SLURM_NODELIST": "node[1-2]"},
    }
    chosen = {"SLURM_MPI_TYPE": "pmix", "SLURM_STEP_ID": "0"}
    assert beside(chosen) == {"SLURM_MPI_TYPE": "pmix"}
