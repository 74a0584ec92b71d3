"""The curve of a card: bounded, honest about the newest row, cheap to bring up to date."""

from __future__ import annotations

from math import isnan

from hypothesis import given
from hypothesis import strategies as st

from nanoos_lab.core.units import Column
from nanoos_lab.widgets.series import CAPACITY, Series, splice

TEMPERATURE = (Column(name="temperature", unit="K"),)


def steps_of(series: Series) -> list[float]:
    return [row[0] for row in series.rows]


def of_steps(*steps: int) -> Series:
    return Series.of(TEMPERATURE, [(float(step), 300.0) for step in steps])


@given(st.integers(1, 20_000))
def test_a_long_table_keeps_its_ends_and_fits(count: int) -> None:
    series = of_steps(*range(count))
    assert len(series.rows) <= CAPACITY
    assert (series.rows[0][0], series.rows[-1][0]) == (0, count - 1)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=1500))
def test_live_rows_never_outgrow_the_curve_and_the_newest_is_always_there(distances: list[int]) -> None:
    series, step = Series(), 0
    for distance in distances:
        step += distance
        series = series.add(step, {"temperature": 1.0})
        assert series.rows[-1][0] == step
    assert len(series.rows) <= CAPACITY
    assert steps_of(series) == sorted(set(steps_of(series)))


def test_a_dense_live_tail_leaves_a_sparse_history_alone() -> None:
    series = of_steps(*range(0, 1_000_000, 1000))
    for step in range(1_000_000, 1_010_000, 10):
        series = series.add(step, {"temperature": 300.0})
    assert len([step for step in steps_of(series) if step < 1_000_000]) >= CAPACITY // 2 - 1


def test_rows_of_an_attempt_that_was_given_up_go() -> None:
    assert steps_of(of_steps(0, 100, 200, 300).add(200, {"temperature": 1.0})) == [0, 100, 200]


def test_a_column_that_comes_late_has_no_values_before() -> None:
    series = of_steps(0).add(1, {"temperature": 300.0, "pressure": 0.1})
    assert [column.name for column in series.columns] == ["temperature", "pressure"]
    assert series.columns[1].unit == "GPa"
    assert isnan(series.rows[0][2])
    assert series.rows[1] == (1.0, 300.0, 0.1)


@given(st.lists(st.tuples(st.integers(0, 5000), st.booleans()), max_size=700))
def test_splices_bring_a_copy_up_to_date(events: list[tuple[int, bool]]) -> None:
    """Whatever happens to the curve, and whenever the page is told, its copy ends equal."""
    series = sent = Series(columns=TEMPERATURE)
    copy: list[tuple[float, ...]] = []
    for step, flush in [*events, (5001, True)]:
        series = series.add(step, {"temperature": float(step)})
        if flush:
            change = splice(sent, series)
            copy[change.start :] = change.rows
            sent = series
    assert tuple(copy) == series.rows
