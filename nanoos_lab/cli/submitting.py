"""The command that submits a structure file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nanoos_lab.cli import options
from nanoos_lab.cli.output import JsonOption, print_json
from nanoos_lab.cli.session import open_lab
from nanoos_lab.core.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms


def submit(  # noqa: PLR0913 - each is an option of the command
    file: options.StructureFile = None,
    *,
    engine: options.Engine,
    task: options.Task,
    parameters: options.Parameters = None,
    name: options.Name = None,
    queue: options.Queue = "simulations",
    priority: options.Priority = 5,
    retries: options.Retries = None,
    soft_limit: options.SoftLimit = None,
    hard_limit: options.HardLimit = None,
    memory_limit: options.MemoryLimit = None,
    after: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A job that must end first; may be repeated.")
    ] = None,
    after_failure: Annotated[
        Literal["cancel", "run"], typer.Option(help="What becomes of this job if one of those does not succeed.")
    ] = "cancel",
    not_before: options.NotBefore = None,
    no_corrections: Annotated[
        bool, typer.Option("--no-corrections", help="Do not try again with other parameters after a failure.")
    ] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run it even if an equal job has the results.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show its progress until it ends.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Submit a job and print its id.

    With --wait, exit code 1 says that it did not succeed.
    """
    given = parameters_of(parameters)
    structure = structure_of(file)
    with open_lab() as lab:
        job = lab.submit(
            structure,
            engine=engine,
            task=task,
            name=name,
            queue=queue,
            priority=priority,
            retries=retries,
            limits=options.limits_of(soft_limit, hard_limit, memory_limit),
            after=after or (),
            after_failure=after_failure,
            not_before=not_before,
            cache=not no_cache,
            corrections=not no_corrections,
            **given,
        )
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


def parameters_of(texts: list[str] | None) -> dict[str, Any]:
    """Read parameters as they were typed."""
    return dict(_parameter(text) for text in texts or ())


def structure_of(file: Path | None) -> "Atoms | None":
    """Read the structure in a file; None if no file is given."""
    if file is None:
        return None
    from ase.io import read

    if not file.exists():
        raise InputError(f"there is no file {file}")
    try:
        found = read(file)
    except Exception as error:
        # ASE's readers raise whatever their code stumbles over.
        raise InputError(f"ASE cannot read a structure from {file}: {error or type(error).__name__}") from error
    return found[-1] if isinstance(found, list) else found


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--parameter")
    if value.startswith("@"):
        return name, Path(value[1:]).read_text()
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, _number_or_text(value)


def _number_or_text(text: str) -> float | str:
    """Return the number where it is one that JSON writes otherwise, such as .5 or +300."""
    try:
        # Without a digit it is a word: nan, infinity.
        return float(text) if any(map(str.isdigit, text)) else text
    except ValueError:
        return text
