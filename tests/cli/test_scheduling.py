"""Schedules from a shell, delivered by a lab that runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import ase.io
import pytest
from ase.build import bulk

from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.lab.lab import Lab
    from tests.cli.command import Cli

MD = ("--engine", "mock", "--task", "md", "-p", "steps=20", "-p", "every=5")


@pytest.fixture
def copper(tmp_path: Path) -> str:
    path = tmp_path / "Cu.cif"
    ase.io.write(path, bulk("Cu", cubic=True))
    return str(path)


def test_a_schedule_is_run_by_the_lab_as_often_as_was_asked_for(cli: Cli, lab: Lab, copper: str) -> None:
    options = ("--repeat", "1s", "--times", "2", "--name", "again and again", "--soft-limit", "1h")
    cli("schedule", copper, *MD, *options)

    def ended() -> bool:
        jobs = lab.jobs(name="again and again")
        return list(jobs["status"]) == ["succeeded", "succeeded"]

    until(ended)
    assert cli("schedules", "--json").json() == []
    limits = [lab.services.store.assignment(job_id).limits.soft for job_id in lab.jobs(name="again and again").index]
    assert limits == [3600, 3600]


def test_schedules_are_listed_and_ended(cli: Cli, copper: str) -> None:
    nightly = cli("schedule", copper, *MD, "--repeat", "0 3 * * *").out.strip()
    later = cli("schedule", copper, *MD, "--repeat", "2h", "--not-before", "+1d", "--times", "3", "--json").json()
    assert (later["interval"], later["left"], later["last_job"]) == (7200, 3, None)

    rows = {row["id"]: row for row in cli("schedules", "--json").json()}
    assert rows[nightly]["cron"] == "0 3 * * *"
    assert rows[later["id"]] == later
    shown = cli("schedules").out
    assert "0 3 * * * (UTC)" in shown
    assert "every 2:00:00" in shown

    assert cli("unschedule", nightly, later["id"]).err.count("submits no more") == 2
    assert cli("schedules", "--json").json() == []
    (line,) = cli("unschedule", nightly, code=1).err.splitlines()
    assert "unknown schedule" in line


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--repeat", "daily"), 1, "cron"),
        (("--repeat", "0 0 31 2 *"), 1, "cron"),
        (("--repeat", "0s"), 1, "repeat='0s' is not allowed: from one turn to the next, at least 1 s"),
        (("--repeat", "6 months"), 1, "a duration such as '6h'"),
        (("--repeat", "1h", "--times", "0"), 1, "times"),
        (("--repeat", "1h", "-p", "after=x"), 1, "makes no sense"),
        (("--repeat", "1h", "-p", "step=5"), 1, "Did you mean 'steps'?"),
        ((), 2, "--repeat"),
    ],
)
def test_a_wrong_schedule_is_refused(cli: Cli, copper: str, options: tuple[str, ...], code: int, says: str) -> None:
    assert says in cli("schedule", copper, *MD, *options, code=code).err
    assert json.loads(cli("schedules", "--json").out) == []
