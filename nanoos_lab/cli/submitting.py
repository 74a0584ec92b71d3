"""The command that submits a structure file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanoos_lab.cli.output import JsonOption, print_json
from nanoos_lab.cli.session import open_lab
from nanoos_lab.core.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms


def submit(  # noqa: PLR0913 - each is an option of the command
    file: Annotated[
        Path | None,
        typer.Argument(help="Structure, in any format that ASE reads; left out for a task that brings its own."),
    ] = None,
    *,
    engine: Annotated[str, typer.Option("--engine", "-e", help="What runs it; `nanoos-lab engines` lists them.")],
    task: Annotated[str, typer.Option("--task", "-t", help="Kind of calculation, such as static, relax, md.")],
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            "-p",
            metavar="NAME=VALUE",
            help="A parameter of the task; the value is JSON, or a text, or @FILE for the text of a file.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    queue: Annotated[str, typer.Option(help="high_priority, simulations or default.")] = "simulations",
    priority: Annotated[int, typer.Option(help="0 lowest, 5 normal, 10 high, 20 urgent.")] = 5,
    wait: Annotated[bool, typer.Option("--wait", help="Show its progress until it ends.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Submit a job and print its id.

    With --wait, exit code 1 says that it did not succeed.
    """
    given = dict(_parameter(text) for text in parameters or ())
    structure = None if file is None else _structure(file)
    with open_lab() as lab:
        job = lab.submit(structure, engine=engine, task=task, name=name, queue=queue, priority=priority, **given)
        if wait:
            from nanoos_lab.cli.progress import follow

            follow(job)
        if as_json:
            print_json(job.record.to_json())
        else:
            print(job.id)
        error = job.exception() if wait else None
        if error is not None:
            raise error


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--parameter")
    if value.startswith("@"):
        return name, Path(value[1:]).read_text()
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _structure(file: Path) -> "Atoms":
    from ase.io import read

    if not file.exists():
        raise InputError(f"there is no file {file}")
    try:
        found = read(file)
    except Exception as error:
        # ASE's readers raise whatever their code stumbles over.
        raise InputError(f"ASE cannot read a structure from {file}: {error or type(error).__name__}") from error
    return found[-1] if isinstance(found, list) else found
