"""The watching budget, on simulations whose costs are known."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from statistics import median

import pytest

from nanoos_lab.engines.cadence import Budget, Cadence, Plan


@dataclass
class Cost:
    """CPU seconds of a step, of a stop and of a live sample; every tenth step is dearer, as with neighbour lists."""

    step: float
    stop: float
    sample: float
    noise: float = 0.1
    #: Of a glimpse, in the run's own process and elsewhere.
    glimpse: tuple[float, float] = (0.8e-3, 0.7e-3)
    #: Steps between two chances of one; 0 for none.
    apart: int = 0


@dataclass
class Bill:
    """What a run has cost."""

    bare: float = 0.0
    watching: float = 0.0
    wall: float = 0.0
    shown: int = 0
    stops: int = 0
    glimpsed: int = 0


def passed(cadence: Cadence, cost: Cost, plan: Plan, bill: Bill) -> float:
    """Glimpse a chunk; return the CPU seconds that this cost in the run's own process."""
    own, shown = 0.0, 0
    for made in range(cost.apart, plan.steps, cost.apart):
        if plan.apart and made - shown >= plan.apart:
            cadence.glimpsed(*cost.glimpse)
            shown = made
            own += cost.glimpse[0]
            bill.glimpsed += 1
            bill.watching += sum(cost.glimpse)
    return own


def watch(
    cadence: Cadence, cost: Cost, *, seconds: float, watched: bool = True, slowdown: float = 1.0, seed: int = 7
) -> Bill:
    rng = random.Random(seed)
    bill, made = Bill(), 0
    while bill.wall < seconds:
        plan = cadence.plan(watched=watched)
        rebuilds = (made + plan.steps) // 10 - made // 10
        made += plan.steps
        steps = cost.step * (0.8 * plan.steps + 2.0 * rebuilds) * (1 + rng.gauss(0, cost.noise) / plan.steps**0.5)
        steps = max(steps, 0.1 * cost.step)
        cpu = steps + cost.stop
        if cost.apart and watched:
            cpu += passed(cadence, cost, plan, bill)
        cadence.ran(plan.steps, cpu=cpu, wall=cpu * slowdown, extra=True)
        bill.bare += steps
        bill.watching += cost.stop
        bill.wall += cpu * slowdown
        bill.stops += 1
        if plan.show and watched:
            cadence.showed(cost.sample)
            bill.watching += cost.sample
            bill.wall += cost.sample * slowdown
            bill.shown += 1
    return bill


LJ_4K = Cost(step=2.4e-3, stop=0.9e-3, sample=0.8e-3)
LJ_256K = Cost(step=78e-3, stop=44e-3, sample=20e-3, glimpse=(12e-3, 8e-3))
EAM_4K = Cost(step=3.2e-3, stop=0.6e-3, sample=0.8e-3)
TINY = Cost(step=10e-6, stop=50e-6, sample=60e-6, glimpse=(30e-6, 25e-6))


@pytest.mark.parametrize("cost", [LJ_4K, LJ_256K, EAM_4K, TINY], ids=["LJ 4k", "LJ 256k", "EAM 4k", "tiny"])
def test_watching_costs_at_most_the_budget(cost: Cost) -> None:
    bill = watch(Cadence(), cost, seconds=120)
    assert bill.watching <= 0.0115 * bill.bare
    assert bill.shown > 0


def test_four_thousand_atoms_show_four_or_five_frames_a_second() -> None:
    cadence = Cadence()
    watch(cadence, LJ_4K, seconds=10)
    assert 3.5 < watch(cadence, LJ_4K, seconds=60).shown / 60 < 5.5


@pytest.mark.parametrize("cost", [LJ_4K, LJ_256K], ids=["LJ 4k", "LJ 256k"])
def test_glimpses_cost_no_more_than_the_budget_either(cost: Cost) -> None:
    cost = replace(cost, apart=max(round(0.01 / cost.step), 1))
    bill = watch(Cadence(passing=True), cost, seconds=120)
    assert bill.watching <= 0.0115 * bill.bare
    assert bill.shown > 0
    assert bill.glimpsed > 0


def test_glimpses_add_to_what_is_seen_of_four_thousand_atoms() -> None:
    """A stop of 1.2 ms, as measured, would leave three frames a second."""
    dear = replace(LJ_4K, stop=1.2e-3, sample=1.5e-3)
    halting, passing = Cadence(), Cadence(passing=True)
    watch(halting, dear, seconds=10)
    watch(passing, replace(dear, apart=5), seconds=10)
    seen = watch(passing, replace(dear, apart=5), seconds=60)
    assert 4 < (seen.glimpsed + seen.shown) / 60 < 6
    assert seen.glimpsed + seen.shown > 1.4 * watch(halting, dear, seconds=60).shown
    assert seen.shown / 60 > 0.3


def test_runs_that_can_show_whole_samples_often_are_not_glimpsed() -> None:
    cadence = Cadence(passing=True)
    watch(cadence, replace(TINY, apart=100), seconds=5)
    bill = watch(cadence, replace(TINY, apart=100), seconds=30)
    assert bill.glimpsed == 0
    assert 14 < bill.shown / 30 <= 20.5


