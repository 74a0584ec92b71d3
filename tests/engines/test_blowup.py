"""When molecular dynamics has blown up: what is stopped, and what is only hot."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.blowup import Guard, calmer


def is_stopped(guard: Guard, temperature: float, step: int = 7) -> bool:
    with suppress(EngineError):
        guard.check(step, temperature)
        return False
    return True


@pytest.mark.parametrize(
    ("parameters", "hottest"),
    [
        ({}, 1e5),
        ({"temperature": None, "temperature_end": None, "epsilon": None}, 1e5),
        ({"temperature": 300.0, "temperature_end": 3000.0}, 1e5),
        ({"temperature": 20_000.0, "temperature_end": 10.0}, 4e5),
        ({"temperature": 300.0, "temperature_end": 1e5}, 2e6),
        # Reduced units by another name: a bond of 1 eV is 11,604 K.
        ({"temperature": None, "epsilon": 1.0}, 20 * 11604.5),
    ],
)
def test_a_run_may_become_as_hot_as_no_bond_holds_or_many_times_what_it_heads_for(parameters, hottest):
    guard = Guard(parameters)
    assert not is_stopped(guard, 0.999 * hottest)
    assert is_stopped(guard, 1.001 * hottest)


def test_a_run_may_begin_and_be_led_as_hot_as_it_likes():
    guard = Guard({"temperature": 300.0})
    assert not is_stopped(guard, 1e6, step=0)
    assert not is_stopped(guard, 1.9e7)
    assert is_stopped(guard, 2.1e7)
    guard.expect(None, 1e7)
    assert not is_stopped(guard, 1.9e8)
    guard.expect(300.0)
    assert not is_stopped(guard, 1.9e8)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_must_be_finite_from_the_first_step_on(value):
    guard = Guard({"timestep": 2.0})
    for step, values in ((0, (value, 1.0)), (0, (300.0, value)), (3, (300.0, 1.0, value))):
        with pytest.raises(EngineError, match=f"blew up: energies are no longer finite numbers at step {step}"):
            guard.check(step, *values)


def test_the_error_says_what_why_and_what_to_do_next():
    with pytest.raises(EngineError, match=r"blew up: the temperature is 4.6e\+09 K at step 30") as caught:
        Guard({"timestep": 40.0}).check(30, 4.6e9)
    assert caught.value.reason is Reason.ENGINE
    assert "smaller timestep" in caught.value.remedy
    assert caught.value.correction is not None
    assert caught.value.correction.changes == {"timestep": 20.0}


def test_the_time_step_is_halved_and_the_structure_relaxed_first_where_the_task_can():
    assert calmer({"timestep": 40.0}).changes == {"timestep": 20.0}
    assert calmer({"timestep": 40.0, "minimize_first": False}).changes == {"timestep": 20.0, "minimize_first": True}
    assert "relaxed a little" in calmer({"timestep": 40.0, "minimize_first": False}).why
    assert "relaxed" not in calmer({"timestep": 20.0, "minimize_first": True}).why
    assert calmer({"timestep": 40.0}).from_start
    assert calmer({"timestep": 0.09}) is None
    assert calmer({}) is None
