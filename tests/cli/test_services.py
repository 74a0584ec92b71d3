"""The processes behind the commands: started, shown, stopped."""

from __future__ import annotations

import os
import re
import signal
import socket
import urllib.error
import urllib.request
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from tests.cli.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.lab.lab import Lab
    from tests.cli.conftest import Cli


def test_a_lab_that_does_not_run_is_said_so_and_nothing_is_made(own_cli: Cli, own_lab: Lab) -> None:
    found = own_cli("status", "--json", code=3).json()
    assert found["running"] is False
    assert "nanoos-lab up" in found["problems"][0]
    assert "does not run" in own_cli("down").err
    assert not own_lab.settings.home.exists()


def test_up_status_and_down_tell_the_life_of_the_lab(own_cli: Cli, own_lab: Lab) -> None:
    own_cli("up")
    first = own_cli("status", "--json").json()
    own_cli("up")
    second = own_cli("status", "--json").json()

    assert first["running"] is True
    assert first["queues"] == {"high_priority": 0, "simulations": 0, "default": 0}
    assert second["processes"] == first["processes"]
    assert str(own_lab.settings.home) in own_cli("status").out

    job = own_lab.submit(bulk("Cu"), engine="mock", task="md", steps=10, every=5, duration=60)
    until(job.running)
    (line,) = own_cli("down", code=1).err.splitlines()
    assert job.id in line
    assert "--now" in line

    own_cli("down", "--now")
    stopped = own_cli("status", "--json", code=3).json()
    assert stopped["processes"] == {"server": None, "supervisor": None}
    assert not any(_alive(pid) for pid in first["processes"].values())


def test_no_command_prints_the_password_of_the_server(own_cli: Cli, own_lab: Lab) -> None:
    answers = [own_cli("up"), own_cli("status"), own_cli("status", "--json"), own_cli("reconcile")]
    configuration = (own_lab.settings.home / "valkey.conf").read_text()
    found = re.search(r"^requirepass (\S+)$", configuration, re.MULTILINE)
    assert found
    assert not any(found.group(1) in answer.out + answer.err for answer in answers)


def test_a_worker_in_burst_mode_runs_what_waits_and_leaves(own_cli: Cli, own_lab: Lab) -> None:
    own_cli("up")
    jobs = [own_lab.submit(bulk("Cu"), engine="mock", task="md", steps=10, every=5) for _ in range(3)]
    own_cli("worker", "--burst")
    assert [job.wait(30).status for job in jobs] == ["succeeded"] * 3


def test_the_reconciler_says_what_it_did(own_cli: Cli) -> None:
    own_cli("up")
    assert own_cli("reconcile").err.strip() == "0 lost, 0 sent again"


def test_migrate_makes_or_keeps_the_schema(own_cli: Cli) -> None:
    own_cli("up")
    own_cli("migrate")
    own_cli("migrate")
    assert own_cli("jobs", "--json").json() == []


def test_the_dashboard_is_behind_a_password_of_its_own(own_cli: Cli) -> None:
    own_cli("up")
    port = _free_port()
    process = own_cli.start("dashboard", "--port", str(port))
    try:
        assert process.stdout is not None
        text = ""
        while not (found := re.search(r"password[:\s]+(\S+)", text, re.IGNORECASE)):
            line = process.stdout.readline()
            assert line, text
            text += line
        user = re.search(r"user(?:name)?[:\s]+(\w+)", text, re.IGNORECASE)
        address = f"http://127.0.0.1:{port}/"
        until(lambda: _status(address) != 0)
        assert _status(address) == 401
        assert _status(address, f"{user.group(1) if user else 'nanoos'}:{found.group(1)}") == 200
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        process.stdout.close()


@pytest.mark.parametrize("command", ["up", "status", "jobs"])
def test_half_a_cluster_is_refused_in_one_line_without_its_password(own_cli: Cli, command: str) -> None:
    own_cli.environment["REDIS_URL"] = "redis://:hidden@localhost:1/0"
    (line,) = own_cli(command, code=1).err.splitlines()
    assert "DATABASE_URL" in line
    assert "hidden" not in line


def test_a_cluster_s_services_are_not_ours_to_start_or_stop(own_cli: Cli, tmp_path: Path) -> None:
    own_cli.environment |= {
        "REDIS_URL": "redis://:hidden@127.0.0.1:1/0",
        "DATABASE_URL": f"sqlite:///{tmp_path}/store.sqlite",
        "NANOOS_ARTIFACTS_URL": str(tmp_path / "artifacts"),
    }
    assert "nothing is started here" in own_cli("up").err
    assert "not ours to stop" in own_cli("down", code=1).err
    answer = own_cli("status", code=3)
    assert "127.0.0.1:1" in answer.out
    assert "hidden" not in answer.out + answer.err


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _status(address: str, credentials: str | None = None) -> int:
    """Return the HTTP status of a page, or 0 if nobody answers."""
    request = urllib.request.Request(address)
    if credentials:
        request.add_header("Authorization", f"Basic {b64encode(credentials.encode()).decode()}")
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except urllib.error.URLError:
        return 0
