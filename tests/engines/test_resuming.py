"""What every task that makes checkpoints promises: an interrupted run is the uninterrupted one.

Each attempt is a real engine process, killed or stopped over its pipe; what it leaves is read as a user reads it.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms

from nanoos_lab.core.record import Steering
from nanoos_lab.engines import registry
from tests.engines.attempts import Job, Trouble, at_checkpoint, at_sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms

    from tests.engines.attempts import Attempt


def copper(*repeat: int) -> Atoms:
    return bulk("Cu", cubic=True, a=3.61) * repeat


def slab() -> Atoms:
    atoms = copper(3, 3, 2)
    atoms.center(vacuum=8, axis=2)
    atoms.pbc = (True, True, False)
    atoms.set_constraint(FixAtoms(range(18)))
    return atoms


def cluster() -> Atoms:
    atoms = copper(2, 2, 2)
    atoms.center(vacuum=5)
    atoms.pbc = False
    return atoms


def rattled(*repeat: int) -> Atoms:
    atoms = copper(*repeat)
    atoms.rattle(0.2, seed=3)
    atoms.set_cell(atoms.cell * 1.02, scale_atoms=True)
    return atoms


@dataclass(frozen=True, kw_only=True)
class Case:
    """A task, and how well it keeps its promise."""

    engine: str
    task: str
    atoms: Atoms
    #: Steps between checkpoints.
    grid: int
    parameters: dict[str, Any]
    #: Largest difference of a position in Å after a kill, after a soft stop, and between runs with checkpoints and
    #: without; 0 is to the last bit.
    killed: float = 0.0
    stopped: float = 1e-11
    without: float = 1e-11
    #: Tolerance, relative or absolute, of the rows of thermo after a soft stop and without checkpoints.
    rows: float = 1e-8
    #: Sample at which the soft stop is asked for.
    stop_at: int = field(default=0)

    def job(self, home: Path, **options: Any) -> Job:
        return Job(home, self.engine, self.task, self.atoms, **{"grid": self.grid, **options}, **self.parameters)


def lammps(atoms: Atoms | None = None, *, grid: int = 200, tolerance: float = 1e-11, **parameters: Any) -> Case:
    usual = {"potential": "Cu_u3.eam", "temperature": 600, "steps": 800, "every": 50}
    return Case(
        engine="lammps",
        task="md",
        atoms=atoms or copper(3, 3, 3),
        grid=grid,
        parameters={**usual, **parameters},
        stopped=tolerance,
        without=tolerance,
        rows=1e3 * tolerance,
        stop_at=450,
    )


def ase(task: str = "md", *, grid: int = 50, tolerance: float = 1e-11, **parameters: Any) -> Case:
    usual: dict[str, Any] = {"temperature": 600, "steps": 130} if task == "md" else {"fmax": 1e-6}
    return Case(
        engine="ase",
        task=task,
        atoms=copper(1, 1, 2) if task == "md" else rattled(1, 1, 2),
        grid=grid,
        parameters={"calculator": "emt", "every": 10, **usual, **parameters},
        # With so few steps between them checkpoints do not make the calculator forget its neighbours.
        killed=0.0 if grid >= 50 else tolerance,
        stopped=tolerance,
        without=tolerance,
        stop_at=70 if task == "md" else grid + 5,
    )


RAMP = {"temperature_end": 900}
CASES = {
    "mock md": Case(
        engine="mock",
        task="md",
        atoms=copper(2, 2, 2),
        grid=50,
        parameters={"steps": 200, "every": 20, "temperature": 300, "duration": 1.0},
        stopped=0.0,
        without=0.0,
        stop_at=120,
    ),
    "mock relax": Case(
        engine="mock",
        task="relax",
        atoms=copper(2, 2, 2),
        grid=10,
        parameters={"fmax": 1e-6, "every": 3, "duration": 1.0},
        stopped=0.0,
        without=0.0,
        stop_at=24,
    ),
    "lammps nve": lammps(),
    "lammps nvt": lammps(ensemble="nvt", **RAMP),
    "lammps npt": lammps(ensemble="npt", pressure=1.0),
    # The restart file lacks the forces on the barostat's own thermostat; on a ramp they are not those of step 0.
    "lammps npt ramp": lammps(ensemble="npt", pressure=1.0, tolerance=1e-5, **RAMP),
    # The box is strained after the forces of a step; a run that begins there computes them for the box as it is now.
    "lammps strained": lammps(strain_rate=0.01, tolerance=1e-6),
    "lammps lj": lammps(potential="lj", epsilon=0.1, sigma=2.3, timestep=3.0),
    "lammps tersoff": lammps(bulk("Si", cubic=True) * (2, 2, 2), potential="Si.tersoff"),
    "lammps skewed": lammps(bulk("Cu") * (4, 4, 4)),
    "lammps slab": lammps(slab(), ensemble="nvt"),
    "lammps cluster": lammps(cluster(), temperature=300),
    "ase nve": ase(),
    "ase lj": ase(calculator="lj", epsilon=0.1, sigma=2.3, temperature=300),
    "ase bussi": ase(ensemble="nvt", **RAMP),
    "ase langevin": ase(ensemble="nvt", thermostat="langevin", **RAMP),
    "ase nose-hoover": ase(ensemble="nvt", thermostat="nose-hoover"),
    "ase npt": ase(ensemble="npt", pressure=1.0, **RAMP),
    "ase nve, slow": ase(grid=30),
    "ase FIRE": ase("relax", optimizer="FIRE"),
    "ase FIRE2": ase("relax", optimizer="FIRE2"),
    "ase LBFGS": ase("relax", grid=8, every=3),
    "ase BFGS, cell": ase("relax", grid=8, every=3, optimizer="BFGS", cell="free", fmax=1e-3),
    "ase MDMin": ase("relax", grid=8, every=3, optimizer="MDMin"),
    # A line search compares energies, so it carries rounding on to its last digits.
    "ase BFGSLineSearch": ase("relax", grid=4, every=1, tolerance=1e-8, optimizer="BFGSLineSearch"),
}


@pytest.fixture(scope="module", params=CASES, ids=[name.replace(" ", "-") for name in CASES])
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def whole(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A run with checkpoints that nobody interrupts."""
    job = case.job(tmp_path_factory.mktemp("whole") / "job")
    attempt = job.attempt()
    assert attempt.end == "done", attempt.fields
    assert (
        attempt.checkpoints == list(range(case.grid, int(job.thermo.steps[-1]), case.grid))[: len(attempt.checkpoints)]
    )
    assert attempt.fields["provenance"]["checkpoint_steps"] == case.grid
    return job


