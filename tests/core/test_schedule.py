"""When a schedule submits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.core.schedule import Repeat

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("given", [3600, 3600.0, timedelta(hours=1), "1h", " 60 min", "3600", Repeat(interval=3600.0)])
def test_an_interval_is_seconds_or_a_timedelta_or_a_duration(given: object) -> None:
    assert Repeat.from_any(given) == Repeat(interval=3600.0)


def test_with_an_interval_the_first_turn_is_at_once_and_the_others_keep_its_rhythm() -> None:
    hourly = Repeat.from_any(HOUR)
    assert hourly.first(NOON) == NOON
    assert hourly.after(NOON, NOON + timedelta(seconds=3)) == NOON + HOUR


def test_turns_that_were_missed_are_left_out() -> None:
    hourly = Repeat.from_any(HOUR)
    assert hourly.after(NOON, NOON + 24.5 * HOUR) == NOON + 25 * HOUR
    assert Repeat.from_any("0 * * * *").after(NOON, NOON + 24.5 * HOUR) == NOON + 25 * HOUR


@given(interval=st.floats(1, 1e8), late=st.floats(0, 1e9))
def test_the_next_turn_is_ahead_and_by_one_interval_at_most(interval: float, late: float) -> None:
    now = NOON + timedelta(seconds=late)
    ahead = (Repeat(interval=interval).after(NOON, now) - now).total_seconds()
    assert 0 < ahead <= interval + 1e-5


def test_a_cron_expression_counts_in_utc() -> None:
    nightly = Repeat.from_any("0 3 * * *")
    assert nightly.first(NOON) == datetime(2026, 3, 3, 3, tzinfo=UTC)
    assert nightly.first(datetime(2026, 3, 3, 3, tzinfo=UTC)) == datetime(2026, 3, 3, 3, tzinfo=UTC)
    assert nightly.after(datetime(2026, 3, 3, 3, tzinfo=UTC), datetime(2026, 3, 3, 3, tzinfo=UTC)).day == 4
    # The clocks of Berlin and New York are set forward in these nights.
    assert [nightly.after(NOON + timedelta(days=day), NOON).hour for day in range(30)] == [3] * 30


@pytest.mark.parametrize(
    "wrong",
    [
        *(0, 0.5, -60, True, float("nan"), float("inf"), None, [], timedelta(0)),
        *("", "daily", "* * * *", "* * * * * *", "61 * * * *", "0 0 31 2 *", "R R * * *", "h h * * *", "\0 * * * *"),
    ],
)
def test_what_is_no_rhythm_is_refused(wrong: object) -> None:
    with pytest.raises(ParameterError, match="repeat"):
        Repeat.from_any(wrong)


@pytest.mark.parametrize("wrong", ["0h", "0.5s", "4000d", 0, 0.5, -60, float("nan"), float("inf"), timedelta(0)])
def test_an_interval_that_is_too_short_or_too_long_is_told_how_long_it_may_be(wrong: object) -> None:
    with pytest.raises(ParameterError, match=r"to the next, at least 1 s and at most 3660 days\.$") as caught:
        Repeat.from_any(wrong)
    assert caught.value.value is wrong


@pytest.mark.parametrize("wrong", ["daily", "6 months", "-6h", None, True])
def test_what_is_no_rhythm_is_told_all_that_is(wrong: object) -> None:
    with pytest.raises(ParameterError, match=r"seconds, a timedelta, a duration such as '6h' or '30min', or a cron"):
        Repeat.from_any(wrong)


@given(st.text(max_size=30))
def test_no_text_makes_the_parser_crash(text: str) -> None:
    try:
        found = Repeat.from_any(text)
    except ParameterError:
        return
    assert len(text.split()) == 5 or found.interval is not None


def test_a_rhythm_is_said_in_words() -> None:
    assert str(Repeat.from_any(5400)) == "every 1:30:00"
    assert str(Repeat.from_any(" 0  3 * * mon ")) == "0 3 * * mon (UTC)"
