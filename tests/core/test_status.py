"""Where a job may stand, and where it may go from there."""

from __future__ import annotations

import json

import pytest

from nanoos_lab.core.status import FINISHED, MOVES, Reason, Status


def test_a_status_equals_its_word():
    assert Status.RUNNING == "running"
    assert f"{Status.RUNNING}" == "running"
    assert json.dumps(Status.RUNNING) == '"running"'
    assert Reason.TIME_LIMIT == "time_limit"


def test_every_status_has_its_moves():
    assert set(MOVES) == set(Status)


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.CANCELLED])
def test_a_result_and_a_cancel_are_final(status):
    assert status.finished
    assert MOVES[status] == frozenset()


def test_a_failed_job_can_only_be_queued_again():
    assert Status.FAILED.finished
    assert MOVES[Status.FAILED] == {Status.QUEUED}


def test_only_a_running_job_succeeds_or_one_that_waits_for_an_equal_one_and_only_a_queued_one_starts():
    assert [status for status in Status if Status.SUCCEEDED in MOVES[status]] == [Status.PENDING, Status.RUNNING]
    assert [status for status in Status if Status.RUNNING in MOVES[status]] == [Status.QUEUED]


def test_every_unfinished_job_can_be_cancelled_and_can_fail():
    for status in set(Status) - FINISHED:
        assert {Status.CANCELLED, Status.FAILED} <= MOVES[status]


def test_no_move_leads_nowhere_and_every_end_can_be_reached():
    reached, frontier = set(), {Status.PENDING}
    while frontier:
        reached |= frontier
        frontier = {after for status in frontier for after in MOVES[status]} - reached
    assert reached == set(Status)
    assert all(status not in MOVES[status] for status in Status)
