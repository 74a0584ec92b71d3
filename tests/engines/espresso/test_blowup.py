"""Molecular dynamics of pw.x that blows up, and such as is only hot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import units
from ase.build import bulk

from nanoos_lab.core.errors import EngineError, JobFailedError
from nanoos_lab.core.status import Reason
from tests.engines.espresso.running import SILICON, continued, silicon

if TYPE_CHECKING:
    from ase import Atoms

    from nanoos_lab import Lab
    from tests.engines.espresso.running import Runner

#: Silicon whose atoms are too near to each other: with 40 fs it is at 10⁵ K in the second step, with 20 fs in none of
#: the first three.
PRESSED = silicon(shift=0.3)
TOO_LONG: dict[str, Any] = {**SILICON, "timestep": 40.0}


def hot(kelvin: float) -> Atoms:
    atoms = silicon()
    momenta = np.random.default_rng(1).normal(scale=np.sqrt(28 * units.kB * kelvin), size=(1, 3))
    atoms.set_momenta(np.concatenate([momenta, -momenta]))
    return atoms


def test_a_run_that_blows_up_is_stopped_long_before_its_next_sample(pw: Runner) -> None:
    context = pw.context(checkpoint_interval=3600.0)
    with pytest.raises(EngineError, match=r"the simulation blew up: the temperature is .* K at step ") as caught:
        pw(PRESSED, "md", context, **TOO_LONG, steps=10**6, every=10**6)
    assert caught.value.reason is Reason.ENGINE
    assert "Use a smaller timestep" in caught.value.remedy
    assert caught.value.correction is not None
    assert (caught.value.correction.changes, caught.value.correction.from_start) == ({"timestep": 20.0}, True)
    assert (context.steps, context.checkpoint_made) == ([0], [])


def test_a_run_that_began_hotter_than_any_bond_goes_on_as_hot_from_a_checkpoint_too(pw: Runner) -> None:
    how = {**SILICON, "steps": 30, "timestep": 0.02}
    first = pw.context(checkpoint_interval=3600.0, stop_at_step=2, stop_reason="shutdown")
    assert pw(hot(300_000.0), "md", first, **how).results.stopped
    rest = pw(hot(300_000.0), "md", continued(first, pw), **how)
    assert rest.context.steps == list(range(first.steps[-1], 31))
    assert min(*first.series("temperature"), *rest.context.series("temperature")) > 1e5


def test_a_single_atom_which_has_no_temperature_goes_on(pw: Runner) -> None:
    run = pw(
        bulk("Al"), "md", pseudos={"Al": "Al.pz-vbc.UPF"}, ecutwfc=12, kpts=(1, 1, 1), smearing="gaussian", steps=2
    )
    assert run.context.steps == [0, 1, 2]


def test_in_a_lab_too_large_a_timestep_is_corrected(lab: Lab) -> None:
    job = lab.submit(PRESSED, engine="espresso", task="md", **TOO_LONG, steps=3, retries=1).wait(120)
    assert job.status == "succeeded"
    assert [attempt.outcome for attempt in job.attempts] == ["corrected", "succeeded"]
    assert "the time step is halved from 40 to 20 fs" in job.attempts[0].correction.why
    assert job.thermo["time"].tolist() == [0.0, 20.0, 40.0, 60.0]


def test_in_a_lab_without_corrections_it_fails_with_a_plain_sentence(lab: Lab) -> None:
    job = lab.submit(PRESSED, engine="espresso", task="md", **TOO_LONG, steps=10**5, corrections=False)
    with pytest.raises(JobFailedError, match=r"the simulation blew up: the temperature is .* K at step"):
        job.wait(120).result()
    assert len(job.attempts) == 1