def difference(one: Job, other: Job) -> float:
    """Return the largest difference of a position in Å; the frames must be of the same steps."""
    assert one.trajectory.steps.tolist() == other.trajectory.steps.tolist()
    assert one.thermo.steps.tolist() == other.thermo.steps.tolist()
    assert one.trajectory.times.tolist() == other.trajectory.times.tolist()
    return float(np.abs(np.asarray(one.trajectory.positions) - np.asarray(other.trajectory.positions)).max())


def final_difference(one: Attempt, other: Attempt) -> float:
    return float(np.abs(one.atoms.positions - other.atoms.positions).max())


def test_a_run_whose_process_was_killed_goes_on_as_if_it_had_not_been(case: Case, whole: Job, tmp_path: Path) -> None:
    job = case.job(tmp_path / "job")
    assert job.attempt(at_checkpoint(1)).end == "gone"
    last = job.attempt()
    assert last.end == "done", last.fields
    assert last.first % case.grid == 0
    assert last.first > 0
    assert difference(whole, job) <= case.killed
    assert final_difference(whole.attempts[0], last) <= case.killed
    if not case.killed:
        np.testing.assert_array_equal(job.thermo.values, whole.thermo.values)
        np.testing.assert_array_equal(last.atoms.get_momenta(), whole.attempts[0].atoms.get_momenta())
        np.testing.assert_array_equal(last.atoms.cell.array, whole.attempts[0].atoms.cell.array)


def test_a_run_that_was_asked_to_stop_goes_on_from_there(case: Case, whole: Job, tmp_path: Path) -> None:
    job = case.job(tmp_path / "job")
    first = job.attempt(at_sample(case.stop_at))
    assert first.end == "done"
    assert first.fields["stopped"]
    assert first.checkpoints[-1] >= case.stop_at
    last = job.attempt()
    assert last.first == first.checkpoints[-1]
    assert last.end == "done", last.fields
    assert not last.fields["stopped"]
    assert difference(whole, job) <= case.stopped
    assert final_difference(whole.attempts[0], last) <= case.stopped
    np.testing.assert_allclose(job.thermo.values, whole.thermo.values, rtol=case.rows, atol=case.rows)