def test_glimpses_that_are_no_cheaper_than_whole_samples_are_left_out() -> None:
    """As of small systems on a host where code that has rested is dear: then whole samples would starve for less."""
    cost = Cost(step=0.08e-3, stop=0.23e-3, sample=3.7e-3, glimpse=(4e-3, 4e-3), apart=100)
    cadence = Cadence(passing=True)
    bill = watch(cadence, cost, seconds=60)
    assert bill.glimpsed < 10
    assert bill.shown > 100
    assert bill.watching <= 0.0115 * bill.bare


def test_a_glimpse_is_not_taken_for_a_dear_step() -> None:
    cadence = Cadence(passing=True)
    watch(cadence, replace(LJ_4K, apart=5, glimpse=(20e-3, 0.0)), seconds=60)
    assert cadence.step == pytest.approx(LJ_4K.step, rel=0.1)


def test_cheap_frames_come_at_most_twenty_times_a_second() -> None:
    cadence = Cadence()
    watch(cadence, TINY, seconds=5)
    assert 14 < watch(cadence, TINY, seconds=30).shown / 30 <= 20.5


def test_the_rate_is_one_of_wall_time_on_a_busy_machine() -> None:
    cadence = Cadence()
    watch(cadence, TINY, seconds=5, slowdown=4)
    assert 14 < watch(cadence, TINY, seconds=30, slowdown=4).shown / 30 <= 20.5


@pytest.mark.parametrize("passing", [False, True], ids=["halting", "passing"])
@pytest.mark.parametrize("cost", [LJ_4K, EAM_4K, TINY], ids=["LJ 4k", "EAM 4k", "tiny"])
def test_unwatched_runs_report_rarely_and_more_so_as_they_grow_older(cost: Cost, passing: bool) -> None:
    cadence = Cadence(passing=passing)
    young = watch(cadence, cost, seconds=10, watched=False)
    old = watch(cadence, cost, seconds=60, watched=False)
    assert 7 <= young.stops <= 30
    # Every five seconds if who begins to watch would be shown something in passing, else every two; and probes.
    assert 12 <= old.stops <= (30 if passing else 45)
    assert old.watching <= 0.004 * old.bare
    assert old.shown == 0


def test_who_begins_to_watch_is_shown_something_within_a_second_by_a_run_that_can_be_glimpsed() -> None:
    cadence = Cadence(passing=True)
    watch(cadence, LJ_4K, seconds=200, watched=False)
    plan = cadence.plan(watched=False)
    assert plan.apart * LJ_4K.step < 1.1 < plan.steps * LJ_4K.step


def test_the_cost_of_a_stop_is_learnt_from_a_prior_that_errs_on_the_dear_side() -> None:
    learnt = []
    for seed in range(9):
        cadence = Cadence()
        watch(cadence, EAM_4K, seconds=0.2, seed=seed)
        assert cadence.stop > EAM_4K.stop
        watch(cadence, EAM_4K, seconds=60, seed=seed)
        assert cadence.step == pytest.approx(EAM_4K.step, rel=0.1)
        learnt.append(cadence.stop)
    assert median(learnt) == pytest.approx(EAM_4K.stop, rel=0.8)


def test_one_hiccup_does_not_silence_the_view() -> None:
    cadence = Cadence()
    watch(cadence, LJ_4K, seconds=20)
    cadence.ran(100, cpu=30.0, wall=30.0, extra=True)
    cadence.showed(10.0)
    assert watch(cadence, LJ_4K, seconds=60).shown > 60


def test_a_long_unwatched_time_does_not_pay_for_a_burst() -> None:
    cadence = Cadence()
    watch(cadence, LJ_4K, seconds=600, watched=False)
    bill = watch(cadence, LJ_4K, seconds=10)
    assert bill.watching <= 0.02 * bill.bare


def test_the_budget_can_be_set() -> None:
    generous = watch(Cadence(Budget(share=0.05, rate=100)), LJ_4K, seconds=60)
    assert 0.03 * generous.bare < generous.watching <= 0.0575 * generous.bare


def test_slow_steps_are_shown_at_once_where_a_stop_is_known_to_be_cheap() -> None:
    """As of an ML potential or of DFT, whose steps differ by more than a stop costs."""
    slow = Cost(step=10.0, stop=1e-4, sample=1e-3, noise=0.5)
    bill = watch(Cadence(dearest_stop=2e-4), slow, seconds=200)
    assert bill.shown >= bill.stops - 2 - bill.stops // 8
    assert bill.stops > 15
    assert watch(Cadence(), slow, seconds=200).shown < 5


@pytest.mark.parametrize("cost", [LJ_4K, TINY], ids=["LJ 4k", "tiny"])
def test_a_bound_of_what_a_stop_costs_changes_nothing_where_it_is_not_reached(cost: Cost) -> None:
    bound, learnt = (watch(cadence, cost, seconds=60) for cadence in (Cadence(dearest_stop=0.1), Cadence()))
    assert bound == learnt


def test_the_first_look_comes_after_a_single_step() -> None:
    assert Cadence().plan(watched=True).steps == 1
