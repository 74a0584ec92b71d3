"""The command line as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from nanoos_lab.cli import main

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

#: Settings of the tester's own shell that must not reach the commands.
OURS = ("REDIS_URL", "DATABASE_URL", "NANOOS_ARTIFACTS_URL", "NANOOS_HOME")


@dataclass(frozen=True)
class Answer:
    """What a command has printed."""

    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs ``nanoos-lab`` as a process of its own, in one environment."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in OURS}
        self.environment = {**kept, **environment, "COLUMNS": "200"}
        self.directory = directory

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-W", "error", "-m", "nanoos_lab", *arguments]

    def __call__(self, *arguments: str, code: int = 0, timeout: float = 120.0) -> Answer:
        """Run a command, and hold it to its exit code and to never showing a traceback."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == code, f"{arguments} → {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return Answer(done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that stays."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


class Cli:
    """Runs ``nanoos-lab`` in the process of the test, which has loaded everything already."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> Answer:
        """Run a command, and hold it to its exit code; any error that is not ours fails the test."""
        self._monkeypatch.setattr(sys, "argv", ["nanoos-lab", *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        answer = Answer(*self._capsys.readouterr())
        assert (end.value.code or 0) == code, f"{arguments} → {end.value.code}\n{answer.out}\n{answer.err}"
        return answer
