"""Many MPI ranks, of the wheel's library and of an executable: both have the results of the library in one process."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from ase.build import bulk, fcc100
from ase.constraints import FixAtoms

from nanoos_lab.core.errors import EngineError, InputError
from nanoos_lab.core.record import Steering
from nanoos_lab.core.resources import Resources, cores
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.lammps import LammpsEngine, executable, library
from nanoos_lab.engines.lammps.ranks import rank
from nanoos_lab.store.checkpoints import find
from nanoos_lab.worker.strays import MARK
from tests.engines.context import RecordingContext
from tests.engines.lammps.outside import Options, submitted
from tests.waiting import quickest, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.frames import Checkpoint, Results
    from nanoos_lab.engines.base import StopReason
    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab
    from tests.engines.lammps.outside import Outcome

    Lammps = Callable[..., Outcome]

COPPER = {"potential": "Cu_u3.eam", "temperature": 600.0, "timestep": 2.0}


@pytest.fixture(params=["library", "executable"])
def two(request: pytest.FixtureRequest, own_lmp: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Options:
    """Two ranks, both ways; for what runs here, too."""
    environment = own_lmp if request.param == "executable" else {}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Options(ranks=2, environment=environment)


@pytest.fixture
def executables(own_lmp: dict[str, str]) -> Options:
    """Two ranks of an executable."""
    return Options(ranks=2, environment=own_lmp)


def turned(n: int = 4) -> Atoms:
    """A rattled crystal in a skewed cell that is turned in space."""
    atoms = bulk("Cu", cubic=True) * (n, n, n)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.03, 0], [0.05, 1.01, 0], [-0.04, 0.02, 0.99]]), scale_atoms=True)
    atoms.rotate(37, (1, 2, 3), rotate_cell=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def slab() -> Atoms:
    atoms = fcc100("Cu", (4, 4, 4), a=3.615, vacuum=8.0)
    atoms.set_constraint(FixAtoms(mask=atoms.positions[:, 2] < atoms.positions[:, 2].mean()))
    return atoms


@pytest.mark.parametrize("structure", [turned(), slab()], ids=["turned crystal", "slab with fixed atoms"])
def test_a_single_point_has_the_numbers_of_one_process(lammps: Lammps, two: Options, structure: Atoms) -> None:
    here, there = (lammps(structure, "static", options, potential="Cu_u3.eam") for options in (Options(), two))
    assert there["energy"] == pytest.approx(here["energy"], rel=1e-12)
    np.testing.assert_allclose(there["forces"], here["forces"], atol=1e-10)
    np.testing.assert_allclose(there["stress"], here["stress"], atol=1e-12)
    np.testing.assert_allclose(there.rows, here.rows, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(there.samples[0].frame.positions, structure.positions, atol=1e-9)
    np.testing.assert_allclose(there.samples[0].frame.cell, structure.cell.array, atol=1e-9)
    assert there.columns == here.columns
    assert there.results.provenance["ranks"] == 2
    assert there.results.provenance["version"] in ("20250722", "22 Jul 2025 - Update 4")


@pytest.mark.parametrize(
    "more",
    [
        {"ensemble": "nve"},
        {"ensemble": "nvt", "temperature_end": 700.0},
        {"ensemble": "npt", "pressure": 1.0, "barostat": "tri"},
        {"ensemble": "nvt", "thermostat": "langevin"},
        {"minimize_first": True},
    ],
    ids=["nve", "nvt ramp", "npt tri", "langevin", "relaxed first"],
)
def test_dynamics_take_the_path_of_one_process(lammps: Lammps, two: Options, more: dict[str, object]) -> None:
    """Before the rounding of other sums has grown; random forces of Langevin's depend on the ranks."""
    structure = turned()
    if "minimize_first" in more:
        structure.rattle(0.2, seed=3)
    here, there = (
        lammps(structure, "md", options, **COPPER, steps=40, every=10, **more) for options in (Options(), two)
    )
    assert there.steps == here.steps == [0, 10, 20, 30, 40]
    assert there.columns == here.columns
    if "minimize_first" in more:
        assert "Minimization stats" in (there.workdir / "log.lammps").read_text()
        assert not np.allclose(there.samples[0].frame.positions, structure.positions, atol=0.05)
    if "thermostat" in more:
        np.testing.assert_allclose(there.rows[0], here.rows[0], rtol=1e-8)
        np.testing.assert_allclose(there.series("temperature"), here.series("temperature"), rtol=0.2)
        return
    np.testing.assert_allclose(there.rows, here.rows, rtol=1e-7, atol=1e-7)
    for one, other in zip(there.samples, here.samples, strict=True):
        np.testing.assert_allclose(one.frame.positions, other.frame.positions, atol=1e-7)
        np.testing.assert_allclose(one.frame.velocities, other.frame.velocities, atol=1e-9)
        np.testing.assert_allclose(one.frame.cell, other.frame.cell, atol=1e-8)
        assert one.frame.time == other.frame.time
    np.testing.assert_allclose(there.atoms.positions, here.atoms.positions, atol=1e-7)
    np.testing.assert_allclose(there.atoms.get_velocities(), here.atoms.get_velocities(), atol=1e-7)
    assert there["energy"] == pytest.approx(here["energy"], rel=1e-9)


