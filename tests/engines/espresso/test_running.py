"""Tasks of pw.x run for real: what is seen while they run, what comes out, and how they stop and go on."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import units
from ase.constraints import FixAtoms
from ase.io import read

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.parameters import DEFAULT_SEED
from nanoos_lab.core.resources import Resources
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import program
from nanoos_lab.engines.espresso import tasks
from nanoos_lab.engines.espresso.output import Reader
from nanoos_lab.store.checkpoints import find
from tests.engines.espresso.running import SILICON, SLOW_SILICON, continued, silicon
from tests.waiting import quickest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.engines.espresso.output import Cycle, Iteration
    from tests.engines.espresso.running import Runner

USUAL = ["time", "temperature", "potential_energy", "kinetic_energy", "total_energy", "pressure", "volume"]


def test_a_static_calculation_shows_each_iteration_and_ends_with_what_pwx_says(pw: Runner) -> None:
    run = pw(silicon(shift=0.1), "static", **SILICON)
    context = run.context
    assert context.columns == [*USUAL, "fmax", "scf_iterations", "scf_accuracy"]
    assert context.steps == list(range(1, len(context.steps) + 1)) == context.progress_steps
    accuracy = context.series("scf_accuracy")
    assert accuracy[-1] < 1e-8 < accuracy[0]
    assert [sample.frame is not None for sample in context.samples] == [False] * (len(accuracy) - 1) + [True]
    assert np.isnan(context.series("pressure")[:-1]).all()
    reader, (cycle,) = run.printed
    assert run["energy"] == pytest.approx(cycle.energy, abs=1e-8 * units.Ry)
    assert run["forces"] == pytest.approx(cycle.forces, abs=1e-8 * units.Ry / units.Bohr)
    assert run["stress"] == pytest.approx(cycle.stress, abs=1e-8 * units.Ry / units.Bohr**3)
    assert run["fermi_level"] == pytest.approx(cycle.fermi, abs=1e-4)
    assert context.series("pressure")[-1] == pytest.approx(-run["stress"][:3].mean() / units.GPa, rel=1e-4)
    assert context.series("fmax")[-1] == pytest.approx(np.linalg.norm(run["forces"], axis=1).max(), abs=1e-6)
    assert run["converged"] is True
    assert run["scf_iterations"] == cycle.iterations == context.steps[-1]
    assert run.results.provenance["version"] == reader.version
    assert run.results.provenance["pseudopotentials"] == {"Si": {"file": "Si.pz-vbc.UPF", "functional": "PZ"}}


def test_results_are_those_that_ase_reads_from_the_same_output(pw: Runner) -> None:
    run = pw(silicon(shift=0.1, strain=0.02), "static", **SILICON)
    atoms = read(run.context.workdir / "espresso.out", format="espresso-out")
    # ASE's reader has constants of another year: seven digits agree.
    assert run["energy"] == pytest.approx(atoms.get_potential_energy(), rel=1e-7)
    assert run["forces"] == pytest.approx(atoms.get_forces(), abs=1e-6)
    assert run["stress"] == pytest.approx(atoms.get_stress(), abs=2e-6)
    printed = run.printed[1][0]
    assert printed.stress == pytest.approx(atoms.get_stress(), rel=1e-6)
    kpoints = atoms.calc.get_ibz_k_points()
    assert len(kpoints) == len(run["kpoints"])
    for k in range(len(kpoints)):
        assert run["eigenvalues"][0, k] == pytest.approx(atoms.calc.get_eigenvalues(kpt=k), abs=1e-4)
    assert run["kpoint_weights"].sum() == pytest.approx(1.0)
    assert run["occupations"].shape == run["eigenvalues"].shape == (1, len(kpoints), 4)


def test_a_run_by_hand_of_the_same_input_says_the_same(pw: Runner, tmp_path: Path) -> None:
    run = pw(silicon(), "static", **SILICON)
    hand = tmp_path / "by hand"
    hand.mkdir()
    (hand / "pw.in").write_text((run.context.workdir / "espresso.in").read_text())
    (hand / "pseudo").symlink_to(run.context.workdir / "pseudo")
    where = program.find("pw.x")
    assert where is not None
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [where, "-in", "pw.in"]
    said = subprocess.run(command, cwd=hand, env=environment, capture_output=True, text=True, check=True)
    (line,) = [line for line in said.stdout.splitlines() if line.startswith("!")]
    assert f"{run['energy'] / units.Ry:.8f}" == line.split()[4]


def test_a_relaxation_has_a_frame_for_each_step_and_ends_below_fmax(pw: Runner) -> None:
    start = silicon(shift=0.15)
    run = pw(start, "relax", **SILICON, fmax=0.02)
    context = run.context
    reader, cycles = run.printed
    assert reader.relaxed
    assert context.steps == list(range(len(cycles)))
    assert context.series("potential_energy") == pytest.approx([cycle.energy for cycle in cycles])
    assert context.samples[0].frame.positions == pytest.approx(start.positions)
    assert context.samples[1].frame.positions == pytest.approx(cycles[1].positions)
    assert run["fmax"] <= 0.02 < context.series("fmax")[0]
    assert run["steps"] == len(cycles) - 1
    final = run.results.structure.atoms()
    assert final.positions == pytest.approx(cycles[-1].positions, abs=1e-8)
    assert final.get_distance(0, 1, mic=True) == pytest.approx(5.40 * np.sqrt(3) / 4, abs=0.005)
    assert run["energy"] == pytest.approx(cycles[-1].energy, abs=1e-7)
    assert not list(context.workdir.rglob("wfc*"))


def test_fixed_atoms_stay_where_they_are(pw: Runner) -> None:
    start = silicon(shift=0.1)
    start.set_constraint(FixAtoms([0]))
    run = pw(start, "relax", **SILICON, fmax=0.05)
    assert run.results.structure.atoms().positions[0] == pytest.approx(start.positions[0])
    assert run.results.structure.atoms().constraints[0].index.tolist() == [0]
    assert run["fmax"] <= 0.05


def test_a_free_cell_relaxes_to_the_pressure_that_was_asked_for(pw: Runner) -> None:
    run = pw(silicon(strain=-0.02), "vc_relax", **SILICON, fmax=0.05, pressure=5.0)
    cells = [sample.frame.cell for sample in run.context.samples]
    assert cells[0] == pytest.approx(silicon(strain=-0.02).cell.array)
    assert not np.allclose(cells[-1], cells[0])
    assert run.results.structure.atoms().cell.array == pytest.approx(cells[-1], abs=1e-7)
    volumes = run.context.series("volume")
    assert volumes[-1] == pytest.approx(abs(np.linalg.det(cells[-1])))
    # The last cycle has plane waves for the new cell; the one before is where the optimiser has ended.
    assert run.context.series("pressure")[-2] == pytest.approx(5.0, abs=0.2)
    assert run.context.series("fmax")[-2] <= 0.05


def test_a_cell_that_has_become_another_one_is_told_of_if_its_own_plane_waves_see_forces(pw: Runner) -> None:
    run = pw(silicon(strain=-0.08), "vc_relax", **SILICON, fmax=0.02)
    fmax = run.context.series("fmax")
    assert fmax[-2] <= 0.02 < fmax[-1] == run["fmax"]
    assert run["converged"] is False
    assert run["caveat"].startswith(
        f"with the plane waves of the final cell fmax is {fmax[-1]:.3g} eV/Å, not 0.02 eV/Å"
    )
    again = pw(run.results.structure.atoms(), "vc_relax", **SILICON, fmax=0.02)
    assert again["converged"] is True
    assert again["fmax"] <= 0.02


def test_molecular_dynamics_keeps_its_energy(pw: Runner) -> None:
    run = pw(silicon(shift=0.1), "md", **SILICON, steps=6, timestep=2.0)
    context = run.context
    assert context.steps == list(range(7))
    assert context.head.total == 6
    assert context.series("time") == pytest.approx(np.arange(7) * 2.0)
    total, kinetic = context.series("total_energy"), context.series("kinetic_energy")
    assert kinetic[0] == 0 < kinetic[-1]
    assert np.ptp(total) < 0.02 * kinetic.max()
    degrees_of_freedom = 3
    expected = 2 * kinetic[-1] / (degrees_of_freedom * units.kB)
    assert context.series("temperature")[-1] == pytest.approx(expected, rel=1e-3)


def test_ranks_and_threads_are_those_that_were_asked_for(pw: Runner) -> None:
    one = pw(silicon(), "static", **SILICON)
    two = pw(silicon(), "static", pw.context(resources=Resources(ranks=2)), **SILICON)
    assert (one.results.provenance["ranks"], two.results.provenance["ranks"]) == (1, 2)
    assert two["energy"] == pytest.approx(one["energy"], abs=1e-6)


def test_a_launcher_of_another_mpi_is_found_out(pw: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = tmp_path / "mpirun"
    launcher.write_text('#!/bin/sh\nshift 2\nexec "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setenv("NANOOS_MPIRUN", str(launcher))
    with pytest.raises(EngineError, match="runs on 1 MPI ranks, not on the 2") as caught:
        pw(silicon(), "static", pw.context(resources=Resources(ranks=2)), **SILICON)
    assert caught.value.reason is Reason.RESOURCE


def test_those_who_watch_see_the_iterations_of_a_step(pw: Runner) -> None:
    run = pw(silicon(shift=0.1), "relax", pw.context(watched=True), **SILICON, fmax=0.1)
    live = run.context.live_samples
    assert {sample.step for sample in live} == set(run.context.steps)
    place = run.context.columns.index("scf_accuracy")
    first = [sample.row[place] for sample in live if sample.step == 0]
    assert first[0] > 1e-3 > first[-1]
    assert live[0].frame.positions == pytest.approx(silicon(shift=0.1).positions)


def test_a_relaxation_that_was_stopped_goes_on_to_the_same_end(pw: Runner) -> None:
    start, how = silicon(shift=0.2), {**SLOW_SILICON, "fmax": 0.005}
    whole = pw(start, "relax", **how)
    first = pw.context(checkpoint_interval=3600.0, stop_at_step=1, stop_reason="time_limit")
    stopped = pw(start, "relax", first, **how)
    assert stopped.results.stopped
    assert first.steps == [0, 1]
    assert first.checkpoint_made == [1]
    rest = pw(start, "relax", continued(first, pw), **how)
    assert "restart_mode = 'restart'" in (rest.context.workdir / "espresso.in").read_text()
    assert rest.context.head.first == 1
    assert rest.context.steps == whole.context.steps[1:]
    energies = whole.context.series("potential_energy")
    assert rest.context.series("potential_energy") == pytest.approx(energies[1:], abs=1e-6)
    assert rest["energy"] == pytest.approx(whole["energy"], abs=1e-7)
    assert rest.results.structure.atoms().positions == pytest.approx(
        whole.results.structure.atoms().positions, abs=1e-5
    )


def test_one_that_was_killed_goes_on_from_the_structure_of_its_last_checkpoint(pw: Runner) -> None:
    start, how = silicon(shift=0.2), {**SILICON, "fmax": 0.005}
    first = pw.context(checkpoint_interval=3600.0, checkpoint_steps=1)
    whole = pw(start, "relax", first, **how)
    assert first.checkpoint_made == whole.context.steps[1:]
    found = [each for each in find([first.place], enough=9).checkpoints if each.step < first.steps[-1]]
    again = pw.context(checkpoints=tuple(found), checkpoint_interval=3600.0)
    rest = pw(start, "relax", again, **how)
    assert "restart_mode = 'from_scratch'" in (again.workdir / "espresso.in").read_text()
    assert again.steps[0] == found[0].step
    assert again.samples[1].frame.positions == pytest.approx(first.samples[again.steps[1]].frame.positions, abs=1e-8)
    assert rest["energy"] == pytest.approx(whole["energy"], abs=1e-4)
    assert rest["fmax"] <= 0.005


def test_a_static_calculation_that_was_stopped_goes_on_inside_its_cycle(pw: Runner) -> None:
    how = {**SLOW_SILICON, "conv_thr": 1e-12}
    whole = pw(silicon(shift=0.1), "static", **how)
    first = pw.context(checkpoint_interval=3600.0, stop_at_step=2, stop_reason="shutdown")
    assert pw(silicon(shift=0.1), "static", first, **how).results.stopped
    assert first.checkpoint_made == [first.steps[-1]]
    rest = pw(silicon(shift=0.1), "static", continued(first, pw), **how)
    assert rest.context.steps[0] > first.steps[-1]
    assert len(rest.context.steps) < len(whole.context.steps)
    assert rest["energy"] == pytest.approx(whole["energy"], abs=1e-6)


def test_molecular_dynamics_that_was_stopped_goes_on(pw: Runner) -> None:
    how = {**SILICON, "steps": 30, "timestep": 1.0}
    whole = pw(silicon(shift=0.1), "md", **how)
    first = pw.context(checkpoint_interval=3600.0, stop_at_step=2, stop_reason="time_limit")
    assert pw(silicon(shift=0.1), "md", first, **how).results.stopped
    rest = pw(silicon(shift=0.1), "md", continued(first, pw), **how)
    assert rest.context.steps == whole.context.steps[first.steps[-1] :]
    assert rest.context.series("total_energy") == pytest.approx(
        whole.context.series("total_energy")[first.steps[-1] :], abs=1e-5
    )


def moving() -> Atoms:
    """Return silicon at about 300 K, which does not move as a whole."""
    atoms = silicon(shift=0.02) * (2, 1, 1)
    momenta = np.random.default_rng(1).normal(scale=np.sqrt(28 * units.kB * 300), size=(4, 3))
    atoms.set_momenta(momenta - momenta.mean(axis=0))
    return atoms


def test_dynamics_begins_with_the_velocities_of_the_structure(pw: Runner) -> None:
    atoms = moving()
    run = pw(atoms, "md", **SILICON, steps=3, timestep=1.0)
    kinetic, total = run.context.series("kinetic_energy"), run.context.series("total_energy")
    assert kinetic[0] == pytest.approx(atoms.get_kinetic_energy(), abs=2e-8 * units.Ry)
    assert kinetic[0] > 0.02
    assert np.ptp(total) < 0.01 * kinetic.max()
    first, second = (sample.frame.positions for sample in run.context.samples[:2])
    forces = run.printed[1][0].forces / atoms.get_masses()[:, None]
    expected = first + atoms.get_velocities() * units.fs + forces * units.fs**2 / 2
    assert second == pytest.approx(expected, abs=1e-6)
    final = run.results.structure.atoms()
    assert final.get_kinetic_energy() == pytest.approx(kinetic[-1], abs=1e-6)
    # What comes out goes on as if it had never ended.
    rest = pw(final, "md", **SILICON, steps=2, timestep=1.0)
    whole = pw(atoms, "md", **SILICON, steps=5, timestep=1.0)
    assert rest.results.structure.atoms().positions == pytest.approx(
        whole.results.structure.atoms().positions, abs=1e-6
    )


#: A thermostat that acts soon, on silicon that is as cheap as it may be.
HELD: Mapping[str, Any] = {
    **SILICON,
    "kpts": (1, 1, 1),
    "ecutwfc": 8,
    "ensemble": "nvt",
    "temperature": 300.0,
    "tdamp": 4.0,
    "timestep": 1.0,
}


def test_a_thermostat_brings_the_atoms_to_its_temperature(pw: Runner) -> None:
    hot = moving()
    hot.set_momenta(hot.get_momenta() * np.sqrt(3000 / hot.get_temperature()))
    run = pw(hot, "md", **HELD, steps=90)
    temperature = run.context.series("temperature")
    assert temperature[0] > 1500
    # Nine degrees of freedom spread by 47 % around the mean, the mean of so many collisions by less than a fifth of it.
    assert 150 < temperature[30:].mean() < 450
    kinetic = run.context.series("kinetic_energy")
    assert kinetic / (4.5 * units.kB) == pytest.approx(temperature)
    final = run.results.structure.atoms()
    assert final.get_kinetic_energy() == pytest.approx(kinetic[-1])
    # pw.x has some of the motion of the centre of mass in its kinetic energy, which collisions bring and it takes away.
    assert final.get_momenta().sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-3)
    printed = np.array([cycle.kinetic for cycle in run.printed[1]])
    assert (printed > kinetic - 1e-4).all()
    assert printed[0] == pytest.approx(kinetic[0], rel=0.2)
    free = pw(hot, "md", **{**HELD, "ensemble": "nve"}, steps=30)
    assert free.context.series("temperature").min() > 700


def test_dynamics_with_a_thermostat_that_was_stopped_goes_on(pw: Runner) -> None:
    first = pw.context(checkpoint_interval=3600.0, stop_at_step=4, stop_reason="time_limit")
    assert pw(silicon(), "md", first, **HELD, steps=30).results.stopped
    rest = pw(silicon(), "md", continued(first, pw), **HELD, steps=30)
    assert rest.context.steps == list(range(first.steps[-1], 31))
    assert rest.context.samples[0].frame.positions == pytest.approx(first.samples[-1].frame.positions, abs=1e-8)
    assert rest.results.provenance["seed"] == DEFAULT_SEED


def test_a_structure_that_moves_as_a_whole_is_told_that_pwx_ends_that(pw: Runner) -> None:
    atoms = silicon()
    atoms.set_velocities([[0.01, 0, 0]] * 2)
    run = pw(atoms, "md", **SILICON, steps=1)
    assert any("centre of mass" in line for line in run.context.logged)
    assert run.context.series("kinetic_energy")[0] == pytest.approx(0, abs=1e-9)
    assert not any("centre of mass" in line for line in pw(silicon(), "md", **SILICON, steps=1).context.logged)


@pytest.mark.parametrize("how_it_begins", ["at rest", "moving"])
def test_dynamics_that_was_killed_goes_on_from_its_last_checkpoint(pw: Runner, how_it_begins: str) -> None:
    start = moving() if how_it_begins == "moving" else silicon(shift=0.1)
    how = {**SILICON, "steps": 6, "timestep": 2.0, "conv_thr": 1e-10}
    first = pw.context(checkpoint_interval=3600.0, checkpoint_steps=2)
    whole = pw(start, "md", first, **how)
    assert first.checkpoint_made == [2, 4, 6]
    found = [each for each in find([first.place], enough=9).checkpoints if each.step == 4]
    again = pw.context(checkpoints=tuple(found), checkpoint_interval=3600.0)
    rest = pw(start, "md", again, **how)
    assert (again.head.first, again.steps) == (4, [4, 5, 6])
    for one, other in zip(again.samples, first.samples[4:], strict=True):
        assert one.frame.positions == pytest.approx(other.frame.positions, abs=1e-7)
    for column, error in (("total_energy", 1e-6), ("kinetic_energy", 1e-6), ("time", 0)):
        assert again.series(column) == pytest.approx(first.series(column)[4:], abs=error)
    assert rest.results.structure.atoms().get_velocities() == pytest.approx(
        whole.results.structure.atoms().get_velocities(), abs=1e-6
    )


@pytest.mark.parametrize("task", ["static", "relax"])
def test_a_state_that_is_too_large_is_kept_without_its_wave_functions(
    pw: Runner, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    how = {**SLOW_SILICON, "conv_thr": 1e-12} if task == "static" else SLOW_SILICON
    whole = pw(silicon(shift=0.1), task, **how)
    step = 2 if task == "static" else 1
    first = pw.context(checkpoint_interval=3600.0, stop_at_step=step, stop_reason="shutdown")
    monkeypatch.setattr(tasks, "LARGEST_STATE", 1_000_000)
    assert pw(silicon(shift=0.1), task, first, **how).results.stopped
    (place,) = [path for path in first.place.iterdir() if path.is_dir()]
    names = {path.name for path in place.iterdir()}
    assert any("restart" in name for name in names)
    assert not any("wfc" in name for name in names)
    rest = pw(silicon(shift=0.1), task, continued(first, pw), **how)
    assert "restart_mode = 'restart'" in (rest.context.workdir / "espresso.in").read_text()
    if task == "static":
        # It begins near the end of the cycle, though how many iterations are left depends on when it was stopped.
        assert rest.context.series("scf_accuracy")[0] < 0.2 * whole.context.series("scf_accuracy")[0]
    else:
        assert len(rest.context.steps) < len(whole.context.steps)
    assert rest["energy"] == pytest.approx(whole["energy"], abs=1e-5)
    monkeypatch.setattr(tasks, "LARGEST_STATE", 1000)
    second = pw.context(checkpoint_interval=3600.0, stop_at_step=step, stop_reason="shutdown")
    pw(silicon(shift=0.1), task, second, **how)
    assert any("no state" in line or "state is not" in line for line in second.logged)


def test_a_cancel_ends_it_within_two_seconds_and_leaves_no_checkpoint(pw: Runner) -> None:
    def seconds() -> float:
        asked: list[float] = []
        context = pw.context(checkpoint_interval=3600.0, stop_at_step=1)
        context.on_stop(lambda: asked.append(time.monotonic()))
        run = pw(silicon(shift=0.2) * (2, 2, 2), "static", context, **SILICON)
        took = time.monotonic() - asked[0]
        assert run.results.stopped
        assert context.checkpoint_made == []
        assert not (context.workdir / "pwscf.EXIT").exists()
        return took

    assert quickest(seconds, limit=2.0) < 2.0


@pytest.mark.parametrize(("task", "cycles"), [("static", 1), ("md", 2)])
def test_one_that_ends_though_it_was_asked_to_stop_has_its_results(
    pw: Runner, stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, task: str, cycles: int
) -> None:
    how = {**SILICON, **({"steps": cycles - 1} if task == "md" else {})}
    whole = pw(silicon(shift=0.1), task, **how)
    context = pw.context(checkpoint_interval=3600.0, stop_reason="time_limit")
    feed = Reader.feed
    forces: list[str] = []

    def ask_at_the_last_forces(reader: Reader, line: str) -> Iteration | Cycle | None:
        forces.extend([line] if "Forces acting" in line else [])
        if len(forces) == cycles and context.stop is None:
            context.ask_to_stop()
        return feed(reader, line)

    monkeypatch.setattr(Reader, "feed", ask_at_the_last_forces)
    # Whatever is said after the last forces comes when pw.x has been asked to stop.
    stand_in(
        f"""$PW "$@" | while IFS= read -r line; do
            echo "$line"
            case $line in *"Forces acting"*) n=x$n;; esac
            [ ${{#n}} -lt {cycles} ] || until [ -e pwscf.EXIT ]; do :; done
        done"""
    )
    run = pw(silicon(shift=0.1), task, context, **how)
    assert (context.stop, run.results.stopped) == ("time_limit", False)
    assert context.checkpoint_made == []
    assert run["energy"] == whole["energy"]
    assert context.steps == whole.context.steps


def test_a_stop_file_that_was_left_does_not_stop_the_next_run(pw: Runner) -> None:
    context = pw.context()
    (context.workdir / "pwscf.EXIT").touch()
    assert pw(silicon(), "static", context, **SILICON)["converged"] is True
