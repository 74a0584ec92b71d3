"""The watching budget, on simulations whose costs are known."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from nanoos_lab.engines.cadence import Budget, Cadence


@dataclass
class Cost:
    """CPU seconds of a step, of a stop and of a live sample; every tenth step is dearer, as with neighbour lists."""

    step: float
    stop: float
    sample: float
    noise: float = 0.1


@dataclass
class Bill:
    """What a run has cost."""

    bare: float = 0.0
    watching: float = 0.0
    wall: float = 0.0
    shown: int = 0
    stops: int = 0


def watch(cadence: Cadence, cost: Cost, *, seconds: float, watched: bool = True, slowdown: float = 1.0) -> Bill:
    rng = random.Random(7)
    bill, made = Bill(), 0
    while bill.wall < seconds:
        plan = cadence.plan(watched=watched)
        rebuilds = (made + plan.steps) // 10 - made // 10
        made += plan.steps
        steps = cost.step * (0.8 * plan.steps + 2.0 * rebuilds) * (1 + rng.gauss(0, cost.noise) / plan.steps**0.5)
        steps = max(steps, 0.1 * cost.step)
        cpu = steps + cost.stop
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
LJ_256K = Cost(step=78e-3, stop=44e-3, sample=20e-3)
EAM_4K = Cost(step=3.2e-3, stop=0.6e-3, sample=0.8e-3)
TINY = Cost(step=10e-6, stop=50e-6, sample=60e-6)


@pytest.mark.parametrize("cost", [LJ_4K, LJ_256K, EAM_4K, TINY], ids=["LJ 4k", "LJ 256k", "EAM 4k", "tiny"])
def test_watching_costs_at_most_the_budget(cost: Cost) -> None:
    bill = watch(Cadence(), cost, seconds=120)
    assert bill.watching <= 0.0115 * bill.bare
    assert bill.shown > 0


def test_four_thousand_atoms_show_four_or_five_frames_a_second() -> None:
    cadence = Cadence()
    watch(cadence, LJ_4K, seconds=10)
    assert 3.5 < watch(cadence, LJ_4K, seconds=60).shown / 60 < 5.5


def test_cheap_frames_come_at_most_twenty_times_a_second() -> None:
    cadence = Cadence()
    watch(cadence, TINY, seconds=5)
    assert 14 < watch(cadence, TINY, seconds=30).shown / 30 <= 20.5


def test_the_rate_is_one_of_wall_time_on_a_busy_machine() -> None:
    cadence = Cadence()
    watch(cadence, TINY, seconds=5, slowdown=4)
    assert 14 < watch(cadence, TINY, seconds=30, slowdown=4).shown / 30 <= 20.5


def test_unwatched_runs_report_about_once_a_second_within_half_the_budget() -> None:
    for cost in (LJ_4K, EAM_4K, TINY):
        cadence = Cadence()
        watch(cadence, cost, seconds=10, watched=False)
        bill = watch(cadence, cost, seconds=60, watched=False)
        assert 40 <= bill.stops <= 75
        assert bill.watching <= 0.006 * bill.bare
        assert bill.shown == 0


def test_the_cost_of_a_stop_is_learnt_from_a_prior_that_errs_on_the_dear_side() -> None:
    cadence = Cadence()
    watch(cadence, EAM_4K, seconds=0.2)
    assert cadence.stop > EAM_4K.stop
    watch(cadence, EAM_4K, seconds=60)
    assert cadence.stop == pytest.approx(EAM_4K.stop, rel=0.8)
    assert cadence.step == pytest.approx(EAM_4K.step, rel=0.1)


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


def test_the_first_look_comes_after_a_single_step() -> None:
    assert Cadence().plan(watched=True).steps == 1
