"""The README says what is true of the code."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from nanoos_lab.cli.app import COMMANDS
from nanoos_lab.core.request import QUEUES
from nanoos_lab.engines import registry
from nanoos_lab.worker.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its head."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def command(name: str) -> str:
    """Return the marked command, which is one line."""
    found = re.search(rf"<!-- command: {name} -->\n```sh\n(.+)\n```", README)
    assert found, name
    return found.group(1)


def test_every_setting_is_in_the_table_and_nothing_else() -> None:
    shown = [row[0].strip("`") for row in rows("Settings")]
    assert shown == [info.validation_alias for info in Settings.model_fields.values()]


def test_every_command_is_in_the_table_and_nothing_else() -> None:
    shown = [row[0].strip("`").split()[1] for row in rows("The command line")]
    assert sorted(shown) == sorted(command.function.__name__ for command in COMMANDS)


def test_every_engine_is_in_the_table_with_its_tasks() -> None:
    shown = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows("Engines and tasks")}
    assert shown == {name: set(registry.get(name).tasks) for name in registry.names()}


def test_the_queues_are_named_in_their_order() -> None:
    assert f'rq worker --url "$REDIS_URL" {" ".join(QUEUES)}' in README


@pytest.mark.parametrize("block", re.findall(r"```python\n(.+?)```", README, re.DOTALL))
def test_python_examples_are_python(block: str) -> None:
    compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_two_commands_install_what_they_say() -> None:
    assert command("demo").endswith("&& .venv/bin/nanoos-lab demo")
    assert '".[lab]"' in command("demo")
    assert command("test") == ('python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/pytest')


def test_ci_runs_the_test_command_of_the_readme() -> None:
    shown = subprocess.run(
        ["bash", ROOT / ".ci" / "run", "--show-test-command"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == command("test")
