"""Jobs are deleted from Python."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from nanoos_lab.core.errors import InputError, JobNotFoundError, UnknownNameError
from nanoos_lab.lab.retention import delete, prune

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab

MD = {"engine": "mock", "task": "md", "steps": 20, "every": 5}
COPPER = bulk("Cu", cubic=True)


def test_a_job_is_deleted_with_its_files(lab: Lab) -> None:
    gone, kept = (lab.submit(COPPER, **MD).wait(60) for _ in range(2))
    place = lab.services.artifacts.attempt_dir(gone.id, 1).parent

    done = delete(lab, gone)

    assert ([job.record.id for job in done.jobs], done.done) == ([gone.id], True)
    assert done.size > 0
    assert not place.exists()
    with pytest.raises(JobNotFoundError):
        lab.load(gone.id)
    assert len(kept.trajectory) == 5


def test_a_job_deletes_itself(lab: Lab) -> None:
    job = lab.submit(COPPER, **MD)
    waiting = lab.submit(COPPER, **MD, not_before=datetime.now(UTC) + timedelta(days=30))
    with pytest.raises(InputError, match="pending"):
        waiting.delete()
    waiting.cancel()
    assert [one.record.id for one in job.wait(60).delete().jobs] == [job.id]
    with pytest.raises(JobNotFoundError):
        lab.load(job.id)


def test_a_job_whose_structure_another_one_starts_from_goes_only_with_it(lab: Lab) -> None:
    first = lab.submit(COPPER, **MD)
    second = lab.submit(first, **MD).wait(60)
    with pytest.raises(InputError, match=second.id):
        delete(lab, first)
    assert len(delete(lab, [first.id, second]).jobs) == 2


def test_pruning_is_a_dry_run_unless_said_otherwise(own_lab: Lab) -> None:
    job = own_lab.submit(COPPER, **MD).wait(60)
    would = prune(own_lab, older_than=0)
    assert ([one.record.id for one in would.jobs], would.done) == ([job.id], False)
    assert prune(own_lab, older_than=timedelta(days=1), dry_run=False).jobs == ()
    assert prune(own_lab, older_than=0, status="failed", dry_run=False).jobs == ()
    assert len(job.trajectory) == 5

    assert prune(own_lab, older_than=0, keep_results=True, dry_run=False).size > 0
    assert len(job.trajectory) == 0
    assert len(job.thermo) == 5
    assert "energy" in job.results

    assert len(prune(own_lab, older_than=0, status=["succeeded"], dry_run=False).jobs) == 1
    assert own_lab.jobs().empty


def test_a_status_that_is_no_end_is_refused(lab: Lab) -> None:
    with pytest.raises(UnknownNameError, match="succeeded"):
        prune(lab, older_than=0, status="running")
