"""The four basic operations as plain functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from nanoos_lab.core.errors import TransitionError
from nanoos_lab.core.status import MOVES, Status
from nanoos_lab.lab.tasks import cancel_job, run_dummy_job, run_simulation_job, update_job_status
from tests.waiting import until

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab


def test_a_dummy_job_runs_to_its_end(lab: Lab) -> None:
    job = lab.load(run_dummy_job(0.2, lab=lab)).wait(60)
    assert (job.status, job.name) == ("succeeded", "dummy")


def test_a_simulation_job_is_submitted_and_cancelled_by_id(lab: Lab) -> None:
    job_id = run_simulation_job(
        bulk("Cu"), engine="mock", task="md", steps=10, duration=60.0, queue="high_priority", lab=lab
    )
    assert cancel_job(job_id, lab=lab) is True
    assert lab.load(job_id).wait(90).status == "cancelled"


def test_a_status_is_moved_only_from_where_it_was_expected(lab: Lab) -> None:
    job_id = run_dummy_job(60.0, lab=lab)
    until(lambda: lab.load(job_id).status == "running")
    with pytest.raises(TransitionError, match="holds it"):
        update_job_status(job_id, "failed", expected="running", attempt=1, lab=lab)
    with pytest.raises(TransitionError, match="not queued"):
        update_job_status(job_id, "cancelled", expected="queued", attempt=1, lab=lab)
    cancel_job(job_id, lab=lab)
    lab.load(job_id).wait(90)
    with pytest.raises(TransitionError):
        update_job_status(job_id, "queued", expected="cancelled", attempt=1, lab=lab)


ILLEGAL = [(old, new) for old in Status for new in Status if new not in MOVES[old]]


@pytest.mark.parametrize(("expected", "to"), ILLEGAL)
def test_a_move_that_the_table_does_not_have_is_refused(lab: Lab, expected: Status, to: Status) -> None:
    job_id = run_dummy_job(0.0, lab=lab)
    with pytest.raises(TransitionError, match=f"from {expected} to {to}"):
        update_job_status(job_id, to, expected=expected, attempt=1, lab=lab)