@pytest.mark.parametrize("cell", ["fixed", "free"])
def test_a_relaxation_ends_where_that_of_one_process_ends(lammps: Lammps, two: Options, cell: str) -> None:
    structure = turned(2)
    here, there = (
        lammps(structure, "relax", options, potential="Cu_u3.eam", fmax=0.002, cell=cell, every=5)
        for options in (Options(), two)
    )
    assert there["energy"] == pytest.approx(here["energy"], abs=1e-4)
    assert there["fmax"] <= 0.002
    assert np.linalg.norm(there["forces"], axis=1).max() <= 0.002
    assert there["converged"] is True
    assert there.columns == here.columns
    assert there.steps[:3] == [0, 5, 10]
    assert there.steps[-1] == there["steps"]
    np.testing.assert_allclose(there.rows[0], here.rows[0], rtol=1e-8, atol=1e-8)
    assert there.series("fmax")[-1] == there["fmax"]
    np.testing.assert_allclose(there.atoms.cell.cellpar(), here.atoms.cell.cellpar(), atol=2e-2)


def test_the_directory_keeps_what_another_run_needs(lammps: Lammps, executables: Options) -> None:
    ranks = lammps(turned(2), "md", Options(ranks=2), **COPPER, steps=20, every=10)
    those = lammps(turned(2), "md", executables, **COPPER, steps=20, every=10)
    kept = ["in.lammps", "log.lammps", "restart.lammps", "structure.data"]
    assert sorted(path.name for path in ranks.workdir.iterdir()) == sorted([*kept, "ranks.err", "ranks.out"])
    assert sorted(path.name for path in those.workdir.iterdir()) == sorted([*kept, "lammps.err", "lammps.out"])
    for run in (ranks, those):
        assert "run 20 start 0 stop 20" in run.results.provenance["commands"]


def test_samples_come_while_it_runs_and_a_stop_ends_it_softly(lammps: Lammps, two: Options) -> None:
    # Nobody helps it with a signal, which on a busy machine would come too soon.
    options = replace(two, stop_after=0.5, samples=3, grace=60.0)

    def seconds() -> float:
        run = lammps(turned(6), "md", options, **COPPER, steps=10**9, every=20)
        assert run.results.stopped
        assert run.steps[:3] == [0, 20, 40]
        assert run.steps == list(range(0, 20 * len(run.steps), 20))
        # It was LAMMPS itself that stopped: it came to write its restart file.
        assert (run.workdir / "restart.lammps").stat().st_size > 0
        assert np.isfinite(run.atoms.positions).all()
        assert not (run.workdir / "nanoos.stop").exists()
        return run.stop_took

    assert quickest(seconds, limit=2.0) < 2.0


def test_a_relaxation_stops_softly_too(lammps: Lammps, two: Options) -> None:
    structure = turned(8)
    structure.rattle(0.3, seed=1)
    options = replace(two, stop_after=0.2, grace=60.0)

    def seconds() -> float:
        run = lammps(structure, "relax", options, potential="Cu_u3.eam", fmax=1e-9, steps=10**6, cell="free")
        assert run.results.stopped
        return run.stop_took

    assert quickest(seconds, limit=2.0) < 2.0


