"""What a card shows, followed through the life of a job."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nanoos_lab.core.record import Failure
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.widgets.model import CardModel, shows_structure
from nanoos_lab.widgets.steering import Steering
from tests.widgets.fake import a_record

START = datetime(2026, 1, 1, tzinfo=UTC)


def a_running_model(**changes: object) -> CardModel:
    return CardModel.of(a_record(status=Status.RUNNING, started=START, **changes))


def progress(step: int, **event: object) -> dict[str, object]:
    return {"kind": "progress", "step": step, "total": 50_000, "rate": 1000.0, **event}


def test_a_queued_job_says_why_it_waits_until_it_runs() -> None:
    model = CardModel.of(a_record(), warning="no worker listens on simulations")
    assert model.to_json(START)["warning"] == "no worker listens on simulations"
    assert model.with_record(replace(model.record, status=Status.RUNNING)).to_json(START)["warning"] == ""


def test_results_that_have_not_converged_say_so_and_what_is_missing() -> None:
    scalars = {"energy": -1.0, "converged": False, "caveat": "the SCF cycle has not converged"}
    state = CardModel.of(a_record(status=Status.SUCCEEDED, scalars=scalars)).to_json(START)
    assert state["caveat"] == "the SCF cycle has not converged"
    assert [name for name, _, _ in state["results"]] == ["energy"]
    assert CardModel.of(a_record(status=Status.SUCCEEDED, scalars={"converged": True})).to_json(START)["caveat"] == ""


def test_live_progress_moves_step_rate_and_time_left() -> None:
    state = a_running_model().with_event(progress(10_000)).to_json(START + timedelta(seconds=10))
    assert (state["step"], state["total"], state["rate"]) == (10_000, 50_000, 1000.0)
    assert (state["eta"], state["elapsed"]) == (40.0, 10.0)


def test_an_older_record_does_not_set_live_progress_back() -> None:
    model = a_running_model().with_event(progress(10_000))
    assert model.with_record(replace(model.record, step=9_000)).step == 10_000


def test_another_attempt_begins_where_its_record_says() -> None:
    model = a_running_model().with_event(progress(10_000))
    model = model.with_record(replace(model.record, attempt=2, step=5_000))
    assert (model.step, model.rate) == (5_000, None)


def test_time_left_is_unknown_without_a_total() -> None:
    model = a_running_model(total=None).with_event({"kind": "progress", "step": 7, "total": None, "rate": 1.0})
    assert model.eta is None


def test_rows_reach_the_curve_and_lines_the_log() -> None:
    model = a_running_model()
    model = model.with_event(progress(0, row={"temperature": 300.0})).with_event({"kind": "log", "text": "a\nb"})
    assert model.series.rows == ((0.0, 300.0),)
    assert model.log == ("a", "b")


def test_an_event_of_another_kind_changes_nothing() -> None:
    model = a_running_model()
    assert model.with_event({"kind": "of the future"}) is model


def test_a_failure_names_cause_and_remedy() -> None:
    failure = Failure(reason=Reason.TIME_LIMIT, message="ran for 1 h", remedy="raise the limit")
    model = CardModel.of(a_record(status=Status.FAILED, failure=failure))
    assert model.to_json(START)["failure"] == {
        "reason": "time_limit",
        "message": "ran for 1 h",
        "remedy": "raise the limit",
    }


def test_results_come_with_their_units() -> None:
    record = a_record(status=Status.SUCCEEDED, scalars={"bulk_modulus": 137.0, "converged": True})
    assert CardModel.of(record).to_json(START)["results"] == [["bulk_modulus", 137.0, "GPa"]]


def test_a_late_event_does_not_revive_a_job_that_has_ended() -> None:
    model = CardModel.of(a_record(status=Status.CANCELLED, step=100))
    assert model.with_event(progress(900)) is model


@pytest.mark.parametrize(
    ("status", "atoms", "shown"),
    [(Status.QUEUED, 2048, True), (Status.RUNNING, 20_000, True), (Status.RUNNING, 20_001, False),
     (Status.SUCCEEDED, 8, False), (Status.RUNNING, 0, False)],
)  # fmt: skip
def test_the_structure_is_shown_unasked_while_it_moves_and_is_small(status: Status, atoms: int, shown: bool) -> None:
    assert shows_structure(a_record(status=status, atoms=atoms)) is shown


@pytest.mark.parametrize(
    ("changes", "head", "text"),
    [
        ({"status": Status.RUNNING, "paused": START}, "Paused", "job.resume()"),
        ({"status": Status.SUCCEEDED, "cached_from": "0" * 32}, "From an equal job", "cache=False"),
        ({"status": Status.RUNNING, "steerings": 1}, "Steered", "once; job.steerings"),
        ({"status": Status.SUCCEEDED, "steerings": 3}, "Steered", "3 times"),
        ({"status": Status.PENDING, "cached_from": "0" * 32}, "Waiting", "equal job"),
        ({"status": Status.PENDING, "waits_for": 2}, "Waiting", "for 2 other jobs"),
        ({"status": Status.PENDING, "run_after": START}, "Waiting", "until 2026-01-01 00:00:00 UTC"),
    ],
)
def test_what_the_status_does_not_tell_is_said(changes: dict[str, object], head: str, text: str) -> None:
    found = CardModel.of(a_record(**changes)).to_json(START)["hint"]
    assert found[0] == head
    assert text in found[1]


def test_the_step_of_a_change_is_written_as_all_numbers_are() -> None:
    record = a_record(status=Status.RUNNING, steerings=1)
    steering = Steering(changes=((33_000, "temperature 900 K"),))
    (_, text) = CardModel.of(record, steering=steering).to_json(START)["hint"]
    assert text.startswith("once: temperature 900 K, from step 33,000 on;")


def test_a_job_that_just_runs_needs_no_hint() -> None:
    assert a_running_model().to_json(START)["hint"] is None
