"""Where a job stands, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from nanoos_lab.cli.wording import standing
from nanoos_lab.core.record import Failure, JobRecord
from nanoos_lab.core.status import Reason, Status

NOW = datetime(2026, 3, 2, 18, tzinfo=UTC)
LOST = Failure(reason=Reason.LOST, message="gone")


@pytest.fixture
def record() -> JobRecord:
    empty = dict.fromkeys(("total", "worker", "started", "ended", "cancel_requested", "lease_until", "failure"))
    texts = dict.fromkeys(("id", "key", "name", "formula", "engine", "task", "queue"), "x")
    numbers = dict.fromkeys(("atoms", "priority", "attempt", "max_attempts", "step"), 1)
    return JobRecord(**texts, **numbers, **empty, status=Status.QUEUED, created=NOW)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "queued"),
        ({"status": Status.PENDING}, "pending (about to be queued)"),
        ({"status": Status.PENDING, "paused": NOW}, "pending (paused)"),
        ({"status": Status.PENDING, "waits_for": 1}, "pending (waits for 1 job)"),
        ({"status": Status.PENDING, "waits_for": 2, "paused": NOW}, "pending (paused, waits for 2 jobs)"),
        ({"status": Status.PENDING, "run_after": NOW}, "pending (not before 2026-03-02 18:00:00 UTC)"),
        ({"status": Status.PENDING, "cached_from": "0198"}, "pending (waits for the equal job 0198)"),
        ({"status": Status.RUNNING}, "running"),
        ({"status": Status.RUNNING, "paused": NOW}, "running (paused)"),
        ({"status": Status.RUNNING, "paused": NOW, "cancel_requested": NOW}, "running (being cancelled)"),
        ({"status": Status.SUCCEEDED}, "succeeded"),
        ({"status": Status.SUCCEEDED, "cached_from": "0198"}, "succeeded (cached)"),
        ({"status": Status.FAILED, "failure": LOST}, "failed (lost)"),
        ({"status": Status.CANCELLED, "cancel_requested": NOW}, "cancelled"),
    ],
)
def test_a_person_reads_where_a_job_stands(record: JobRecord, changes: dict[str, object], said: str) -> None:
    assert standing(replace(record, **changes)) == said
