"""What the store knows, as values."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime

import pytest

from nanoos_lab.core.record import Failure, JobRecord
from nanoos_lab.core.status import Reason, Status


@pytest.fixture
def record() -> JobRecord:
    return JobRecord(
        id="0" * 32,
        key="k",
        name="melt",
        formula="Cu4",
        atoms=4,
        engine="mock",
        task="md",
        status=Status.RUNNING,
        failure=None,
        queue="default",
        priority=5,
        attempt=1,
        max_attempts=3,
        step=25,
        total=100,
        worker="w",
        created=datetime(2026, 1, 2, tzinfo=UTC),
        started=None,
        ended=None,
        cancel_requested=None,
        lease_until=None,
        scalars={"energy": -1.5},
    )


def test_a_record_cannot_be_changed(record: JobRecord) -> None:
    with pytest.raises(FrozenInstanceError):
        record.step = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("status", "step", "total", "progress"),
    [
        (Status.RUNNING, 25, 100, 0.25),
        (Status.RUNNING, 25, None, 0.0),
        (Status.RUNNING, 0, 0, 0.0),
        (Status.RUNNING, 101, 100, 1.0),
        (Status.SUCCEEDED, 25, None, 1.0),
    ],
)
def test_progress_is_the_fraction_done(
    record: JobRecord, status: Status, step: int, total: int | None, progress: float
) -> None:
    assert replace(record, status=status, step=step, total=total).progress == progress


def test_the_reason_is_the_failures(record: JobRecord) -> None:
    failed = replace(record, status=Status.FAILED, failure=Failure(reason=Reason.LOST, message="gone"))
    assert failed.reason is Reason.LOST
    assert record.reason is None


def test_json_holds_plain_values(record: JobRecord) -> None:
    failure = Failure(reason=Reason.INPUT, message="no", remedy="yes")
    plain = json.loads(json.dumps(replace(record, failure=failure).to_json()))
    assert plain["status"] == "running"
    assert plain["created"] == "2026-01-02T00:00:00+00:00"
    assert (plain["reason"], plain["message"], plain["remedy"]) == ("input", "no", "yes")
    assert plain["scalars"] == {"energy": -1.5}
    assert plain["progress"] == 0.25
    assert "failure" not in plain
