"""Jobs that are held back, paused, limited and tried again from a shell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import ase.io
import pytest
from ase.build import bulk

from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.lab.lab import Lab
    from tests.cli.command import Cli

MD = ("--engine", "mock", "--task", "md", "-p", "steps=20", "-p", "every=5", "--no-cache")


@pytest.fixture
def copper(tmp_path: Path) -> str:
    path = tmp_path / "Cu.cif"
    ase.io.write(path, bulk("Cu", cubic=True))
    return str(path)


def submit(cli: Cli, copper: str, *options: str) -> str:
    """Submit a job from the command line; return its id."""
    return cli("submit", copper, *MD, *options).out.strip()


def test_a_job_is_paused_and_goes_on(cli: Cli, lab: Lab, copper: str) -> None:
    job = lab.load(submit(cli, copper, "--not-before", "+1h"))
    assert "is being paused" in cli("pause", job.id).err
    assert re.search(r"pending \(paused, not before", cli("jobs", "--status", "pending").out)
    assert cli("show", job.id, "--json").json()["job"]["paused"] is not None

    assert "goes on" in cli("resume", job.id).err
    assert not job.paused
    cli("cancel", job.id)
    for command in ("pause", "resume"):
        assert "had ended before" in cli(command, job.id).err


def test_a_running_job_is_paused_and_goes_on(cli: Cli, lab: Lab, copper: str) -> None:
    job = lab.load(submit(cli, copper, "-p", "duration=5"))
    until(job.running)
    cli("pause", job.id)
    assert re.search(r"^status +running \(paused\)", cli("show", job.id).out, re.MULTILINE)
    cli("resume", job.id)
    assert job.wait(60).status == "succeeded"


@pytest.mark.parametrize("command", ["pause", "resume", "retry"])
def test_of_several_ids_none_is_touched_if_one_is_unknown(cli: Cli, lab: Lab, copper: str, command: str) -> None:
    job = lab.load(submit(cli, copper, "--not-before", "+1h"))
    before = job.events
    (line,) = cli(command, job.id, "ffffffff", code=1).err.splitlines()
    assert "no job 'ffffffff'" in line
    assert job.events == before
    job.cancel()


def test_a_failed_job_is_tried_again_with_other_limits(cli: Cli, lab: Lab, copper: str) -> None:
    limits = ("--soft-limit", "30min", "--hard-limit", "1h", "--memory-limit", "4")
    job = lab.load(submit(cli, copper, *limits, "-p", "fail_at=10"))
    job.wait(60)
    assert cli("show", job.id, "--json").json()["limits"] == {"soft": 1800, "hard": 3600, "memory": 4}

    assert "attempt 2" in cli("retry", job.id, "--soft-limit", "40min", "--memory-limit", "8", "--retries", "2").err
    job.wait(60)

    found = cli("show", job.id, "--json").json()
    assert found["limits"] == {"soft": 2400, "hard": 3600, "memory": 8}
    assert found["job"]["max_attempts"] == 2
    assert [attempt["outcome"] for attempt in found["attempts"]] == ["failed", "failed"]


def test_a_retry_that_makes_no_sense_is_one_line(cli: Cli, lab: Lab, copper: str) -> None:
    job = lab.load(submit(cli, copper)).wait(60)
    (line,) = cli("retry", job.id, code=1).err.splitlines()
    assert "only a failed one can be tried again" in line
    failed = lab.load(submit(cli, copper, "-p", "fail_at=10", "--hard-limit", "1h")).wait(60)
    (line,) = cli("retry", failed.id, "--soft-limit", "2h", code=1).err.splitlines()
    assert "limits.soft" in line


def test_every_attempt_is_shown_with_its_host_error_and_use(cli: Cli, lab: Lab, copper: str) -> None:
    job = lab.load(submit(cli, copper, "-p", "fail_at=10")).wait(60)
    (attempt,) = job.attempts

    shown = cli("show", job.id).out.split("\nattempts\n")[1].splitlines()

    assert " ".join(shown[0].split()) == "number outcome worker host started (UTC) ran CPU memory error"
    assert shown[1].split()[:2] == ["1", "failed"]
    assert attempt.host in shown[1]
    assert "engine: " in shown[1]
    assert re.search(r"\d+\.\d s +\d+\.\d s +\d+\.\d MB", shown[1])


def test_a_job_waits_for_another_and_says_so(cli: Cli, lab: Lab, copper: str) -> None:
    first = submit(cli, copper, "--not-before", "+1h", "--name", "the first")
    second = submit(cli, copper, "--after", first)
    third = submit(cli, copper, "--after", first, "--after-failure", "run")

    assert "pending (waits for 1 job)" in cli("show", second).out
    shown = cli("show", second).out.split("\ndepends on\n")[1]
    assert first in shown
    assert "the first" in shown
    assert "this one is cancelled" in shown
    found = cli("show", third, "--json").json()["dependencies"]
    assert found == [{"job": first, "name": "the first", "status": "pending", "after_failure": "run"}]

    cli("cancel", first)
    assert lab.load(second).wait(60).status == "cancelled"
    assert lab.load(third).wait(60).status == "succeeded"


def test_an_equal_job_is_answered_at_once_and_says_from_where(cli: Cli, lab: Lab, copper: str) -> None:
    same = ("submit", copper, "--engine", "ase", "--task", "static", "-p", "calculator=emt")
    first = lab.load(cli(*same).out.strip()).wait(60)
    second = cli(*same, "--json").json()
    assert (second["status"], second["cached_from"]) == ("succeeded", first.id)
    assert re.search(rf"^results of +{first.id}$", cli("show", second["id"]).out, re.MULTILINE)
    assert "succeeded (cached)" in cli("jobs").out
    assert lab.load(cli(*same, "--no-cache").out.strip()).cached_from is None


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--soft-limit", "2h", "--hard-limit", "1h"), 1, "limits.soft"),
        (("--soft-limit", "long"), 2, "30min"),
        (("--memory-limit", "-1"), 1, "limits.memory"),
        (("--after", "ffffffff"), 1, "no job 'ffffffff'"),
        (("--not-before", "tomorrow"), 2, "+2h"),
        (("--retries", "0"), 1, "retries.attempts"),
        (("--after-failure", "wait"), 2, "cancel"),
    ],
)
def test_a_wrong_option_is_said_and_nothing_is_stored(
    cli: Cli, lab: Lab, copper: str, options: tuple[str, ...], code: int, says: str
) -> None:
    before = sum(lab.services.store.count().values())
    assert says in cli("submit", copper, *MD, *options, code=code).err
    assert sum(lab.services.store.count().values()) == before


def test_the_demo_runs_even_if_it_has_run_before(cli: Cli, lab: Lab) -> None:
    demo = ("demo", "--engine", "mock", "--steps", "40")
    ids = [re.search(r"job (\w{32})", cli(*demo).err) for _ in range(2)]
    assert [lab.load(found.group(1)).cached_from for found in ids if found] == [None, None]


def test_a_running_job_is_steered(cli: Cli, lab: Lab, copper: str) -> None:
    heat = ("-p", "steps=100000", "-p", "duration=500", "-p", "ensemble=nvt", "-p", "temperature=300")
    job = lab.load(submit(cli, copper, *heat))
    until(lambda: job.record.step > 0)
    assert "is being steered (1): temperature=900" in cli("steer", job.id, "temperature=900", "tdamp=50").err
    until(lambda: job.steerings["step"].notna().all())
    (told,) = cli("show", job.id, "--json").json()["steerings"]
    assert told["changes"] == {"temperature": 900.0, "tdamp": 50.0}
    line = rf"^ +1 +{told['step']:,} +temperature=900\.0, tdamp=50\.0"
    assert re.search(line, cli("show", job.id).out, re.MULTILINE)
    assert "Did you mean 'temperature'" in cli("steer", job.id, "temprature=900", code=1).err
    cli("cancel", job.id)
    job.wait(60)
    assert "only one that has not ended can be steered" in cli("steer", job.id, "temperature=900", code=1).err


def test_several_jobs_are_steered_or_none(cli: Cli, lab: Lab, copper: str) -> None:
    heat = ("-p", "ensemble=nvt", "-p", "temperature=300", "--not-before", "+1h")
    first, second = (lab.load(submit(cli, copper, *heat)) for _ in range(2))
    rigid = lab.load(submit(cli, copper, "-p", "ensemble=nve", "--not-before", "+1h"))
    (line,) = cli("steer", first.id, second.id, rigid.id, "temperature=900", code=1).err.splitlines()
    assert f"job {rigid.id} cannot take this, so none of 3 jobs was changed" in line
    assert "no job 'ffffffff'" in cli("steer", first.id, "ffffffff", "temperature=900", code=1).err
    assert first.steerings.empty
    rigid.cancel()
    said = cli("steer", first.id, second.id, rigid.id, "temperature=900", "tdamp=50").err
    for job in (first, second):
        assert f"{job.id} is being steered (1): temperature=900, tdamp=50" in said
        assert job.steerings["changes"].tolist() == [{"temperature": 900.0, "tdamp": 50.0}]
        job.cancel()
    assert f"{rigid.id} had ended before" in said
    assert "name a job" in cli("steer", "temperature=900", code=2).err
