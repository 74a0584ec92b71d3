"""The loop that advances every step-wise engine, on a simulation that only counts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoos_lab.core.frames import RunHead, Sample
from nanoos_lab.core.units import Column
from nanoos_lab.engines.drive import Course, drive
from tests.engines.context import RecordingContext

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass
class Counter:
    """A simulation whose state is the number of steps made."""

    at: int = 0
    chunks: list[int] = field(default_factory=list)
    #: Step at which a stop is asked for.
    stops_at: int = 0
    stop: Callable[[], None] = lambda: None

    def advance(self, steps: int) -> int:
        assert steps >= 1
        made = min(steps, self.stops_at - self.at) if self.stops_at else steps
        self.chunks.append(made)
        self.at += made
        if made < steps:
            self.stop()
        return made

    def sample(self, step: int) -> Sample:
        return Sample(step=step, row=(float(self.at),), frame=None)

    def glance(self, step: int) -> Sample:
        return self.sample(step)


class Busy(Counter):
    """One whose steps take 0.1 ms of CPU time each."""

    def advance(self, steps: int) -> int:
        made = super().advance(steps)
        spend(1e-4 * steps)
        return made


class Passing(Counter):
    """One that can be glimpsed at every twentieth step, and whose stops are dear: 20 steps take 2 ms, a stop 2 ms."""

    at_pass: Callable[[int], None]
    due: float

    def on_pass(self, function: Callable[[int], None]) -> None:
        self.at_pass = function

    def pass_at(self, step: float) -> None:
        self.due = step

    def glimpse(self, step: int) -> Sample:
        return Sample(step=step, row=(), frame=None)

    def advance(self, steps: int) -> int:
        for step in range(self.at + 20 - self.at % 20, self.at + steps + 1, 20):
            if step >= self.due:
                self.at_pass(step)
            spend(2e-3)
        spend(2e-3)
        return super().advance(steps)


def spend(seconds: float) -> None:
    """Use so much CPU time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.fixture
def context(tmp_path: Path) -> RecordingContext:
    return begun(RecordingContext(workdir=tmp_path))


def begun(context: RecordingContext) -> RecordingContext:
    columns = (Column(name="at", unit="1"),)
    context.begin(RunHead(total=None, columns=columns, numbers=np.array([29]), pbc=(True, True, True)))
    return context


@given(steps=st.integers(0, 300), every=st.integers(1, 120), watched=st.booleans())
def test_samples_lie_on_the_grid_of_every_from_the_first_step(steps: int, every: int, watched: bool) -> None:
    context = begun(RecordingContext(workdir=None, watched=watched))
    run = Counter()
    assert drive(run, Course(steps=steps, every=every), context) == steps
    assert context.steps == list(range(0, steps + 1, every))
    assert len(context.steps) == steps // every + 1
    assert list(context.series("at")) == context.steps
    assert run.at == sum(run.chunks) == steps


def test_live_samples_come_only_while_somebody_watches_and_never_on_the_grid(
    context: RecordingContext,
) -> None:
    drive(Busy(), Course(steps=2000, every=1000), context)
    assert context.live_samples == []
    context.watched, context.stop_after_live = True, 3
    drive(Busy(), Course(steps=10**9, every=3000), context)
    live = [sample.step for sample in context.live_samples]
    assert len(live) == 3
    assert not any(step % 3000 == 0 for step in live)
    assert live == sorted(live)


def test_glimpses_lie_inside_of_chunks_and_only_while_somebody_watches(context: RecordingContext) -> None:
    run = Passing()
    drive(run, Course(steps=4000, every=1000), context)
    assert context.live_samples == []
    context.watched, context.stop_after_live, context.stop_after_glimpses = True, 2, 1
    run = Passing()
    drive(run, Course(steps=10**9, every=5000), context)
    halts = set(np.cumsum(run.chunks))
    glimpsed = [sample.step for sample in context.live_samples if not sample.row]
    assert glimpsed
    assert not halts & set(glimpsed)
    assert {sample.step for sample in context.live_samples if sample.row} <= halts
    steps = [sample.step for sample in context.live_samples]
    assert steps == sorted(set(steps))


def test_progress_ends_at_the_last_step_and_never_goes_back(context: RecordingContext) -> None:
    drive(Counter(), Course(steps=1050, every=100), context)
    assert context.progress_steps[0] == 0
    assert context.progress_steps[-1] == 1050
    assert context.progress_steps == sorted(context.progress_steps)


def test_a_stop_ends_the_run_before_the_next_sample(context: RecordingContext) -> None:
    context.stop_after_samples = 3
    assert drive(Counter(), Course(steps=1000, every=10), context) == 20
    assert context.steps == [0, 10, 20]


def test_a_stop_inside_a_chunk_counts_the_steps_that_were_made(context: RecordingContext) -> None:
    run = Counter(stops_at=25, stop=context.ask_to_stop)
    assert drive(run, Course(steps=1000, every=10), context) == 25
    assert context.steps == [0, 10, 20]


def test_a_run_goes_on_from_the_step_where_it_stands(context: RecordingContext) -> None:
    assert drive(Counter(at=15), Course(steps=40, every=10, first=15), context) == 40
    assert context.steps == [20, 30, 40]
