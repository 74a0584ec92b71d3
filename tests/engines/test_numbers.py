"""Numbers as Fortran prints them are read, whatever runs into each other."""

from __future__ import annotations

import math

import pytest

from nanoos_lab.engines.numbers import number, numbers


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("-1234.12345678-1234.12345678 12.5", [-1234.12345678, -1234.12345678, 12.5]),
        ("1.5E-3 1.5D+01 7 .25", [1.5e-3, 15.0, 7.0, 0.25]),
        ("0.5-0.25E-02-1.0", [0.5, -0.0025, -1.0]),
        ("1.0 ******** 2.0", [1.0, math.nan, 2.0]),
        ("NaN -Infinity", [math.nan, -math.inf]),
        ("Writing output data file", []),
        ("energy of nanotubes", []),
    ],
)
def test_numbers_are_found_with_and_without_gaps(text: str, values: list[float]) -> None:
    assert numbers(text) == pytest.approx(values, nan_ok=True)


@pytest.mark.parametrize(("word", "value"), [("1.5D+01", 15.0), ("*****", math.nan), ("-NaN", math.nan), ("7", 7.0)])
def test_one_number_is_read(word: str, value: float) -> None:
    assert number(word) == pytest.approx(value, nan_ok=True)
