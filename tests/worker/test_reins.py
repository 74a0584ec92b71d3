"""Between a worker and its work-horse, whenever RQ's alarm rings."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from nanoos_lab.worker.reins import Reins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

#: Seconds between two alarms, where RQ has 15, and that jobs last.
ALARM, LASTING = 0.005, (0.0044, 0.0054)
#: Jobs, and alarms until one of them is given up.
JOBS, PATIENCE = 400, 1000


class _Alarm(Exception):
    """As RQ's HorseMonitorTimeoutException."""


@pytest.fixture
def reins() -> Iterator[Reins]:
    """Hold a work-horse whose jobs last about as long as an alarm takes to ring."""
    made = Reins(10**9)
    pid = os.fork()
    if pid == 0:
        try:
            made.take()
            while made.next() is not None:
                time.sleep(random.uniform(*LASTING))
        finally:
            os._exit(0)
    made.hold(pid)
    yield made
    made.drop()
    os.waitpid(pid, 0)


@pytest.fixture
def alarms() -> Iterator[list[int]]:
    """Have alarms raise where they ring; return the numbers of those that have rung."""
    rung: list[int] = []

    def ring(number: int, _frame: FrameType | None) -> None:
        rung.append(number)
        raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    yield rung
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.timeout(20)
def test_a_work_horse_that_is_ready_is_so_however_often_it_is_asked(reins: Reins) -> None:
    assert reins.ready()
    assert reins.ready()
    assert reins.give("job")
    assert reins.ready()


def test_an_alarm_at_any_moment_loses_nothing(reins: Reins, alarms: list[int]) -> None:
    """A worker once waited for good for a work-horse that waited for its next job."""
    assert reins.ready()
    for _ in range(JOBS):
        assert reins.give("job")
        assert _ready(reins)
    assert alarms


def test_a_work_horse_that_has_died_is_not_ready(reins: Reins) -> None:
    assert reins.ready()
    os.kill(reins.pid, signal.SIGKILL)
    assert not (reins.give("job") and reins.ready())


def _ready(reins: Reins) -> bool:
    """Ask again whenever the alarm rings, as RQ does, though not for ever."""
    for _ in range(PATIENCE):
        try:
            signal.setitimer(signal.ITIMER_REAL, ALARM)
            try:
                return reins.ready()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except _Alarm:
            continue
    return False