def test_checkpoints_do_not_disturb_a_run(case: Case, whole: Job, tmp_path: Path) -> None:
    job = case.job(tmp_path / "job", interval=0.0)
    alone = job.attempt()
    assert alone.checkpoints == []
    assert difference(whole, job) <= case.without
    assert final_difference(whole.attempts[0], alone) <= case.without
    np.testing.assert_allclose(job.thermo.values, whole.thermo.values, rtol=case.rows, atol=case.rows)


@pytest.mark.parametrize("cell", ["fixed", "free"])
@pytest.mark.parametrize("order", ["kill", "pause"])
def test_a_relaxation_in_lammps_goes_on_from_its_last_positions(tmp_path: Path, cell: str, order: str) -> None:
    """It takes another path from there, to the same end."""
    parameters = {"potential": "Cu_u3.eam", "fmax": 1e-4, "every": 2, "cell": cell, "steps": 2000}
    case = Case(engine="lammps", task="relax", atoms=rattled(2, 2, 2), grid=4, parameters=parameters)
    whole = case.job(tmp_path / "whole")
    straight = whole.attempt()
    alone = case.job(tmp_path / "alone", interval=0.0).attempt()
    np.testing.assert_array_equal(straight.atoms.positions, alone.atoms.positions)
    job = case.job(tmp_path / "job")
    job.attempt(at_checkpoint(2, order))
    last = job.attempt()
    assert last.end == "done", last.fields
    assert last.first >= 8
    steps = job.thermo.steps.tolist()
    assert steps == [*range(0, int(steps[-1]), 2), steps[-1]]
    assert last.fields["scalars"]["fmax"] <= 1e-4
    assert last.fields["scalars"]["energy"] == pytest.approx(straight.fields["scalars"]["energy"], abs=1e-6)
    np.testing.assert_allclose(last.atoms.cell.array, straight.atoms.cell.array, atol=1e-3)


def test_many_checkpoints_change_no_average(tmp_path: Path) -> None:
    """Beyond the span in which runs agree atom by atom, chaos leaves their statistics to compare."""
    hot = lammps(ensemble="nvt", tdamp=50.0, steps=8000, every=20, grid=200)
    jobs = [hot.job(tmp_path / "with"), hot.job(tmp_path / "without", interval=0.0)]
    assert len(jobs[0].attempt().checkpoints) == 39
    jobs[1].attempt()
    for column in ("temperature", "potential_energy", "pressure"):
        blocks = [np.array_split(job.series(column)[50:], 20) for job in jobs]
        means = [np.array([block.mean() for block in of]) for of in blocks]
        error = np.sqrt(sum(of.var(ddof=1) / len(of) for of in means))
        assert means[0].mean() == pytest.approx(means[1].mean(), abs=5 * error)


def test_many_checkpoints_let_no_energy_leak(tmp_path: Path) -> None:
    closed = lammps(steps=8000, every=20, grid=200)
    drifts = []
    for interval in (60.0, 0.0):
        job = closed.job(tmp_path / str(interval), interval=interval)
        job.attempt()
        drifts.append(np.polyfit(job.series("time"), job.series("total_energy"), 1)[0])
    # eV/fs, for 108 atoms
    assert abs(drifts[0] - drifts[1]) < 1e-8


def damage(attempt: Attempt) -> int:
    """Flip a bit in an attempt's newest checkpoint; return its step."""
    newest = max(int(path.name) for path in attempt.place.iterdir())
    target = next(path for path in (attempt.place / str(newest)).iterdir() if path.suffix != ".json")
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 1
    target.write_bytes(data)
    return newest


