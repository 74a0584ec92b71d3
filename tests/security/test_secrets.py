"""Passwords are in one private file and in memory; not on command lines, in engines, in logs or in errors."""

from __future__ import annotations

import subprocess
import traceback
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from nanoos_lab.broker import embedded
from nanoos_lab.core.errors import NanoosError
from nanoos_lab.worker.nursery import Nursery
from nanoos_lab.worker.services import Services
from nanoos_lab.worker.settings import Settings
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.lab.lab import Lab

SECRET = "hunter2hunter2"


def password_of(lab: Lab) -> str:
    lab.start()
    server = embedded.find(lab.settings.home, embedded.runtime_directory())
    assert server
    return server.url.partition("//:")[2].partition("@")[0]


def test_no_command_line_shows_the_password_while_a_job_runs(lab: Lab) -> None:
    password = password_of(lab)
    job = lab.submit(bulk("Cu"), engine="mock", task="md", steps=20, every=10, duration=2.0)
    until(lambda: job.running())
    commands = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout
    assert "valkey-server" in commands
    assert password not in commands
    job.wait(60)


def test_one_private_file_holds_the_password(lab: Lab) -> None:
    password = password_of(lab).encode()
    lab.submit(bulk("Cu"), engine="mock", task="static").wait(60)
    holders = [path for path in lab.settings.home.rglob("*") if path.is_file() and password in path.read_bytes()]
    assert [path.name for path in holders] == ["valkey.conf"]
    assert holders[0].stat().st_mode & 0o077 == 0
    assert lab.settings.home.stat().st_mode & 0o077 == 0


def test_what_jobs_write_is_for_the_user_alone(lab: Lab) -> None:
    job = lab.submit(bulk("Cu"), engine="mock", task="static", output="hello").wait(60)
    for path in job.files.values():
        private = [parent for parent in path.parents if parent.stat().st_mode & 0o077 == 0]
        assert private


def test_engines_do_not_see_the_urls_of_the_services(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:{SECRET}@127.0.0.1:1/0")
    monkeypatch.setenv("DATABASE_URL", f"postgresql://user:{SECRET}@127.0.0.1:1/lab")
    monkeypatch.setenv("NANOOS_ARTIFACTS_URL", str(tmp_path))
    seen = tmp_path / "seen"
    monkeypatch.setattr(
        "nanoos_lab.worker.child._serve", lambda _pipe: seen.write_text(subprocess.check_output(["env"], text=True))
    )
    nursery = Nursery.fork()
    nursery.engine().join(90.0)
    nursery.close()
    assert "PATH=" in seen.read_text()
    assert SECRET not in seen.read_text()


def test_settings_and_errors_do_not_show_passwords(tmp_path: Path) -> None:
    settings = Settings.load(
        redis_url=f"redis://:{SECRET}@127.0.0.1:1/0",
        database_url=f"postgresql://user:{SECRET}@127.0.0.1:1/lab?connect_timeout=2",
        artifacts_url=str(tmp_path),
    )
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.model_dump())
    services = Services(settings)
    for ask in (services.store.count, services.queue.ping):
        with pytest.raises(NanoosError) as caught:
            ask()
        assert SECRET not in str(caught.value)
        assert SECRET not in "".join(traceback.format_exception(caught.value))
    services.close()
    assert SECRET not in repr(services)


def test_a_malformed_url_is_refused_without_showing_it(tmp_path: Path) -> None:
    for values in ({"redis_url": f"http://:{SECRET}@x"}, {"database_url": f"mysql://u:{SECRET}@x/y"}):
        urls = {"redis_url": "redis://x", "database_url": "sqlite:///x", "artifacts_url": str(tmp_path), **values}
        services = Services(Settings.load(**urls))
        with pytest.raises(NanoosError) as caught:
            services.connection if "redis_url" in values else services.store.count()
        assert SECRET not in "".join(traceback.format_exception(caught.value))
