"""What may be under way to a browser: nothing grows while nobody takes it."""

from __future__ import annotations

from nanoos_lab.widgets.budget import FRAME_BYTES, SILENCE, WINDOW, Budget

FRAME = 48_000


def frames_sent(budget: Budget, *, seconds: float, rate: float, start: float = 0.0) -> tuple[Budget, int]:
    """Offer `rate` frames a second to a page that acknowledges nothing."""
    count = 0
    for index in range(int(seconds * rate)):
        now = start + index / rate
        if budget.may_send_frame(FRAME, now):
            budget, count = budget.after_send(FRAME, now), count + 1
    return budget, count


def test_a_page_that_answers_gets_twenty_frames_a_second() -> None:
    budget, count = Budget(heard=0.0), 0
    for index in range(600):
        now = index / 60
        if budget.may_send_frame(FRAME, now):
            budget = budget.after_send(FRAME, now)
            budget, count = budget.after_ack(budget.sent, now), count + 1
    assert 150 <= count <= 200


def test_a_page_that_lags_has_few_frames_under_way() -> None:
    budget, count = frames_sent(Budget(heard=0.0), seconds=SILENCE, rate=20)
    assert count == WINDOW
    assert budget.outstanding == WINDOW * FRAME


def test_a_silent_page_gets_ever_fewer_frames() -> None:
    """In five minutes with the tab closed no more than some dozens."""
    budget, count = frames_sent(Budget(), seconds=300, rate=20)
    assert count < 80
    assert budget.last > 250


def test_a_silent_page_never_gets_more_than_the_budget() -> None:
    budget = Budget()
    for second in range(100_000):
        if budget.may_send_frame(2**20, 100.0 * second):
            budget = budget.after_send(2**20, 100.0 * second)
    assert budget.outstanding == FRAME_BYTES


def test_an_acknowledgement_opens_the_way_again() -> None:
    budget, _ = frames_sent(Budget(), seconds=600, rate=20)
    assert not budget.may_send_frame(FRAME, 600.1)
    budget = budget.after_ack(budget.sent, 600.0)
    assert budget.outstanding == 0
    assert budget.may_send_frame(FRAME, 600.1)


def test_a_frame_larger_than_the_budget_is_sent_alone() -> None:
    budget = Budget()
    assert budget.may_send_frame(2 * FRAME_BYTES, 0.0)
    assert not budget.after_send(2 * FRAME_BYTES, 0.0).may_send_frame(2 * FRAME_BYTES, 10.0)


def test_updates_slow_down_when_nobody_takes_them() -> None:
    budget = Budget(heard=0.0).after_send(1, 0.0)
    assert budget.may_update(0.11)
    silent = SILENCE + 1
    budget = budget.after_send(1, silent)
    assert not budget.may_update(silent + 0.9)
    assert budget.may_update(silent + 1.1)


def test_a_pause_of_the_job_does_not_make_the_page_silent() -> None:
    budget = Budget(heard=0.0).after_send(1, 1000.0)
    assert budget.may_update(1000.11)


def test_what_is_remembered_stays_small_for_days() -> None:
    budget = Budget()
    for second in range(10_000):
        budget = budget.after_send(1, float(second))
    assert len(budget.pending) < 1000
    assert budget.outstanding == 10_000
    assert budget.after_ack(9_999, 10_000.0).outstanding == 1
