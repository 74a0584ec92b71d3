"""Parameters of jobs that are changed on their way, by real workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from ase.build import bulk

from nanoos_lab.core.errors import InputError, ParameterError, TransitionError, UnknownNameError
from nanoos_lab.lab.group import Group
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab

#: A run of the mock engine that lasts until it is cancelled, for all that a test needs.
MOCK: dict[str, Any] = {
    "engine": "mock",
    "task": "md",
    "ensemble": "nvt",
    "temperature": 300.0,
    "steps": 100_000,
    "every": 10,
    "duration": 500.0,
}


def lasting(lab: Lab) -> Iterator[Job]:
    job = lab.submit(bulk("Cu", cubic=True), **MOCK)
    yield job
    job.cancel()
    job.wait(60)


@pytest.fixture
def job(lab: Lab) -> Iterator[Job]:
    """A long run."""
    yield from lasting(lab)


@pytest.fixture
def gate(lab: Lab) -> Iterator[Job]:
    """A run after which others wait; its cancel opens it."""
    yield from lasting(lab)


def applied(job: Job) -> list[int]:
    """Steps of the steerings that were applied."""
    return [int(step) for step in job.steerings["step"].dropna()]


def test_a_running_job_follows_a_change_of_its_temperature(job: Job) -> None:
    until(lambda: job.record.step > 0)
    assert job.steerings.empty
    assert job.steer(temperature=3000) == 1
    until(lambda: applied(job))
    assert job.steerings["changes"].tolist() == [{"temperature": 3000.0}]
    (step,) = applied(job)
    assert job.steerings.loc[1, "attempt"] == 1
    until(lambda: job.thermo.index[-1] > step + 1000)
    assert job.thermo["temperature"].loc[step + 500 :].mean() > 1000
    assert f"Steering 1 holds from step {step} on: temperature=3000.0" in job.log
    assert f"1 was applied at step {step}" in [event.text for event in job.events if event.kind == "steering"]


def test_several_changes_are_applied_in_order(job: Job) -> None:
    until(lambda: job.record.step > 0)
    for kelvin in (400, 500, 600):
        job.steer(temperature=kelvin)
    until(lambda: len(applied(job)) == 3)
    steps = applied(job)
    assert steps == sorted(steps)
    assert [change["temperature"] for change in job.steerings["changes"]] == [400.0, 500.0, 600.0]


def test_a_job_that_waits_begins_with_what_was_changed(lab: Lab, gate: Job) -> None:
    wanted = {**MOCK, "steps": 50, "duration": 0.0}
    job = lab.submit(bulk("Cu", cubic=True), after=gate, after_failure="run", **wanted)
    job.steer(temperature=900)
    gate.cancel()
    assert job.wait(60).status == "succeeded"
    assert applied(job) == [0]
    asked_so = lab.submit(bulk("Cu", cubic=True), **{**wanted, "temperature": 900}).wait(60)
    pd.testing.assert_frame_equal(job.thermo, asked_so.thermo)


def test_a_paused_job_follows_when_it_goes_on(job: Job) -> None:
    until(lambda: job.record.step > 0)
    job.pause()
    job.steer(temperature=900)
    job.resume()
    until(lambda: applied(job))


def test_provenance_tells_how_a_job_was_steered(lab: Lab, gate: Job) -> None:
    wanted = {**MOCK, "steps": 50, "duration": 0.0}
    job = lab.submit(bulk("Cu", cubic=True), after=gate, after_failure="run", **wanted)
    job.steer(temperature=900, tdamp=50)
    gate.cancel()
    assert job.wait(60).status == "succeeded"
    told = {"number": 1, "step": 0, "changes": {"temperature": 900.0, "tdamp": 50.0}}
    assert job.provenance["steerings"] == [told]
    assert job.provenance["request"]["parameters"]["temperature"] == 300.0


@pytest.mark.parametrize(
    ("parameters", "changes"),
    [
        (MOCK, {"temperature": 900}),
        (MOCK, {"temprature": 900}),
        (MOCK, {}),
        ({**MOCK, "ensemble": "nve"}, {"temperature": 900}),
        ({"engine": "mock", "task": "relax"}, {"temperature": 900}),
    ],
    ids=["well asked", "misspelt", "empty", "without thermostat", "relaxation"],
)
def test_a_job_that_has_ended_says_so_whatever_is_asked_of_it(
    lab: Lab, parameters: dict[str, Any], changes: dict[str, Any]
) -> None:
    wanted = {**parameters, "not_before": pd.Timestamp.now("UTC") + pd.Timedelta("1h")}
    job = lab.submit(bulk("Cu", cubic=True), **wanted)
    job.cancel()
    ended = f"{job.record.ended:%Y-%m-%d %H:%M:%S} UTC"
    with pytest.raises(TransitionError, match=rf"{job.id} has ended \(cancelled, {ended}\); only one that has not"):
        job.steer(**changes)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({}, InputError, "name what to change: temperature, temperature_end, tdamp"),
        ({"temprature": 900}, UnknownNameError, "Did you mean 'temperature'"),
        ({"temperature": -1}, ParameterError, "temperature=-1 is not allowed: must be a number ≥ 0"),
        ({"steps": 10}, ParameterError, "steerable are temperature, temperature_end, tdamp"),
        ({"temperature": 900, "tdamp": "fast"}, ParameterError, "tdamp='fast'"),
    ],
)
def test_a_wrong_change_is_refused_where_it_is_asked_for(
    job: Job, changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        job.steer(**changes)
    assert job.steerings.empty


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"ensemble": "nve"}, "no thermostat"),
        ({"task": "relax"}, "engine 'mock', task 'relax' cannot be steered; of this engine 'md' can"),
    ],
)
def test_a_job_without_anything_to_steer_says_so(lab: Lab, parameters: dict[str, Any], words: str) -> None:
    wanted = {**MOCK, "not_before": pd.Timestamp.now("UTC") + pd.Timedelta("1h"), **parameters}
    if wanted["task"] == "relax":
        wanted = {name: wanted[name] for name in ("engine", "task", "not_before")}
    job = lab.submit(bulk("Cu", cubic=True), **wanted)
    with pytest.raises(InputError, match=words):
        job.steer(temperature=900)
    job.cancel()


LAMMPS: dict[str, Any] = {"engine": "lammps", "task": "md", "potential": "Cu_u3.eam", "ensemble": "nvt"}
EMT: dict[str, Any] = {
    "engine": "ase",
    "task": "md",
    "calculator": "emt",
    "ensemble": "nvt",
    "temperature": 300.0,
    "steps": 50,
    "every": 10,
    "seed": 77,
}


def test_a_run_of_lammps_heats_up_when_it_is_told_to(lab: Lab) -> None:
    job = lab.submit(bulk("Cu", cubic=True) * (3, 3, 3), **LAMMPS, temperature=300, tdamp=50.0, steps=10**8, every=100)
    until(lambda: job.record.step > 2000, seconds=60)
    job.steer(temperature=900, tdamp=40.0)
    until(lambda: applied(job), seconds=60)
    (step,) = applied(job)
    until(lambda: job.record.step > step + 10_000, seconds=120)
    job.cancel()
    job.wait(60)
    thermo = job.thermo["temperature"]
    assert thermo.loc[1000:step].mean() == pytest.approx(300, rel=0.15)
    assert thermo.loc[step + 2000 :].mean() == pytest.approx(900, rel=0.15)
    assert thermo.index.tolist() == list(range(0, thermo.index[-1] + 1, 100))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"commands": ["fix 9 all ave/time 1 10 10 c_thermo_temp"]}, "would lose at each change what it has gathered"),
        ({"ensemble": "nve"}, "no thermostat"),
    ],
)
def test_runs_of_lammps_that_cannot_be_renewed_cannot_be_steered(
    lab: Lab, parameters: dict[str, Any], words: str
) -> None:
    waiting = pd.Timestamp.now("UTC") + pd.Timedelta("1h")
    wanted = {**LAMMPS, "temperature": 300.0, "steps": 1000, "not_before": waiting, **parameters}
    job = lab.submit(bulk("Cu", cubic=True) * (3, 3, 3), **wanted)
    with pytest.raises(InputError, match=words):
        job.steer(temperature=900)
    job.cancel()


def test_a_steered_job_answers_no_equal_request(lab: Lab, gate: Job) -> None:
    # Engine mock would share no results at all.
    first, follower = (lab.submit(bulk("Cu", cubic=True), **EMT, after=gate, after_failure="run") for _ in range(2))
    assert follower.cached_from == first.id
    first.steer(temperature=900)
    assert follower.cached_from is None
    gate.cancel()
    assert first.wait(120).status == follower.wait(120).status == "succeeded"
    assert (first.record.key, first.cached_from, follower.cached_from) == (follower.record.key, None, None)
    assert first.results["energy"] != follower.results["energy"]
    # The one that was not steered does.
    assert lab.submit(bulk("Cu", cubic=True), **EMT).cached_from == follower.id


def test_a_steered_job_has_no_recipe(lab: Lab, gate: Job, tmp_path: Path) -> None:
    job = lab.submit(bulk("Cu", cubic=True), **EMT, after=gate, after_failure="run", cache=False)
    job.steer(temperature=900)
    gate.cancel()
    assert job.wait(60).status == "succeeded"
    with pytest.raises(InputError, match="was steered, at step 0, which no recipe does"):
        job.reproduce(tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.fixture
def group(lab: Lab) -> Iterator[Group]:
    """A sweep of runs that last until they are cancelled."""
    fixed = {name: value for name, value in MOCK.items() if name != "temperature"}
    group = lab.sweep(bulk("Cu", cubic=True), over={"temperature": [300, 600, 900]}, **fixed)
    yield group
    group.cancel()
    group.wait(60)


def test_all_jobs_of_a_group_are_steered_and_those_that_have_ended_are_left_alone(group: Group) -> None:
    until(lambda: group.status["running"] == 2)
    group[0].cancel()
    group[0].wait(60)
    steered = group.steer(temperature=1200, tdamp=50)
    assert steered.index.tolist() == list(group.ids)
    assert steered["temperature"].tolist() == [300, 600, 900]
    assert steered["steering"].tolist() == [pd.NA, 1, 1]
    assert steered.attrs["units"] == {"temperature": "K"}
    assert group[0].steerings.empty
    assert [job.steerings["changes"].tolist() for job in group[1:]] == [[{"temperature": 1200.0, "tdamp": 50.0}]] * 2
    until(lambda: applied(group[1]) and applied(group[2]))
    assert group[1:].steer(temperature=300)["steering"].tolist() == [2, 2]


def test_no_job_of_a_group_is_changed_if_one_cannot_take_it(lab: Lab, group: Group) -> None:
    later = pd.Timestamp.now("UTC") + pd.Timedelta("1h")
    rigid = [lab.submit(bulk("Cu", cubic=True), **{**MOCK, "ensemble": "nve", "not_before": later}) for _ in range(2)]
    whole = Group(lab, [*group.ids, *(job.id for job in rigid)])
    text = f"job {rigid[0].id} cannot take this, so none of 5 jobs was changed: .*no thermostat"
    with pytest.raises(InputError, match=text):
        whole.steer(temperature=1200)
    for changes, words in (({}, "name what to change"), ({"temprature": 1}, "Did you mean 'temperature'")):
        with pytest.raises(InputError, match=f"job {group.ids[0]} cannot take this.*{words}"):
            group.steer(**changes)
    assert all(job.steerings.empty for job in whole)
    for job in rigid:
        job.cancel()
    # Those that have ended are not asked.
    assert whole.steer(temperature=1200)["steering"].isna().tolist() == [False] * 3 + [True] * 2
