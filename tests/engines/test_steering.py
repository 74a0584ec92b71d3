"""How a run follows changes of its parameters: the loop, what holds from which step on, and real engines."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoos_lab.core.errors import InputError
from nanoos_lab.core.frames import RunHead, Sample
from nanoos_lab.core.parameters import MDParameters
from nanoos_lab.core.record import Steering
from nanoos_lab.core.units import Column
from nanoos_lab.engines.drive import Course, drive
from nanoos_lab.engines.grid import Grid
from nanoos_lab.engines.steering import Helm, Leg, of_dynamics
from tests.engines.context import RecordingContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def md(**changes: Any) -> MDParameters:
    return MDParameters(**{"steps": 100, "ensemble": "nvt", "temperature": 300.0, "every": 10, **changes})


@dataclass
class Diary:
    """A simulation whose state is all that was done with it, step by step."""

    helm: Helm[MDParameters]
    at: int = 0
    #: Temperature with which each step was made.
    made: list[float | None] = field(default_factory=list)
    #: Steps at which it was renewed, with the temperature from there on.
    renewed: list[tuple[int, float | None]] = field(default_factory=list)
    temperature: float | None = None
    #: Ends an advance early, once.
    interrupted: bool = False

    def start(self) -> None:
        self.temperature = self.helm.at(self.at).parameters.temperature

    def interrupt(self) -> None:
        self.interrupted = True

    def advance(self, steps: int) -> int:
        if self.interrupted:
            self.interrupted = False
            steps = max(steps // 2, 1)
        self.made += [self.temperature] * steps
        self.at += steps
        return steps

    def save(self, directory: Path) -> None:
        (directory / "state").write_text(str(self.at))

    def renew(self, directory: Path, step: int) -> None:
        assert (directory / "state").read_text() == str(step)
        self.at = step
        self.temperature = self.helm.at(step).parameters.temperature
        self.renewed.append((step, self.temperature))

    def sample(self, step: int) -> Sample:
        return Sample(step=step, row=(float(self.at),), frame=None)

    def glance(self, step: int) -> Sample:
        return self.sample(step)


class Quick(RecordingContext):
    """A context whose checkpoints need not outlive a crash of the computer."""

    @contextmanager
    def checkpoint(self, step: int, facts: Mapping[str, Any]) -> Iterator[Path]:
        with TemporaryDirectory() as place:
            yield Path(place)
        self.checkpoint_made.append(step)


def run(
    home: Path,
    steer_at: dict[int, dict[str, Any]] | None = None,
    steerings: tuple[Steering, ...] = (),
    *,
    first: int = 0,
    grid: int | None = None,
    interrupts: bool = False,
) -> tuple[Diary, RecordingContext]:
    """Drive a diary of 100 steps; return it and its context."""
    context = Quick(workdir=home, steer_at=steer_at or {}, steerings=list(steerings))
    context.checkpoint_interval, context.checkpoint_steps = (60.0 if grid else 0.0), grid
    helm = Helm(context, md())
    diary = Diary(helm, at=first)
    helm.begin(diary, first, diary.interrupt if interrupts else None)
    diary.start()
    context.begin(RunHead(total=100, columns=(Column(name="at", unit="1"),), numbers=[29], pbc=(True,) * 3))
    made = Grid(diary, context, every=10, renew=diary.renew) if grid else None
    assert drive(diary, Course(steps=100, every=10, first=first, between=False), context, made, helm) == 100
    assert [sample.row[0] for sample in context.samples] == context.steps
    return diary, context


@pytest.fixture
def home(tmp_path: Path) -> Callable[[], Path]:
    """Make working directories."""
    made: list[Path] = []

    def new() -> Path:
        made.append(tmp_path / str(len(made)))
        made[-1].mkdir()
        return made[-1]

    return new


def known(context: RecordingContext) -> tuple[Steering, ...]:
    """What a later attempt is told."""
    return tuple(
        Steering(number=one.number, changes=one.changes, step=context.steps_steered[one.number])
        for one in context.steerings
        if one.number in context.steps_steered
    )


class TestTheLoop:
    def test_a_steering_is_applied_at_the_next_halt(self, home: Callable[[], Path]) -> None:
        diary, context = run(home(), {40: {"temperature": 900.0}})
        assert context.steps_steered == {1: 50}
        assert diary.made == [300.0] * 50 + [900.0] * 50
        assert diary.renewed == [(50, 900.0)]
        assert context.logged == ["Steering 1 holds from step 50 on: temperature=900.0"]
        # Nothing of it stays in the working directory.
        assert list(context.workdir.iterdir()) == []

    def test_a_long_call_is_ended_early_for_it(self, home: Callable[[], Path]) -> None:
        diary, context = run(home(), {40: {"temperature": 900.0}}, interrupts=True)
        assert context.steps_steered == {1: 45}
        assert diary.made == [300.0] * 45 + [900.0] * 55
        assert context.steps == list(range(0, 101, 10))

    def test_one_that_comes_before_the_run_counts_from_the_start(self, home: Callable[[], Path]) -> None:
        diary, context = run(home(), steerings=(Steering(number=1, changes={"temperature": 900.0}),))
        assert context.steps_steered == {1: 0}
        assert (diary.made, diary.renewed) == ([900.0] * 100, [])

    def test_one_that_comes_at_the_end_is_never_applied(self, home: Callable[[], Path]) -> None:
        diary, context = run(home(), {100: {"temperature": 900.0}})
        assert (context.steps_steered, diary.made) == ({}, [300.0] * 100)

    def test_at_a_checkpoint_the_run_is_renewed_once(self, home: Callable[[], Path]) -> None:
        diary, context = run(home(), {40: {"temperature": 900.0}}, grid=25)
        assert context.checkpoint_made == [25, 50, 75]
        assert diary.renewed == [(25, 300.0), (50, 900.0), (75, 900.0)]

    def test_a_later_attempt_halts_at_the_same_steps_and_does_the_same(self, home: Callable[[], Path]) -> None:
        wanted = {10: {"temperature": 500.0}, 50: {"temperature": 900.0}}
        whole, context = run(home(), wanted, grid=40, interrupts=True)
        assert context.steps_steered == {1: 15, 2: 55}
        for first in (0, 10, 15, 40, 55, 80):
            again, later = run(home(), steerings=known(context), first=first, grid=40)
            assert again.made == whole.made[first:]
            assert again.renewed == [one for one in whole.renewed if one[0] > first]
            assert later.steps_steered == {}

    def test_a_new_steering_waits_for_those_that_an_earlier_attempt_has_applied(self, home: Callable[[], Path]) -> None:
        before = (Steering(number=1, changes={"temperature": 500.0}, step=55),)
        diary, context = run(home(), {20: {"temperature": 900.0}}, before, interrupts=True)
        assert context.steps_steered == {2: 55}
        assert diary.made == [300.0] * 55 + [900.0] * 45

    def test_what_was_asked_for_while_no_attempt_ran_is_applied_where_the_next_begins(
        self, home: Callable[[], Path]
    ) -> None:
        diary, context = run(home(), steerings=(Steering(number=1, changes={"temperature": 900.0}),), first=30)
        assert (context.steps_steered, diary.renewed) == ({1: 30}, [(30, 900.0)])
        assert diary.made == [900.0] * 70

    @settings(deadline=None, max_examples=50)
    @given(
        asked=st.dictionaries(st.integers(0, 99), st.sampled_from([100.0, 500.0, 900.0]), max_size=5),
        first=st.integers(0, 99),
        grid=st.none() | st.integers(1, 60),
        interrupts=st.booleans(),
    )
    def test_whatever_is_asked_for_every_attempt_takes_the_same_path(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        asked: dict[int, float],
        first: int,
        grid: int | None,
        interrupts: bool,
    ) -> None:
        wanted = {step: {"temperature": kelvin} for step, kelvin in asked.items()}
        whole, context = run(tmp_path_factory.mktemp("whole"), wanted, grid=grid, interrupts=interrupts)
        applied = known(context)
        again, _ = run(tmp_path_factory.mktemp("again"), steerings=applied, first=first, grid=grid)
        assert again.made == whole.made[first:]
        assert again.renewed == [one for one in whole.renewed if one[0] > first]


class TestLegs:
    def test_a_constant_temperature_is_replaced(self) -> None:
        leg = Leg(first=0, parameters=md()).turned({"temperature": 900}, 40)
        assert (leg.first, leg.since, leg.parameters.temperature) == (40, 40, 900.0)
        assert [leg.target(step) for step in (40, 70, 100)] == [900.0] * 3

    def test_a_new_temperature_leads_from_there_to_the_end_of_the_ramp(self) -> None:
        leg = Leg(first=0, parameters=md(temperature_end=500.0)).turned({"temperature": 900}, 40)
        assert [leg.target(step) for step in (40, 70, 100)] == [900.0, 700.0, 500.0]

    def test_a_new_end_is_led_to_from_where_the_thermostat_is(self) -> None:
        ramp = Leg(first=0, parameters=md(temperature_end=500.0))
        assert ramp.target(50) == 400.0
        leg = ramp.turned({"temperature_end": 300}, 50)
        assert [leg.target(step) for step in (50, 75, 100)] == [400.0, 350.0, 300.0]
        assert ramp.turned({"temperature_end": None}, 50).target(80) == 400.0

    def test_other_changes_leave_the_ramp_as_it_is(self) -> None:
        ramp = Leg(first=0, parameters=md(temperature_end=500.0))
        leg = ramp.turned({"tdamp": 50}, 50)
        assert leg.parameters.tdamp == 50.0
        assert [leg.target(step) for step in (50, 100)] == [400.0, 500.0]

    def test_what_can_be_steered_depends_on_the_ensemble(self) -> None:
        assert of_dynamics(md()) == ("temperature", "temperature_end", "tdamp")
        assert of_dynamics(md(ensemble="npt", pressure=0.0))[3:] == ("pressure", "pdamp")
        with pytest.raises(InputError, match="no thermostat"):
            of_dynamics(md(ensemble="nve"))