def test_failures_of_many_ranks_are_explained_and_corrected(lammps: Lammps, two: Options) -> None:
    with pytest.raises(EngineError) as caught:
        lammps(turned(), "md", two, **{**COPPER, "timestep": 60.0}, steps=5000, every=10)
    assert caught.value.reason == Reason.ENGINE
    assert caught.value.correction is not None
    assert caught.value.correction.changes == {"timestep": 30.0, "minimize_first": True}
    with pytest.raises(EngineError) as caught:
        lammps(turned(2), "static", two, potential="lj", epsilon=0.01, sigma=2.3, cutoff=25.0)
    assert caught.value.correction is not None
    assert caught.value.correction.changes == {"neighbors": 4000}
    with pytest.raises(EngineError, match="after 3 steps") as caught:
        lammps(turned(2), "relax", two, potential="Cu_u3.eam", fmax=1e-6, steps=3)
    assert caught.value.correction is not None
    assert caught.value.correction.changes == {"steps": 6}


def test_more_ranks_than_cores_are_refused() -> None:
    with pytest.raises(EngineError, match=r"1000 MPI ranks of 1 threads need 1000 cores; there are \d+ here") as caught:
        executable.check_cores(Resources(ranks=1000), (cores(),))
    assert caught.value.reason == Reason.INPUT


def test_an_executable_of_the_users_own_is_taken(lammps: Lammps, own_lmp: dict[str, str]) -> None:
    structure = turned(2)
    own = lammps(structure, "static", Options(environment=own_lmp), potential="Cu_u3.eam")
    assert (own.workdir / "lammps.out").exists()
    assert own["energy"] == pytest.approx(lammps(structure, "static", potential="Cu_u3.eam")["energy"], rel=1e-12)
    with pytest.raises(EngineError, match="NANOOS_LMP names '/nowhere/lmp', which is not there"):
        lammps(structure, "static", Options(environment={"NANOOS_LMP": "/nowhere/lmp"}), potential="Cu_u3.eam")


@pytest.mark.parametrize("task", ["static", "relax", "md"])
def test_an_executable_that_says_nothing_for_long_is_stopped(lammps: Lammps, tmp_path: Path, task: str) -> None:
    stuck = tmp_path / "stuck"
    stuck.write_text("#!/bin/sh\necho 'LAMMPS (22 Jul 2025)'\nexec sleep 600\n")
    stuck.chmod(0o755)
    options = Options(environment={"NANOOS_LMP": str(stuck), "NANOOS_SILENCE": "0.5"})
    more = {"steps": 1000} if task == "md" else {}
    with pytest.raises(EngineError, match=r"stuck has said nothing for 0\.5 s and was stopped") as caught:
        lammps(turned(2), task, options, potential="Cu_u3.eam", **more)
    assert caught.value.reason == Reason.ENGINE


def test_an_executable_has_time_for_all_steps_from_row_to_row(lammps: Lammps, own_lmp: dict[str, str]) -> None:
    """It says nothing for longer than the host waits, which knows of no steps."""
    options = Options(environment={**own_lmp, "NANOOS_SILENCE": "0.1"})
    run = lammps(turned(8), "md", options, **COPPER, steps=1000, every=1000)
    assert run.steps == [0, 1000]


