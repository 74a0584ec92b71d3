"""The processes behind the commands: started, shown, stopped."""

from __future__ import annotations

import re
import signal
import urllib.error
import urllib.request
from base64 import b64encode
from typing import TYPE_CHECKING

import psutil
import pytest
from ase.build import bulk

from tests.cli.command import Cli, Shell
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nanoos_lab.lab.lab import Lab


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """The command line on a lab that it has started, and stops at the end."""
    directory = tmp_path_factory.mktemp("running")
    shell = Shell({"NANOOS_HOME": str(directory / "home"), "WORKER_CONCURRENCY": "1"}, directory)
    shell("up")
    yield shell
    shell("down", "--now")


def test_a_lab_that_does_not_run_is_said_so_and_nothing_is_made(own_shell: Shell, own_lab: Lab) -> None:
    found = own_shell("status", "--json", code=3).json()
    assert found["running"] is False
    assert "nanoos-lab up" in found["problems"][0]
    assert "does not run" in own_shell("down").err
    assert not own_lab.settings.home.exists()


def test_up_status_and_down_tell_the_life_of_the_lab(own_shell: Shell, own_lab: Lab) -> None:
    own_shell("up")
    first = own_shell("status", "--json").json()
    own_shell("up")
    second = own_shell("status", "--json").json()

    assert first["running"] is True
    assert first["queues"] == {"high_priority": 0, "simulations": 0, "default": 0}
    assert second["processes"] == first["processes"]
    assert str(own_lab.settings.home) in own_shell("status").out

    job = own_lab.submit(bulk("Cu"), engine="mock", task="md", steps=10, every=5, duration=60)
    until(job.running)
    (line,) = own_shell("down", code=1).err.splitlines()
    assert job.id in line
    assert "--now" in line

    own_shell("down", "--now")
    stopped = own_shell("status", "--json", code=3).json()
    assert stopped["processes"] == {"server": None, "supervisor": None}
    assert not any(_alive(pid) for pid in first["processes"].values())


def test_no_command_prints_the_password_of_the_server(running: Shell) -> None:
    configuration = (running.directory / "home" / "valkey.conf").read_text()
    found = re.search(r"^requirepass (\S+)$", configuration, re.MULTILINE)
    assert found
    answers = [running("up"), running("status"), running("status", "--json"), running("worker", "--burst")]
    assert not any(found.group(1) in answer.out + answer.err for answer in answers)


def test_a_worker_in_burst_mode_runs_what_waits_and_leaves(own_shell: Shell, own_lab: Lab) -> None:
    jobs = [own_lab.submit(bulk("Cu"), engine="mock", task="md", steps=10, every=5) for _ in range(3)]
    own_shell("worker", "--burst")
    assert [job.wait(90).status for job in jobs] == ["succeeded"] * 3


def test_the_reconciler_says_what_it_did(running: Shell) -> None:
    assert running("reconcile").err.strip() == "0 lost, 0 due, 0 sent"


def test_migrate_keeps_a_schema_that_is_right(running: Shell) -> None:
    running("migrate")
    assert running("jobs", "--json").json() == []


def test_the_dashboard_is_behind_a_password_of_its_own_and_ends_quietly(running: Shell) -> None:
    with running.start("dashboard", "--port", "0") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+/)  user name: (\S+)  password: (\S+)\n", line)
        assert found, line
        assert _status(found.group(1)) == 401
        assert _status(found.group(1), f"{found.group(2)}:{found.group(3)}") == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0
        assert process.stdout.read() == ""


@pytest.mark.parametrize("command", ["up", "status", "jobs"])
def test_half_a_cluster_is_refused_in_one_line_without_its_password(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hidden@localhost:1/0")
    (line,) = cli(command, code=1).err.splitlines()
    assert "DATABASE_URL" in line
    assert "hidden" not in line


def test_a_cluster_s_services_are_not_ours_to_start_or_stop(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hidden@127.0.0.1:1/0")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/store.sqlite")
    monkeypatch.setenv("NANOOS_ARTIFACTS_URL", str(tmp_path / "artifacts"))
    assert "nothing is started here" in cli("up").err
    assert "not ours to stop" in cli("down", code=1).err
    answer = cli("status", code=3)
    assert "127.0.0.1:1" in answer.out
    assert "hidden" not in answer.out + answer.err


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its parent to notice."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _status(address: str, credentials: str | None = None) -> int:
    """Return the HTTP status of a page."""
    request = urllib.request.Request(address)
    if credentials:
        request.add_header("Authorization", f"Basic {b64encode(credentials.encode()).decode()}")
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
