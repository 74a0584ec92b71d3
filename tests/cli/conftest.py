"""The command line on the labs that tests have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.command import OURS, Cli, Shell

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.lab.lab import Lab


@pytest.fixture
def cli(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line, without the start of a process, on the lab that all tests share."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    for name, value in lab.settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return Cli(monkeypatch, capsys)


@pytest.fixture
def shell(lab: Lab, tmp_path: Path) -> Shell:
    """The command line on the lab that all tests share."""
    return Shell(lab.settings.environment(), tmp_path)


@pytest.fixture
def own_shell(own_lab: Lab, tmp_path: Path) -> Shell:
    """The command line on a lab of the test's own, which does not run yet."""
    return Shell(own_lab.settings.environment(), tmp_path)
