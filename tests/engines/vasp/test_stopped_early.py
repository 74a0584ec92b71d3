"""Runs of VASP that go bad are not waited for; a replay stands in for VASP."""

from __future__ import annotations

import pytest

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.status import Reason
from nanoos_lab.store.checkpoints import find
from tests.engines.context import RecordingContext
from tests.engines.vasp.running import alive, atoms_of, run
from tests.engines.vasp.synthetic import Run


@pytest.mark.parametrize(
    ("how", "tags"), [({}, {"SYMPREC": 1e-8}), ({"incar": {"ALGO": "Fast", "NPAR": 2}}, {"ALGO": "Normal", "NPAR": 2})]
)
def test_a_run_that_says_nothing_for_too_long_is_stopped(context, replay, tmp_path, how, tags) -> None:
    replay(Run(steps=1, seconds=60).write(tmp_path / "recording"), speed=1)
    with pytest.raises(EngineError, match=r"has said nothing for 0\.3 s") as stuck:
        run(context, atoms_of(Run()), "static", silence=0.3, **how)
    assert stuck.value.correction is not None
    assert stuck.value.correction.changes == {"incar": tags}
    assert not alive(context.workdir)
    assert not (context.workdir / "POTCAR").exists()


def test_one_that_says_nothing_is_stopped_after_what_the_host_says(context, replay, tmp_path, monkeypatch) -> None:
    replay(Run(steps=1, seconds=60).write(tmp_path / "recording"), speed=1)
    monkeypatch.setenv("NANOOS_SILENCE", "0.3")
    with pytest.raises(EngineError, match=r"has said nothing for 0\.3 s"):
        run(context, atoms_of(Run()), "static")


@pytest.mark.parametrize(("task", "changes"), [("md", {"timestep": 0.5}), ("relax", {"incar": {"POTIM": 0.25}})])
def test_atoms_that_fly_apart_are_stopped(context, replay, tmp_path, task, changes) -> None:
    made = Run(md=task == "md", steps=50, seconds=0.05)
    text = made.outcar().replace(f"{made.free_energy(2):18.8f} eV", f"{1e4:18.8f} eV")
    place = made.write(tmp_path / "recording")
    (place / "OUTCAR").write_text(text)
    replay(place, speed=5)
    with pytest.raises(EngineError, match=r"has risen by .* in one step, at step 2") as caught:
        run(context, atoms_of(Run()), task, steps=49)
    assert caught.value.correction is not None
    assert caught.value.correction.changes == changes
    assert context.steps[-1] < 10
    assert not alive(context.workdir)


def test_dynamics_whose_forces_are_not_converged_have_failed(context, replay, tmp_path) -> None:
    made = Run(md=True, steps=20, unconverged=(4, 7, 11))
    replay(made.write(tmp_path / "recording"))
    with pytest.raises(EngineError, match=r"did not converge in 60 iterations at 3 of 20 steps") as caught:
        run(context, atoms_of(made), "md", steps=19)
    assert caught.value.reason is Reason.CONVERGENCE
    assert caught.value.correction is not None
    assert caught.value.correction.from_start
    assert [line for line in context.logged if line.startswith("warning")] == [
        "warning: the SCF cycle did not converge at step 4; later ones are counted",
        "warning: the SCF cycle did not converge in 3 of 20 ionic steps",
    ]


def test_dynamics_get_over_a_few_steps_that_are_not_converged(context, replay, tmp_path) -> None:
    made = Run(md=True, steps=20, unconverged=(0, 19))
    replay(made.write(tmp_path / "recording"))
    results = run(context, atoms_of(made), "md", steps=19)
    assert context.steps[-1] == 19
    assert results.properties["converged"] is False
    assert results.properties["caveat"] == "the SCF cycle did not converge in 2 of 20 ionic steps"
    assert "warning: the SCF cycle did not converge in 2 of 20 ionic steps" in context.logged


@pytest.mark.parametrize(("task", "steps", "done"), [("static", 1, 0), ("relax", 3, 1), ("md", 20, 2)])
def test_a_cycle_that_gets_nowhere_is_stopped_where_the_run_cannot_do_without_it(
    context, replay, tmp_path, task: str, steps: int, done: int
) -> None:
    """Dynamics can do without two in twenty, a relaxation without the first one, which has a poor guess."""
    made = Run(md=task == "md", steps=steps, iterations=60, stuck=0.5, seconds=0.0, hangs=(done, 39))
    replay(made.write(tmp_path / "recording"))
    context.checkpoint_interval = 60.0
    how = {} if task == "static" else {"steps": steps - 1}
    with pytest.raises(EngineError, match=r"SCF cycle was stopped at iteration 38, since it diverges") as caught:
        run(context, atoms_of(made), task, **how)
    assert caught.value.reason is Reason.CONVERGENCE
    assert caught.value.correction.changes == {"incar": {"ALGO": "All", "ISEARCH": 1}}
    assert caught.value.correction.from_start == (task == "md")
    assert context.steps == list(range(done))
    assert not alive(context.workdir)


def test_a_cycle_that_makes_its_first_iterations_for_a_density_that_is_kept_is_not_stopped(
    context, replay, tmp_path
) -> None:
    made = Run(steps=1, iterations=37, nelm=100, stuck=0.5, seconds=0.0)
    replay(made.write(tmp_path / "recording"))
    assert run(context, atoms_of(made), "static").properties["scf_iterations"] == 37


def test_an_energy_that_is_no_number_ends_the_run(context, replay, tmp_path) -> None:
    made = Run(steps=3)
    text = made.outcar().replace(f"{made.free_energy(1):18.8f} eV", "****************** eV")
    place = made.write(tmp_path / "recording")
    (place / "OUTCAR").write_text(text)
    replay(place)
    with pytest.raises(EngineError, match="no longer a finite number at step 1"):
        run(context, atoms_of(Run()), "relax")


@pytest.mark.parametrize(("smearing", "told"), [("gaussian", True), ("fermi", False)])
def test_a_smearing_that_is_too_wide_is_told_of(context, replay, tmp_path, smearing: str, told: bool) -> None:
    made = Run(steps=1)
    place = made.write(tmp_path / "recording")
    free = made.free_energy(0)
    text = made.outcar().replace(f"{free + 0.002:16.8f}", f"{free + 0.02:16.8f}")
    (place / "OUTCAR").write_text(text)
    replay(place)
    run(context, atoms_of(made), "static", smearing=smearing)
    assert any("the smearing is wide: its energy is 10 meV an atom" in line for line in context.logged) == told


def test_dynamics_are_judged_by_the_steps_of_earlier_attempts_too(context, replay, tmp_path) -> None:
    made, rest = Run(md=True, steps=20, closing=False, unconverged=(3,)), Run(md=True, steps=5, begin=19)
    replay(made.write(tmp_path / "broken off"), rest.write(tmp_path / "rest"))
    context.checkpoint_interval = 60.0
    with pytest.raises(EngineError, match="without its closing words"):
        run(context, atoms_of(made), "md", steps=23)
    work = tmp_path / "second"
    work.mkdir()
    found = find([context.place]).checkpoints
    assert [each.step for each in found] == [19]
    results = run(RecordingContext(workdir=work, checkpoints=found), atoms_of(made), "md", steps=23)
    assert results.properties["caveat"] == "the SCF cycle did not converge in 1 of 24 ionic steps"
