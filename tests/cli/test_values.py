"""What a user types becomes a value, or is refused with what is allowed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from nanoos_lab.cli.values import duration, in_bytes, moment

DURATIONS = {"90": 90, "90s": 90, "2m": 120, "30min": 1800, "1.5h": 5400, "30d": 2_592_000, "2 w": 1_209_600, "0": 0}


@pytest.mark.parametrize(("text", "seconds"), DURATIONS.items())
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "-5", "5 years", "1e3", "nan", "٣d", "1:30"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="30d"):
        duration(text)


def test_a_moment_is_iso_or_so_long_from_now() -> None:
    assert moment("2026-03-02T18:00+01:00") == datetime(2026, 3, 2, 17, tzinfo=UTC)
    assert moment("2026-03-02") == datetime.fromisoformat("2026-03-02").astimezone(UTC)
    assert abs(moment("+2h") - datetime.now(UTC) - timedelta(hours=2)) < timedelta(seconds=10)


@pytest.mark.parametrize(
    "text", ["tomorrow", "2h", "+1 year", "+999999999999d", "2026-13-01", "0001-01-01T00:00+23:00"]
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"\+2h"):
        moment(text)


@given(st.text(max_size=12))
def test_any_other_text_is_no_moment_and_no_crash(text: str) -> None:
    try:
        found = moment(text)
    except typer.BadParameter:
        return
    assert found.tzinfo is UTC


def test_bytes_are_said_with_a_unit() -> None:
    assert [in_bytes(count) for count in (0, 999, 1200, 3_400_000, 5 * 10**9, 7 * 10**15)] == [
        *("0 B", "999 B", "1.2 kB", "3.4 MB"),
        *("5.0 GB", "7,000.0 TB"),
    ]
