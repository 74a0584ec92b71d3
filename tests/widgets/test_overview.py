"""What the overview of a group shows, without a widget."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from nanoos_lab.core.record import Failure
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.lab.summary import Summary
from nanoos_lab.widgets.overview import ROWS, WINDOW, OverviewModel
from tests.widgets.fake import FakeGroup, a_record

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def running(step: int = 12_500, **changes: Any) -> Any:
    return a_record(status=Status.RUNNING, step=step, **changes)


def model(*records: Any, **options: Any) -> OverviewModel:
    return OverviewModel.of(FakeGroup(*records, **options), 0.0)


def words(record: Any) -> str:
    return model(record).to_json()["rows"][0]["words"]


def test_counts_parts_and_progress_are_those_of_the_jobs() -> None:
    state = model(
        a_record(status=Status.SUCCEEDED), a_record(status=Status.FAILED), running(), a_record(), columns={"seed": [1]}
    ).to_json()
    assert state["about"] == "4 jobs over seed"
    assert state["counts"] == [["queued", 1], ["running", 1], ["succeeded", 1], ["failed", 1]]
    assert state["shares"] == [["succeeded", 0.25], ["failed", 0.25], ["cancelled", 0.0], ["running", 0.0625]]
    assert (state["progress"], state["left"], state["done"], state["status"]) == (0.5625, 2, False, "running")


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [
        (["succeeded", "running", "failed"], "running"),
        (["succeeded", "queued", "pending"], "queued"),
        (["cancelled", "pending"], "pending"),
        (["succeeded", "cancelled", "failed"], "failed"),
        (["succeeded", "cancelled"], "cancelled"),
        (["succeeded", "succeeded"], "succeeded"),
    ],
)
def test_the_group_stands_where_its_work_goes_on_or_what_went_wrong(statuses: list[str], whole: str) -> None:
    assert model(*(a_record(status=Status(word)) for word in statuses)).status == whole


def test_the_time_that_is_left_follows_from_the_pace_of_the_last_minutes() -> None:
    group = FakeGroup(running(step=0), a_record(), a_record(), a_record())
    shown = OverviewModel.of(group, 0.0)
    assert shown.eta is None
    for second in range(1, 341):
        # At first slowly, then twice as fast: 1/1000 of all a second.
        step = 50_000 * second // 500 if second <= 200 else 50_000 * (2 * second - 200) // 500
        shown = shown.after(Summary.of([running(step=step), *group.records[1:]]), group.records, float(second))
        assert len(shown.marks) <= WINDOW + 2
        if second < 3:
            assert shown.eta is None
        if second == 200:
            assert shown.eta == pytest.approx(0.9 / 0.0005, rel=0.01)
    assert shown.eta == pytest.approx((1 - shown.summary.progress) / 0.001, rel=0.01)


def test_without_progress_or_after_the_end_no_time_is_made_up() -> None:
    group = FakeGroup(running(), a_record())
    shown = OverviewModel.of(group, 0.0)
    assert shown.after(group.summary, group.records, 60.0).eta is None
    ended = Summary.of([a_record(status=Status.SUCCEEDED)])
    assert shown.after(ended, [], 60.0).eta is None


def test_a_job_that_is_tried_again_begins_another_measurement() -> None:
    failed, later = a_record(status=Status.FAILED), running(step=25_000)
    shown = OverviewModel.of(FakeGroup(failed, running(step=0)), 0.0)
    shown = shown.after(Summary.of([a_record(), later]), [], 10.0)
    shown = shown.after(Summary.of([a_record(), running(step=26_000)]), [], 20.0)
    assert shown.eta == pytest.approx((1 - 0.26) / 0.001)


def test_a_row_says_how_far_a_job_is_or_why_it_is_not() -> None:
    lost = Failure(reason=Reason.TIME_LIMIT, message="it_ran for 60 s\nand more", remedy="")
    assert words(running()) == "12,500 / 50,000 steps"
    assert words(running(total=None)) == "12,500 steps"
    assert words(running(paused=NOW)) == "paused"
    assert words(running(cancel_requested=NOW)) == "is being cancelled"
    assert words(a_record(status=Status.FAILED, failure=lost)) == "time limit: it_ran for 60 s"
    assert words(a_record(status=Status.PENDING, waits_for=2)) == "waits for 2 other jobs"
    assert words(a_record(status=Status.SUCCEEDED, cached_from="7" * 32)) == "from an equal job"
    assert words(a_record()) == ""


def test_a_row_has_no_fraction_that_nobody_knows() -> None:
    rows = model(running(total=None), running(), a_record(status=Status.SUCCEEDED, total=None)).to_json()["rows"]
    assert [row["done"] for row in rows] == [None, 0.25, 1.0]


def test_a_large_group_has_few_rows_and_says_how_many_more_there_are() -> None:
    state = model(*(a_record() for _ in range(ROWS + 5))).to_json()
    assert (len(state["rows"]), state["others"]) == (ROWS, 5)


def test_it_is_being_cancelled_while_only_runs_that_shall_end_are_left() -> None:
    ending = running(cancel_requested=NOW)
    assert model(ending, a_record(status=Status.CANCELLED)).cancelling
    assert not model(ending, a_record()).cancelling
    assert not model(ending, running()).cancelling
    assert not model(a_record(status=Status.CANCELLED)).cancelling


def test_a_group_is_called_by_what_it_is() -> None:
    kinds = {name: type(name, (FakeGroup,), {}) for name in ("Group", "EquationOfState")}
    assert OverviewModel.of(kinds["Group"](a_record()), 0.0).title == "Group"
    assert OverviewModel.of(kinds["Group"](a_record(), columns={"seed": [1]}), 0.0).title == "Sweep"
    assert OverviewModel.of(kinds["EquationOfState"](a_record()), 0.0).title == "Equation of state"
