"""Jobs that come again, from Python."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from nanoos_lab.core.errors import InputError, ParameterError, UnknownNameError
from nanoos_lab.lab.schedules import Schedule, load_schedule, schedule, schedules
from nanoos_lab.worker.pool import _has_work
from tests.waiting import until

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab

COPPER = bulk("Cu", cubic=True)
STATIC = {"engine": "ase", "task": "static", "calculator": "emt"}


def test_every_turn_is_a_run_of_its_own_that_follows_the_version_of_its_day(lab: Lab) -> None:
    equal = lab.submit(COPPER, **STATIC).wait(60)
    added = schedule(lab, COPPER, **STATIC, repeat=3600, times=5)
    assert added.record.left == 5
    until(lambda: added.last_job is not None)

    job = added.last_job

    assert job.wait(60).status == "succeeded"
    assert job.cached_from is None
    assert job.results["energy"] == equal.results["energy"]
    assert (equal.request.version != "", job.request.version) == (True, "")
    assert added.record.left == 4
    assert added.remove() is True
    assert added.remove() is False


def test_a_schedule_is_found_and_listed_by_any_notebook(lab: Lab) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    added = schedule(lab, COPPER, **STATIC, repeat="0 3 * * mon", not_before=later, name="weekly", priority=1)

    assert load_schedule(lab, added.id) == added == Schedule(lab, added.id)
    row = schedules(lab).loc[added.id]
    assert (row["name"], row["engine"], row["repeat"]) == ("weekly", "ase", "0 3 * * mon (UTC)")
    assert row["next"].to_pydatetime() == added.record.next
    assert (row["next"].weekday(), row["next"].hour) == (0, 3)
    added.remove()
    assert list(schedules(lab).index) == []
    with pytest.raises(UnknownNameError, match="schedule"):
        load_schedule(lab, added.id)


def test_a_lab_with_a_schedule_is_needed(own_lab: Lab) -> None:
    assert not _has_work(own_lab.services)
    later = datetime.now(UTC) + timedelta(days=1)
    schedule(own_lab, COPPER, **STATIC, repeat=3600, not_before=later)
    assert _has_work(own_lab.services)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"repeat": 0}, ParameterError),
        ({"repeat": 60, "times": 0}, ParameterError),
        ({"repeat": 60, "after": "0198"}, InputError),
        ({"repeat": 60, "cache": True}, InputError),
        ({"repeat": 60, "queue": "simulation"}, UnknownNameError),
        ({"repeat": 60, "stepz": 1}, UnknownNameError),
        ({"repeat": 60, "limits": {"soft": 2, "hard": 1}}, ParameterError),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_stored(
    lab: Lab, changes: dict[str, object], error: type[InputError]
) -> None:
    with pytest.raises(error):
        schedule(lab, COPPER, **STATIC, **changes)
    assert schedules(lab).empty


def test_a_schedule_starts_from_a_structure_and_not_from_a_job(lab: Lab) -> None:
    job = lab.submit(COPPER, **STATIC)
    with pytest.raises(InputError, match=r"job\.structure"):
        schedule(lab, job, **STATIC, repeat=60)
