"""The grid of checkpoints: chosen once, for a running time, and kept."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.frames import Checkpoint, RunHead, Sample
from nanoos_lab.core.units import Column
from nanoos_lab.engines.drive import Course, drive
from nanoos_lab.engines.grid import LARGEST, Grid, bearable, choose, resume
from nanoos_lab.store.checkpoints import find
from tests.engines.context import RecordingContext

if TYPE_CHECKING:
    from pathlib import Path


class Count:
    """A run whose state is a number; it can stop by itself at a step."""

    def __init__(self, context: RecordingContext, stops_at: int = 0) -> None:
        self.context = context
        self.stops_at = stops_at
        self.at = 0
        self.renewed: list[int] = []

    def advance(self, steps: int) -> int:
        made = min(steps, self.stops_at - self.at) if self.stops_at else steps
        self.at += made
        if made < steps:
            self.context.ask_to_stop()
        return made

    def sample(self, step: int) -> Sample:
        assert step == self.at
        return Sample(step=step, row=(float(self.at),), frame=None)

    def save(self, directory: Path) -> None:
        (directory / "state.json").write_text(json.dumps(self.at))

    def renew(self, directory: Path, step: int) -> None:
        self.at = json.loads((directory / "state.json").read_text())
        assert self.at == step
        self.renewed.append(step)


def context_at(path: Path, **options: Any) -> RecordingContext:
    path.mkdir(exist_ok=True)
    context = RecordingContext(workdir=path, **{"checkpoint_interval": 60.0, "stop_reason": "pause", **options})
    columns = (Column(name="at", unit="1"),)
    context.begin(RunHead(total=None, columns=columns, numbers=np.array([29]), pbc=(True, True, True)))
    return context


def go(context: RecordingContext, *, steps: int = 1000, every: int = 100, stops_at: int = 0, worth: int = 1) -> Count:
    """Drive a run from its newest checkpoint on."""
    run = Count(context, stops_at)
    origin = resume(context, lambda checkpoint: run.renew(checkpoint.directory, checkpoint.step))
    grid = Grid(run, context, every=every, origin=origin, renew=run.renew, worth=worth)
    drive(run, Course(steps=steps, every=every, first=origin.step if origin else 0), context, grid)
    return run


def test_checkpoints_fall_on_the_grid_but_not_on_the_first_and_the_last_step(tmp_path: Path) -> None:
    context = context_at(tmp_path, checkpoint_steps=250)
    run = go(context)
    assert context.checkpoint_made == [250, 500, 750]
    assert run.renewed == [250, 500, 750]
    assert context.steps == list(range(0, 1001, 100))


def test_a_run_is_sampled_after_it_was_renewed(tmp_path: Path) -> None:
    context = context_at(tmp_path, checkpoint_steps=500)
    go(context, every=500)
    assert [checkpoint.step for checkpoint in find([context.place]).checkpoints] == [500]
    assert context.steps == [0, 500, 1000]


@pytest.mark.parametrize("reason", ["pause", "time_limit", "shutdown"])
def test_a_soft_stop_leaves_a_checkpoint_at_the_last_step_that_was_made(tmp_path: Path, reason: str) -> None:
    context = context_at(tmp_path, checkpoint_steps=200, stop_reason=reason)
    run = go(context, stops_at=337)
    assert context.checkpoint_made == [200, 337]
    assert run.renewed == [200]


def test_a_cancelled_run_leaves_none(tmp_path: Path) -> None:
    context = context_at(tmp_path, checkpoint_steps=200, stop_reason="cancel")
    go(context, stops_at=337)
    assert context.checkpoint_made == [200]


def test_a_run_that_is_stopped_at_its_first_step_leaves_none(tmp_path: Path) -> None:
    context = context_at(tmp_path, stop="pause")
    go(context)
    assert context.checkpoint_made == []
    assert context.samples == []


def test_without_an_interval_there_are_none_at_all(tmp_path: Path) -> None:
    context = context_at(tmp_path, checkpoint_interval=0.0, checkpoint_steps=100)
    go(context, stops_at=337)
    assert context.checkpoint_made == []


def test_the_next_attempt_goes_on_where_the_last_one_stopped_and_on_its_grid(tmp_path: Path) -> None:
    first = context_at(tmp_path / "1", checkpoint_steps=200)
    go(first, stops_at=337)
    second = context_at(tmp_path / "2", checkpoints=find([first.place]).checkpoints)
    go(second)
    assert second.steps == [400, 500, 600, 700, 800, 900, 1000]
    assert second.progress_steps[0] == 337
    assert second.checkpoint_made == [400, 600, 800]


def test_an_attempt_that_begins_on_a_sampled_step_samples_it(tmp_path: Path) -> None:
    """The earlier attempt may have been killed between checkpoint and sample."""
    first = context_at(tmp_path / "1", checkpoint_steps=200)
    go(first)
    second = context_at(tmp_path / "2", checkpoints=find([first.place]).checkpoints)
    go(second)
    assert second.steps == [800, 900, 1000]


def test_a_checkpoint_that_cannot_be_loaded_gives_way_to_the_one_before(tmp_path: Path) -> None:
    first = context_at(tmp_path / "1", checkpoint_steps=300)
    go(first)
    (first.place / "900" / "state.json").write_text("not JSON")
    found = [Checkpoint(step=step, directory=first.place / str(step), facts={"grid": 300}) for step in (900, 600)]
    second = context_at(tmp_path / "2", checkpoints=tuple(found))
    run = go(second)
    assert run.renewed == [600, 900]
    assert "the checkpoint at step 900 cannot be used" in second.logged[0]
    assert second.logged[1] == "This attempt goes on from the checkpoint at step 600."


def test_without_a_checkpoint_that_can_be_loaded_the_run_begins_anew_and_says_so(tmp_path: Path) -> None:
    def fail(checkpoint: Checkpoint) -> None:
        raise EngineError("of another version", reason="engine")

    found = Checkpoint(step=300, directory=tmp_path, facts={})
    context = context_at(tmp_path, checkpoints=(found,))
    assert resume(context, fail) is None
    assert context.logged == [
        "warning: the checkpoint at step 300 cannot be used: of another version",
        "warning: no checkpoint can be used; this attempt begins at step 0",
    ]


def test_a_run_that_cannot_be_renewed_keeps_no_checkpoint_of_it(tmp_path: Path) -> None:
    context = context_at(tmp_path, checkpoint_steps=100)
    run = Count(context)

    def renew(directory: Path, step: int) -> None:
        raise EngineError("the program does not read what it wrote", reason="engine")

    grid = Grid(run, context, every=100, renew=renew)
    with pytest.raises(EngineError):
        drive(run, Course(steps=1000, every=100), context, grid)
    assert find([context.place]).checkpoints == ()


def test_a_run_with_too_few_steps_between_checkpoints_is_not_renewed(tmp_path: Path) -> None:
    context = context_at(tmp_path, checkpoint_steps=100)
    assert go(context, worth=101).renewed == []
    assert context.checkpoint_made[-1] == 900


def test_the_grid_is_fixed_once_the_pace_is_known(tmp_path: Path) -> None:
    context = context_at(tmp_path)
    grid = Grid(Count(context), context, every=100)
    assert grid.following(0) is None
    grid.ran(10, 0.4)
    grid.ran(10, 0.5)
    assert grid.steps is None
    grid.ran(20, 0.6)
    assert grid.steps == 1600
    grid.ran(10, 100.0)
    assert grid.steps == 1600
    assert grid.following(1599) == 1600
    assert grid.following(1600) == 3200


@pytest.mark.parametrize("paused", [0, 1, 2])
def test_a_pause_while_the_pace_is_measured_does_not_count(tmp_path: Path, paused: int) -> None:
    context = context_at(tmp_path)
    grid = Grid(Count(context), context, every=100)
    for chunk in range(3):
        grid.ran(10, 600.0 if chunk == paused else 0.5)
    assert grid.steps == 1600


@given(interval=st.floats(60.0, 1e5), cost=st.floats(0.0, 1e3), pace=st.floats(1e-6, 1e3), every=st.integers(1, 10**6))
def test_checkpoints_take_a_hundredth_of_the_time_at_most(
    interval: float, cost: float, pace: float, every: int
) -> None:
    steps = choose(bearable(interval, cost), pace, every)
    assert cost <= 0.01 * steps * pace * (1 + 1e-9)


def test_who_asks_for_frequent_checkpoints_has_them_at_any_cost() -> None:
    assert bearable(30.0, 1.0) == 30.0
    assert bearable(60.0, 0.1) == 60.0
    assert bearable(60.0, 1.0) == pytest.approx(141.4, abs=0.1)


def test_the_grid_minds_what_a_checkpoint_costs_and_the_log_tells_it(tmp_path: Path) -> None:
    context = context_at(tmp_path)
    grid = Grid(Count(context), context, every=100, cost=2.0)
    for _ in range(3):
        grid.ran(10, 0.5)
    assert grid.steps == 6400
    assert context.logged == ["Checkpoints fall on every 6400 steps, about 320 s apart."]


def test_the_grid_is_noted_with_each_checkpoint_and_in_the_provenance(tmp_path: Path) -> None:
    context = context_at(tmp_path, checkpoint_steps=100)
    run = Count(context)
    grid = Grid(run, context, every=100)
    assert grid.provenance == {}
    run.at = 100
    grid.reached(100)
    assert grid.provenance == {"checkpoint_steps": 100}
    (found,) = find([context.place]).checkpoints
    assert found.facts == {"grid": 100}
    assert Grid(run, context, every=100, origin=found).provenance == {"checkpoint_steps": 100, "first": 100}


@given(
    interval=st.floats(1e-3, 1e6),
    pace=st.floats(1e-9, 1e6),
    every=st.integers(1, 10**12),
)
def test_a_grid_lasts_about_the_interval_and_fits_the_samples(interval: float, pace: float, every: int) -> None:
    steps = choose(interval, pace, every)
    assert 1 <= steps <= LARGEST
    assert steps % every == 0 or (steps <= every and steps & (steps - 1) == 0)
    wanted = interval / pace
    if 2 <= wanted <= LARGEST / 2:
        assert wanted / 2 < steps < wanted * 2


def test_beginnings_off_the_grid_are_remembered_by_what_follows_from_them(tmp_path: Path) -> None:
    places: list[Path] = []
    origins = []
    for number, stops_at in enumerate((73, 155, 260, 0)):
        found = find(list(reversed(places))).checkpoints
        context = context_at(tmp_path / str(number), checkpoint_steps=100, checkpoints=found)
        places.append(context.place)
        run = Count(context, stops_at)
        origin = resume(context, partial(_take_up, run))
        grid = Grid(run, context, every=100, origin=origin, renew=run.renew)
        origins.append(grid.provenance.get("stops"))
        drive(run, Course(steps=400, every=100, first=origin.step if origin else 0), context, grid)
    assert origins == [None, [73], [73, 155], [73, 155, 260]]


def _take_up(run: Count, checkpoint: Checkpoint) -> None:
    run.renew(checkpoint.directory, checkpoint.step)


def test_a_pace_that_is_measured_again_mostly_gives_the_same_grid() -> None:
    assert {choose(60.0, pace, 100) for pace in (0.0085, 0.009, 0.0095, 0.01, 0.0105, 0.011)} == {6400}
