"""Molecular dynamics over a calculator of ASE that blows up, and such as is only hot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from nanoos_lab.core.errors import EngineError, JobFailedError
from nanoos_lab.core.status import Reason
from nanoos_lab.store.checkpoints import find
from tests.engines.ase.running import run
from tests.engines.context import RecordingContext

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab import Lab

DOUBLES = "tests.engines.ase.doubles"
#: Copper bears a time step of 20 fs; with 40 fs it is at 10⁷ K within some steps.
TOO_LONG: dict[str, Any] = {"calculator": "emt", "temperature": 600.0, "timestep": 40.0}


def copper(kelvin: float = 0.0, *, strain: float = 0.0, rattle: float = 0.0) -> Atoms:
    """Return copper whose atoms move as at a temperature, compressed by a part, each a little aside."""
    atoms = bulk("Cu", cubic=True, a=3.61 * (1 - strain)) * (2, 2, 2)
    atoms.rattle(rattle, seed=2)
    spread = np.sqrt(atoms.get_masses() * units.kB * kelvin)[:, None]
    atoms.set_momenta(spread * np.random.default_rng(1).standard_normal((len(atoms), 3)))
    return atoms


def failure(context: RecordingContext, atoms: Atoms, **parameters: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        run(context, atoms, "md", **parameters)
    return caught.value


def step_of(error: EngineError) -> int:
    return int(error.message.rpartition(" at step ")[2])


def test_a_run_that_blows_up_is_stopped_long_before_its_next_sample(context):
    error = failure(context, copper(), **TOO_LONG, steps=10**9, every=10**9)
    assert error.message.startswith("the simulation blew up: the temperature is ")
    assert step_of(error) < 1000
    assert error.reason is Reason.ENGINE
    assert error.correction is not None
    assert error.correction.changes == {"timestep": 20.0}
    assert context.steps == [0]


@pytest.mark.parametrize("ensemble", [{"ensemble": "nvt", "thermostat": name} for name in ("bussi", "langevin")])
def test_a_thermostat_does_not_hide_it(context, ensemble):
    assert "blew up" in failure(context, copper(), **TOO_LONG, **ensemble, steps=10**9, every=10**9).message


def test_what_has_blown_up_is_no_sample_and_no_checkpoint(tmp_path):
    context = RecordingContext(workdir=tmp_path, checkpoint_interval=3600.0, checkpoint_steps=1)
    error = failure(context, copper(), **TOO_LONG, steps=10**6, every=1)
    assert max(context.series("temperature")) < 1e5
    assert max(context.checkpoint_made) < step_of(error)


def test_a_calculator_that_fails_since_the_atoms_flew_apart_is_not_to_blame(context):
    atoms = Atoms("H", positions=[[1, 0, 0]])
    # Its springs push; it fails at the end of the first step.
    error = failure(
        context, atoms, calculator=f"{DOUBLES}:Broken", calculator_options={"k": -1e6, "after": 1}, steps=10
    )
    assert error.message.startswith("the simulation blew up: the temperature is ")
    assert step_of(error) == 1


def test_forces_that_are_no_numbers_end_it(context):
    atoms = Atoms("H", positions=[[1, 0, 0]])
    error = failure(context, atoms, calculator=f"{DOUBLES}:Lost", steps=1000, every=1000)
    assert "blew up: energies are no longer finite numbers at step" in error.message
    assert error.correction is not None


@pytest.mark.parametrize(
    ("atoms", "parameters"),
    [
        pytest.param(
            copper(40_000.0), {"ensemble": "nvt", "thermostat": "langevin", "temperature": 300.0}, id="a quench"
        ),
        pytest.param(copper(300_000.0), {"timestep": 0.2}, id="velocities beyond any bond"),
        pytest.param(
            copper(),
            {"ensemble": "nvt", "temperature": 4000.0, "temperature_end": 6000.0},
            id="melting",
        ),
        pytest.param(copper(strain=0.25, rattle=0.3), {"temperature": 300.0}, id="a strained structure"),
    ],
)
def test_a_run_that_is_only_hot_goes_on(context, atoms, parameters):
    results = run(context, atoms, "md", calculator="emt", steps=150, every=50, **{"timestep": 1.0, **parameters})
    assert context.steps == [0, 50, 100, 150]
    assert not results.stopped
    assert max(context.series("temperature")) > 1000


def test_a_run_that_began_hot_goes_on_as_hot_from_a_checkpoint(tmp_path: Path):
    given = {"calculator": "emt", "timestep": 0.1, "steps": 20, "every": 10}
    first = RecordingContext(
        workdir=tmp_path / "first", checkpoint_interval=3600.0, stop_after_samples=2, stop_reason="shutdown"
    )
    first.workdir.mkdir()
    atoms = copper(500_000.0)
    assert run(first, atoms, "md", **given).stopped
    second = RecordingContext(
        workdir=tmp_path / "second", checkpoint_interval=3600.0, checkpoints=find([first.place]).checkpoints
    )
    second.workdir.mkdir()
    run(second, atoms, "md", **given)
    assert second.steps == [10, 20]
    assert min(second.series("temperature")) > 1e5


def test_a_run_that_is_steered_to_a_high_temperature_goes_on(tmp_path: Path):
    context = RecordingContext(workdir=tmp_path, steer_at={5: {"temperature": 200_000.0}})
    given = {"ensemble": "nvt", "thermostat": "langevin", "temperature": 300.0, "tdamp": 1.0, "timestep": 0.1}
    run(context, copper(), "md", calculator="emt", steps=200, every=200, **given)
    assert context.series("temperature")[-1] > 1e5


def test_in_a_lab_too_large_a_timestep_is_corrected_until_the_job_succeeds(lab: Lab) -> None:
    job = lab.submit(copper(), engine="ase", task="md", **TOO_LONG, steps=200, every=100, retries=1).wait(120)
    assert job.status == "succeeded"
    assert [attempt.outcome for attempt in job.attempts] == ["corrected", "succeeded"]
    assert "the time step is halved from 40 to 20 fs" in job.attempts[0].correction.why
    assert job.attempts[-1].provenance["corrected"] == {"timestep": 20.0}
    assert job.thermo["time"].iloc[-1] == 200 * 20.0


def test_in_a_lab_without_corrections_it_fails_with_a_plain_sentence(lab: Lab) -> None:
    job = lab.submit(copper(), engine="ase", task="md", **TOO_LONG, steps=10**8, every=10**6, corrections=False)
    with pytest.raises(JobFailedError, match=r"the simulation blew up: the temperature is .* K at step") as caught:
        job.wait(120).result()
    assert caught.value.reason is Reason.ENGINE
    assert "Use a smaller timestep" in caught.value.remedy
    assert len(job.attempts) == 1