def cut(attempt: Attempt) -> int:
    """Cut an attempt's newest checkpoint; return its step."""
    newest = max(int(path.name) for path in attempt.place.iterdir())
    target = next(path for path in (attempt.place / str(newest)).iterdir() if path.suffix != ".json")
    os.truncate(target, target.stat().st_size // 2)
    return newest


@pytest.mark.parametrize("harm", [damage, cut])
@pytest.mark.parametrize("name", ["lammps nve", "ase nve"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_the_log_says_so(
    tmp_path: Path, name: str, harm: Callable[[Attempt], int]
) -> None:
    case = CASES[name]
    whole = case.job(tmp_path / "whole")
    whole.attempt()
    job = case.job(tmp_path / "job")
    lost = harm(job.attempt(at_checkpoint(2)))
    last = job.attempt()
    assert last.first == lost - case.grid
    assert f"checkpoints/{lost} cannot be used" in last.log
    assert f"goes on from the checkpoint at step {last.first}" in last.log
    np.testing.assert_array_equal(job.thermo.values, whole.thermo.values)


def test_without_a_sound_checkpoint_a_run_begins_anew(tmp_path: Path) -> None:
    case = CASES["mock md"]
    job = case.job(tmp_path / "job")
    first = job.attempt(at_checkpoint(1))
    for path in first.place.iterdir():
        (path / "state.json").write_text("{}")
    last = job.attempt()
    assert last.first == 0
    assert "cannot be used" in last.log
    assert job.thermo.steps.tolist() == list(range(0, 201, 20))


def test_a_job_keeps_the_grid_that_its_first_attempt_chose(tmp_path: Path) -> None:
    def grid_of(attempt: Attempt) -> int:
        newest = max(attempt.place.iterdir(), key=lambda path: int(path.name))
        return int(json.loads((newest / "checkpoint.json").read_text())["facts"]["grid"])

    parameters = {"steps": 1000, "every": 10, "temperature": 300, "duration": 4.0}
    job = Job(tmp_path / "job", "mock", "md", copper(1, 1, 1), interval=0.5, **parameters)
    first = job.attempt(at_checkpoint(2))
    second = job.attempt(at_checkpoint(1, "pause"))
    chosen = grid_of(first)
    # Half a second is 125 steps.
    assert chosen in (80, 160)
    assert grid_of(second) == chosen
    assert second.first % chosen == 0
    third = job.attempt()
    assert all(step % chosen == 0 for step in third.checkpoints)
    assert third.fields["provenance"]["checkpoint_steps"] == chosen
    assert job.thermo.steps.tolist() == list(range(0, 1001, 10))


def test_a_run_goes_on_through_many_attempts(tmp_path: Path) -> None:
    case = CASES["lammps nve"]
    whole = case.job(tmp_path / "whole")
    straight = whole.attempt()
    job = case.job(tmp_path / "job")
    while job.attempt(at_checkpoint(1)).end == "gone":
        assert len(job.attempts) < 10
    assert len(job.attempts) >= 3
    np.testing.assert_array_equal(job.thermo.values, whole.thermo.values)
    np.testing.assert_array_equal(job.attempts[-1].atoms.positions, straight.atoms.positions)


@pytest.mark.parametrize("what", ["kill", "pause"])
def test_trouble_may_come_at_any_time_from_outside(tmp_path: Path, what: str) -> None:
    job = lammps(steps=10**9).job(tmp_path / "job")
    first = job.attempt(at_checkpoint(3, what, outside=True))
    second = job.attempt(at_checkpoint(1, "pause", outside=True))
    assert second.first >= 600
    assert second.first in first.checkpoints
    steps = job.thermo.steps
    np.testing.assert_array_equal(steps, np.arange(0, steps[-1] + 1, 50))


def test_a_cancelled_run_leaves_no_checkpoint_where_it_stopped(tmp_path: Path) -> None:
    job = CASES["lammps nve"].job(tmp_path / "job")
    attempt = job.attempt(at_sample(450, "cancel"))
    assert attempt.fields["stopped"]
    assert all(step % 200 == 0 for step in attempt.checkpoints)


def test_the_mock_can_fail_once_and_then_go_on(tmp_path: Path) -> None:
    parameters = {"steps": 100, "every": 10, "temperature": 300, "duration": 0.5, "fail_at": 75, "fail_by": "crash"}
    job = Job(tmp_path / "job", "mock", "md", copper(1, 1, 1), grid=50, fail_once=True, **parameters)
    assert job.attempt().end == "gone"
    last = job.attempt()
    assert (last.first, last.end) == (50, "done")
    assert job.thermo.steps.tolist() == list(range(0, 101, 10))


def test_a_script_makes_no_checkpoints(tmp_path: Path) -> None:
    assert "script" not in registry.get("lammps").resumable
    script = (
        "units metal\nread_data structure.data\npair_style lj/cut 5.0\npair_coeff 1 1 0.1 2.3\n"
        "velocity all create 300 1\nfix 1 all nve\nthermo 100\nrun 1000000\n"
    )
    job = Job(tmp_path / "job", "lammps", "script", copper(3, 3, 3), grid=200, script=script)
    attempt = job.attempt(at_sample(500))
    assert attempt.fields["stopped"]
    assert not attempt.place.exists()


@pytest.mark.parametrize(
    ("name", "tasks"),
    [("ase", {"relax", "md", "neb", "phonons"}), ("lammps", {"relax", "md"}), ("mock", {"relax", "md"})],
)
def test_engines_say_which_tasks_can_go_on(name: str, tasks: set[str]) -> None:
    assert registry.get(name).resumable == tasks


STEERED = {
    "mock md": {"temperature": 900.0},
    "lammps nvt": {"temperature": 1200.0, "tdamp": 50.0},
    "lammps npt": {"temperature": 1200.0, "pressure": 5.0},
    "lammps langevin": {"temperature": 1200.0},
    "ase bussi": {"temperature": 1200.0},
    "ase langevin": {"temperature": 1200.0, "tdamp": 50.0},
    "ase nose-hoover": {"temperature": 1200.0},
    "ase npt": {"temperature_end": 300.0, "pressure": 5.0},
}


@pytest.mark.parametrize("name", STEERED)
def test_a_steered_run_whose_process_was_killed_goes_on_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    case = {**CASES, "lammps langevin": lammps(ensemble="nvt", thermostat="langevin")}[name]
    if name == "mock md":
        case = replace(case, parameters={**case.parameters, "ensemble": "nvt"})
    changes = STEERED[name]
    asked_at = case.grid + case.parameters["every"]
    # It is asked for after the first checkpoint, and all of the first attempt from the second on is lost.
    job = case.job(tmp_path / "job")
    first = job.attempt(Trouble(what="kill", steer=changes, steer_at=asked_at, checkpoints=2))
    assert first.end == "gone"
    (step,) = first.steered.values()
    assert asked_at < step <= 2 * case.grid
    lost = first.place / str(2 * case.grid)
    assert lost.exists()
    shutil.rmtree(lost)

    last = job.attempt()
    assert (last.first, last.end) == (case.grid, "done")
    assert last.steered == {}
    assert last.fields["provenance"]["steerings"] == [{"number": 1, "step": step, "changes": changes}]

    # One attempt without trouble that was steered at that step, and one that was not.
    whole, plain = case.job(tmp_path / "whole"), case.job(tmp_path / "plain")
    whole.steerings = job.steerings
    straight = whole.attempt()
    assert plain.attempt().end == "done"
    assert difference(whole, job) == 0.0
    np.testing.assert_array_equal(job.thermo.values, whole.thermo.values)
    np.testing.assert_array_equal(last.atoms.positions, straight.atoms.positions)
    np.testing.assert_array_equal(last.atoms.get_momenta(), straight.atoms.get_momenta())
    before = whole.thermo.steps < step
    np.testing.assert_array_equal(whole.thermo.values[before], plain.thermo.values[before])
    assert (whole.series("temperature")[-1] != plain.series("temperature")[-1]).all()


@pytest.mark.parametrize("name", ["lammps nvt", "ase bussi"])
def test_a_steered_run_that_goes_on_from_a_later_checkpoint_keeps_what_was_asked_for(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    changes = {"temperature": 1200.0}
    job = case.job(tmp_path / "job")
    first = job.attempt(Trouble(what="kill", steer=changes, steer_at=case.grid - 10, checkpoints=2))
    last = job.attempt()
    (step,) = first.steered.values()
    assert (last.first, last.end) == (2 * case.grid, "done")
    assert step < last.first
    whole = case.job(tmp_path / "whole")
    whole.steerings = job.steerings
    whole.attempt()
    np.testing.assert_array_equal(job.thermo.values, whole.thermo.values)


@pytest.mark.parametrize("name", ["lammps nvt", "ase bussi", "mock md"])
def test_what_is_asked_for_between_two_attempts_is_applied_where_the_next_one_begins(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    job = case.job(tmp_path / "job")
    job.attempt(at_checkpoint(1))
    job.steerings = [Steering(number=1, changes={"temperature": 1200.0})]
    last = job.attempt()
    assert last.end == "done", last.fields
    assert last.steered == {1: last.first}
    assert last.first > 0
