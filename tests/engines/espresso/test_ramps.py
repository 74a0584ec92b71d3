"""Molecular dynamics on a ramp of the temperature: pw.x's own thermostat goes along it, over all attempts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nanoos_lab.core.errors import ParameterError
from tests.engines.espresso.running import SILICON, continued, silicon, text_of, value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.engines.espresso.running import Run, Runner

#: Silicon that is as cheap as it may be; a stair in each five steps.
RAMP: Mapping[str, Any] = {
    **SILICON,
    "kpts": (1, 1, 1),
    "ecutwfc": 8,
    "ensemble": "nvt",
    "tdamp": 5.0,
    "timestep": 1.0,
}


def stairs(run: Run) -> dict[int, float]:
    """Return the temperature to which pw.x says that it goes, by the step after which it does so."""
    text = (run.context.workdir / "espresso.out").read_text()
    found = re.findall(
        r"Entering Dynamics: +iteration = +(\d+)\s.*?time.*?\s+Thermalization: T \( *([\d.]+)K\) (\w+) +by +([\d.]+)",
        text,
    )
    signs = {"augmented": 1, "reduced": -1}
    first = run.context.steps[0]
    return {first + int(step) - 1: float(now) + signs[how] * float(by) for step, now, how, by in found}


@pytest.mark.parametrize(("begin", "end"), [(200, 1400), (1400, 200)])
def test_the_thermostat_goes_linearly_to_the_temperature_of_the_end(pw: Runner, begin: int, end: int) -> None:
    run = pw(silicon() * (2, 1, 1), "md", **RAMP, steps=99, temperature=begin, temperature_end=end)
    found = stairs(run)
    assert list(found) == list(range(4, 100, 5))
    ramp = begin + (end - begin) * (np.array(list(found)) + 1) / 100
    # pw.x prints a digit of one number and three of the other.
    assert list(found.values()) == pytest.approx(ramp, abs=0.06)
    assert list(found.values())[-1] == pytest.approx(end, abs=0.06)
    measured = run.context.series("temperature")
    # Where velocities have just been rescaled, but for what the forces do to them within half a step.
    assert measured[list(found)] == pytest.approx(ramp, rel=0.3)
    thirds = [part.mean() for part in np.split(measured[:99], 3)]
    assert thirds == sorted(thirds, reverse=end < begin)


def test_a_ramp_that_was_stopped_goes_on_where_it_was(pw: Runner) -> None:
    how = {**RAMP, "steps": 59, "temperature": 900.0, "temperature_end": 300.0}
    first = pw.context(checkpoint_interval=3600.0, stop_at_step=22, stop_reason="time_limit")
    assert pw(silicon(), "md", first, **how).results.stopped
    rest = pw(silicon(), "md", continued(first, pw), **how)
    assert rest.context.steps == list(range(first.steps[-1], 60))
    found = stairs(rest)
    assert len(found) >= 4
    assert list(found.values()) == pytest.approx(900 - 10 * (np.array(list(found)) + 1), abs=0.06)


def test_a_ramp_is_one_of_pwxs_thermostat_in_steps_of_the_relaxation_time() -> None:
    text = text_of(silicon(), "md", **RAMP, steps=79, temperature=300, temperature_end=700)
    assert (value(text, "ion_temperature"), value(text, "nraise")) == ("'reduce-T'", "5")
    assert (float(value(text, "tempw")), float(value(text, "delta_t"))) == (300.0, 25.0)
    # At its first step pw.x does not know the temperature yet.
    short = text_of(silicon(), "md", **{**RAMP, "tdamp": 0.1}, steps=79, temperature=300, temperature_end=700)
    assert value(short, "nraise") == "2"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ensemble": "nve"}, r"temperature_end=700.*only with ensemble='nvt'"),
        ({"temperature_end": 0}, r"temperature_end=0.*> 0"),
        ({"tdamp": 9.0}, r"tdamp=9.*at most 7 fs"),
        ({"steps": 19}, r"steps=19.*20 or more"),
        ({"input": {"ions": {"delta_t": 5.0}}}, r"delta_t.*use temperature_end"),
    ],
)
def test_a_ramp_that_pwx_cannot_go_is_refused(given: dict[str, Any], words: str) -> None:
    how = {**RAMP, "steps": 79, "temperature": 300, "temperature_end": 700.0, **given}
    with pytest.raises(ParameterError, match=words):
        text_of(silicon(), "md", **how)
