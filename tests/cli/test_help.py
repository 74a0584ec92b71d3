"""Every command is documented, has an example, and starts quickly."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from nanoos_lab.cli.app import COMMANDS, build

README = Path(__file__).parents[2] / "README.md"
GROUP = typer.main.get_command(build())
NAMES = sorted(GROUP.commands)


def test_the_table_of_commands_is_the_command_line() -> None:
    assert sorted(command.function.__name__ for command in COMMANDS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_command_says_what_it_does_and_shows_an_example(name: str) -> None:
    command = GROUP.commands[name]
    assert re.match(r"[A-Z].+\.", command.help)
    assert re.match(rf"Example: nanoos-lab {name}\b", command.epilog)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_and_argument_says_what_it_is(name: str) -> None:
    silent = [parameter.name for parameter in GROUP.commands[name].params if not parameter.help]
    assert silent == []


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert re.search(rf"^\| `nanoos-lab {name}\b", README.read_text(), re.MULTILINE)


def test_the_examples_can_be_parsed() -> None:
    for command in COMMANDS:
        _, name, *arguments = command.example.split()
        GROUP.commands[name].make_context(name, arguments, resilient_parsing=False)


def test_help_loads_nothing_heavy() -> None:
    heavy = "numpy pandas ase sqlalchemy alembic redis rq pydantic ipywidgets IPython"
    code = (
        "import sys\n"
        "from nanoos_lab.cli.app import build\n"
        "try:\n    build()(['--help'])\n"
        "except SystemExit as end:\n    assert end.code in (0, None)\n"
        f"print(sorted(set({heavy.split()}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_the_package_s() -> None:
    import nanoos_lab

    command = [sys.executable, "-m", "nanoos_lab", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == nanoos_lab.__version__