def test_the_version_is_that_of_the_users_own_executable(
    own_lmp: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LammpsEngine().probe().version == library.version()
    monkeypatch.setenv("NANOOS_LMP", own_lmp["NANOOS_LMP"])
    info = LammpsEngine().probe()
    assert (info.found, info.where) == (True, own_lmp["NANOOS_LMP"])
    assert info.version.startswith("22 Jul 2025")
    older = tmp_path / "older"
    older.write_text('#!/bin/sh\necho "Large-scale Atomic/Molecular Massively Parallel Simulator - 2 Aug 2023"\n')
    older.chmod(0o755)
    monkeypatch.setenv("NANOOS_LMP", str(older))
    assert LammpsEngine().probe().version == "2 Aug 2023"
    monkeypatch.setenv("NANOOS_LMP", str(tmp_path / "nowhere"))
    info = LammpsEngine().probe()
    assert not info.found
    assert "NANOOS_LMP" in info.missing


def test_a_launcher_of_another_mpi_is_noticed(lammps: Lammps, own_lmp: dict[str, str], tmp_path: Path) -> None:
    """Such a one starts lone copies, each of which would run the whole job, and returns 0."""
    other = tmp_path / "mpirun"
    other.write_text('#!/bin/sh\nshift 2\n"$@" &\n"$@"\nwait\n')
    other.chmod(0o755)
    options = Options(ranks=2, environment={**own_lmp, "NANOOS_MPIRUN": str(other)})
    with pytest.raises(EngineError, match="runs with 1 MPI ranks, not with 2") as caught:
        lammps(turned(2), "md", options, **COPPER, steps=10**7)
    assert caught.value.reason == Reason.RESOURCE
    assert "NANOOS_MPIRUN" in caught.value.remedy


@dataclass
class Steered(RecordingContext):
    """A context that steers from another thread once the run goes, and stops it when that holds."""

    resources: Resources = field(default_factory=lambda: Resources(ranks=2))
    hot: dict[str, float] = field(default_factory=dict)

    def progress(self, step: int) -> None:
        super().progress(step)
        if step > 0 and self.hot:
            threading.Thread(target=self.steer, kwargs=self.hot, daemon=True).start()
            self.hot = {}

    def steered(self, number: int, step: int) -> None:
        super().steered(number, step)
        self.ask_to_stop()


def attempt(
    workdir: Path, structure: Atoms, task: str, checkpoints: tuple[Checkpoint, ...] = (), **how: Any
) -> tuple[RecordingContext, Results]:
    """Run with two ranks and checkpoints, from here: they are processes of their own."""
    parameters = how.pop("parameters")
    workdir.mkdir()
    request, files = submitted(structure, task, **parameters)
    context = RecordingContext(
        workdir=workdir,
        files=files,
        resources=Resources(ranks=2),
        checkpoints=checkpoints,
        **{"checkpoint_interval": 60, **how},
    )
    return context, LammpsEngine().run(request, context)


def test_a_variable_of_the_users_may_be_named_stop(lammps: Lammps, two: Options) -> None:
    commands = ["variable stop equal 5", "compute frames all temp"]
    columns = ["v_stop", "c_frames"]
    run = lammps(turned(2), "md", two, **COPPER, steps=20, every=10, commands=commands, columns=columns)
    assert run.series("v_stop").tolist() == [5, 5, 5]


@pytest.mark.usefixtures("two")
def test_what_the_users_commands_gather_is_not_cut_by_checkpoints(tmp_path: Path) -> None:
    commands = ["variable t equal temp", "fix av all ave/time 1 10 50 v_t file temps.txt"]
    parameters = {**COPPER, "steps": 200, "every": 10, "commands": commands}
    context, results = attempt(
        tmp_path / "1",
        turned(2),
        "md",
        parameters=parameters,
        checkpoint_steps=50,
        stop_at_step=120,
        stop_reason="pause",
    )
    assert results.stopped
    assert context.checkpoint_made == []
    assert [text for text in context.logged if "ave/time 1 10 50" in text]


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("reason", ["pause", "time_limit"])
def test_a_run_that_was_stopped_goes_on_from_its_checkpoint(tmp_path: Path, reason: StopReason) -> None:
    parameters = {**COPPER, "ensemble": "nvt", "steps": 1000, "every": 10}
    first, stopped = attempt(
        tmp_path / "1",
        turned(3),
        "md",
        parameters=parameters,
        checkpoint_steps=50,
        stop_at_step=120,
        stop_reason=reason,
    )
    assert stopped.stopped
    # Those of the grid, and the one where it has stopped.
    assert {50, 100} <= set(first.checkpoint_made)
    last = first.checkpoint_made[-1]
    assert last > 100
    found = find([first.place]).checkpoints
    assert found[0].step == last
    assert first.steps == list(range(0, first.steps[-1] + 10, 10))
    assert first.steps[-1] <= last < first.steps[-1] + 10
    second, ended = attempt(tmp_path / "2", turned(3), "md", found, parameters=parameters)
    assert not ended.stopped
    assert second.head.first == last
    assert second.steps == list(range(-(-last // 10) * 10, 1001, 10))
    whole, _ = attempt(tmp_path / "3", turned(3), "md", parameters={**parameters, "steps": last + 20})
    size = len(whole.steps) - len([step for step in whole.steps if step < second.steps[0]])
    np.testing.assert_allclose(second.series("total_energy")[:size], whole.series("total_energy")[-size:], rtol=1e-6)


@pytest.mark.usefixtures("two")
def test_a_cancelled_run_leaves_no_checkpoint(tmp_path: Path) -> None:
    parameters = {**COPPER, "steps": 10**6, "every": 10}
    context, results = attempt(tmp_path / "1", turned(3), "md", parameters=parameters, stop_at_step=50)
    assert results.stopped
    assert context.checkpoint_made == []


@pytest.mark.usefixtures("two")
def test_a_relaxation_out_of_steps_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    parameters = {"potential": "Cu_u3.eam", "fmax": 1e-4, "steps": 8, "every": 3}
    with pytest.raises(EngineError, match="after 8 steps"):
        attempt(tmp_path / "1", turned(2), "relax", parameters=parameters)
    found = find([tmp_path / "1" / "checkpoints"]).checkpoints
    assert [checkpoint.step for checkpoint in found] == [8]
    context, results = attempt(tmp_path / "2", turned(2), "relax", found, parameters={**parameters, "steps": 1000})
    assert context.head.first == 8
    assert context.steps[0] == 9
    assert results.properties["fmax"] <= 1e-4


def test_frames_come_between_the_samples_for_those_who_watch(lammps: Lammps) -> None:
    """Whole ones or in passing, as the machine is."""
    options = Options(ranks=2, watched=True, stop_after_live=0)
    run = lammps(turned(3), "md", options, **COPPER, steps=10**9, every=10**9)
    assert run.results.stopped
    assert run.steps == [0]
    seen = run.live[0]
    moved = np.linalg.norm(seen.frame.positions - run.samples[0].frame.positions, axis=1)
    assert seen.step > 0
    assert (moved > 0).all()
    assert np.sqrt((moved**2).mean()) < 1.0


def test_frames_are_seen_in_passing_by_all_ranks_together(lammps: Lammps) -> None:
    options = Options(ranks=2, watched=True, stop_after_live=0, stop_after_glimpses=1)
    run = lammps(turned(20), "md", options, **COPPER, steps=10**9, every=10**9)
    [seen] = (sample for sample in run.live if not sample.row)
    there = lammps(turned(20), "md", Options(ranks=2), **COPPER, steps=seen.step, every=10**9)
    np.testing.assert_array_equal(seen.frame.positions, there.atoms.positions)


def test_iterations_of_a_relaxation_are_seen_between_the_samples(lammps: Lammps) -> None:
    options = Options(ranks=2, watched=True, stop_after_live=2)
    structure = turned(4)
    run = lammps(structure, "relax", options, potential="Cu_u3.eam", fmax=1e-12, steps=10**6, every=10**6, cell="free")
    assert run.results.stopped
    first, second = run.live
    assert 0 < first.step < second.step
    assert first.row[run.columns.index("potential_energy")] > second.row[run.columns.index("potential_energy")]


def test_what_fails_while_ranks_are_seen_in_passing_ends_the_run(lammps: Lammps) -> None:
    with pytest.raises(AssertionError, match=r"_pass[\s\S]*BrokenPipeError: nobody listens"):
        lammps(turned(20), "md", Options(ranks=2, watched=True, broken=True), **COPPER, steps=10**9, every=10**9)


def test_ranks_go_on_from_a_checkpoint_on_the_grid_to_the_last_bit(tmp_path: Path) -> None:
    parameters = {**COPPER, "ensemble": "nvt", "steps": 200, "every": 10}
    grid = {"parameters": parameters, "checkpoint_steps": 50}
    whole, _ = attempt(tmp_path / "whole", turned(3), "md", **grid)
    broken, _ = attempt(tmp_path / "broken", turned(3), "md", **grid, stop_at_step=120, stop_reason="pause")
    [*_, last] = [one for one in find([broken.place]).checkpoints[::-1] if one.step % 50 == 0]
    assert last.step >= 100
    rest, _ = attempt(tmp_path / "rest", turned(3), "md", (last,), **grid)
    assert rest.steps == list(range(last.step, 201, 10))
    np.testing.assert_array_equal(
        [one.row for one in rest.samples], [one.row for one in whole.samples[last.step // 10 :]]
    )
    np.testing.assert_array_equal(rest.samples[-1].frame.positions, whole.samples[-1].frame.positions)


def test_ranks_are_steered_and_every_attempt_takes_the_same_path(tmp_path: Path) -> None:
    hot = {"temperature": 2000.0}
    parameters = {**COPPER, "ensemble": "nvt", "tdamp": 10.0, "steps": 60, "every": 1}
    how = {"parameters": parameters, "checkpoint_interval": 0}
    steered, _ = attempt(tmp_path / "steered", turned(3), "md", **how, steer_at={20: hot})
    assert steered.steps_steered == {1: 21}
    assert steered.steps == list(range(61))
    plain, _ = attempt(tmp_path / "plain", turned(3), "md", **how)
    np.testing.assert_array_equal(steered.series("temperature")[:21], plain.series("temperature")[:21])
    assert steered.series("temperature")[-1] > plain.series("temperature")[-1] + 50
    known = [Steering(number=1, changes=hot, step=21)]
    again, _ = attempt(tmp_path / "again", turned(3), "md", **how, steerings=known)
    assert again.steps_steered == {}
    np.testing.assert_array_equal(again.series("total_energy"), steered.series("total_energy"))


def test_only_runs_of_an_executable_of_the_users_own_cannot_be_steered(
    own_lmp: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = LammpsEngine.tasks["md"](**COPPER, ensemble="nvt", steps=10)
    assert "temperature" in LammpsEngine().steers("md", given, Resources(ranks=2))
    monkeypatch.setenv("NANOOS_LMP", own_lmp["NANOOS_LMP"])
    with pytest.raises(InputError, match="NANOOS_LMP names cannot be steered"):
        LammpsEngine().steers("md", given, Resources())


def test_a_steering_ends_a_long_call_of_ranks_early(tmp_path: Path) -> None:
    """Where no sample is due for long, and nobody watches."""
    hot = {"temperature": 2000.0}
    parameters = {**COPPER, "ensemble": "nvt", "steps": 10**9, "every": 10**9}
    context = Steered(workdir=tmp_path, hot=hot)
    request, context.files = submitted(turned(3), "md", **parameters)
    results = LammpsEngine().run(request, context)
    assert results.stopped
    [step] = context.steps_steered.values()
    assert step > 0


def test_in_a_lab_a_job_runs_with_two_ranks(lab: Lab) -> None:
    job = lab.submit(turned(), engine="lammps", task="md", **COPPER, steps=100, every=20, resources={"ranks": 2}).wait(
        120
    )
    assert job.status == "succeeded"
    assert job.thermo.index.tolist() == [0, 20, 40, 60, 80, 100]
    assert len(job.trajectory) == 6
    assert job.attempts[-1].provenance["ranks"] == 2


def ranks_of(job: Job) -> list[psutil.Process]:
    """Return the ranks of LAMMPS that belong to a job, by the mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_rank = rank.__file__ in process.cmdline()
            if is_rank and "python" in process.name() and job.id in process.environ().get(MARK, ""):
                found.append(process)
    return found


def test_in_a_lab_a_cancel_ends_every_rank(lab: Lab) -> None:
    job = lab.submit(turned(), engine="lammps", task="md", **COPPER, steps=10**9, every=20, resources={"ranks": 2})
    until(lambda: len(job.thermo) > 2, what="rows")
    assert len(ranks_of(job)) == 2
    job.cancel()
    job.wait(90)
    assert job.status == "cancelled"
    until(lambda: not ranks_of(job), what="the end of the ranks")
