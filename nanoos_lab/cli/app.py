"""All commands in one table, and what becomes of an error."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NoReturn

import typer

from nanoos_lab.cli import control, demo, notebooks, pruning, reading, scheduling, services, showing, submitting
from nanoos_lab.cli.output import visible
from nanoos_lab.core.errors import NanoosError


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of the command line."""

    #: Heading in the help that it stands under.
    panel: str
    #: Does the work; its name, signature and docstring are the command's name, options and help.
    function: Callable[..., None]
    #: A line that a user could type.
    example: str
    #: Whether arguments that it does not know are its own business.
    open_ended: bool = False


_START, _JOBS, _LAB, _CLUSTER = "Start here", "Jobs", "The lab of this computer", "Clusters and care"

COMMANDS = (
    Command(panel=_START, function=demo.demo, example="nanoos-lab demo --engine lammps --steps 20000"),
    Command(panel=_START, function=notebooks.lab, example="nanoos-lab lab --no-browser", open_ended=True),
    Command(panel=_START, function=reading.engines, example="nanoos-lab engines"),
    Command(
        panel=_JOBS,
        function=submitting.submit,
        example="nanoos-lab submit Cu.vasp --engine ase --task relax -p calculator=emt -p fmax=0.005 --wait",
    ),
    Command(panel=_JOBS, function=reading.jobs, example="nanoos-lab jobs --status running --status queued"),
    Command(panel=_JOBS, function=showing.show, example="nanoos-lab show 0198c2d7a3b47c518e0f6d2a9b4c1e57 --json"),
    Command(panel=_JOBS, function=reading.logs, example="nanoos-lab logs 0198c2d7a3b47c518e0f6d2a9b4c1e57 --follow"),
    Command(panel=_JOBS, function=control.cancel, example="nanoos-lab cancel 0198c2d7a3b47c518e0f6d2a9b4c1e57"),
    Command(panel=_JOBS, function=control.pause, example="nanoos-lab pause 0198c2d7a3b47c518e0f6d2a9b4c1e57"),
    Command(panel=_JOBS, function=control.resume, example="nanoos-lab resume 0198c2d7a3b47c518e0f6d2a9b4c1e57"),
    Command(
        panel=_JOBS,
        function=control.steer,
        example="nanoos-lab steer 0198c2d7a3b47c518e0f6d2a9b4c1e57 temperature=900",
    ),
    Command(
        panel=_JOBS,
        function=control.retry,
        example="nanoos-lab retry 0198c2d7a3b47c518e0f6d2a9b4c1e57 --soft-limit 3h --hard-limit 4h",
    ),
    Command(
        panel=_JOBS, function=reading.export, example="nanoos-lab export 0198c2d7a3b47c518e0f6d2a9b4c1e57 melt.extxyz"
    ),
    Command(
        panel=_JOBS,
        function=scheduling.schedule,
        example="nanoos-lab schedule Cu.vasp --engine ase --task static -p calculator=emt --repeat 6h --times 4",
    ),
    Command(panel=_JOBS, function=scheduling.schedules, example="nanoos-lab schedules --json"),
    Command(
        panel=_JOBS, function=scheduling.unschedule, example="nanoos-lab unschedule 0198c2d7a3b47c518e0f6d2a9b4c1e57"
    ),
    Command(panel=_JOBS, function=pruning.prune, example="nanoos-lab prune --older-than 30d --status failed,cancelled"),
    Command(panel=_LAB, function=services.up, example="nanoos-lab up"),
    Command(panel=_LAB, function=services.status, example="nanoos-lab status --json"),
    Command(panel=_LAB, function=services.down, example="nanoos-lab down --now"),
    Command(panel=_CLUSTER, function=services.worker, example="nanoos-lab worker --burst"),
    Command(panel=_CLUSTER, function=services.dashboard, example="nanoos-lab dashboard --port 9181"),
    Command(panel=_CLUSTER, function=control.migrate, example="nanoos-lab migrate"),
    Command(panel=_CLUSTER, function=control.reconcile, example="nanoos-lab reconcile"),
)


def build() -> typer.Typer:
    """Return the command line."""
    app = typer.Typer(
        name="nanoos-lab",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    for command in COMMANDS:
        loose = {"allow_extra_args": True, "ignore_unknown_options": True} if command.open_ended else None
        add = app.command(rich_help_panel=command.panel, epilog=f"Example: {command.example}", context_settings=loose)
        add(command.function)
    return app


def run() -> None:
    """Run the command line; an error of ours is one line on stderr and exit code 1."""
    try:
        build()()
    except NanoosError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _fail(text: str) -> NoReturn:
    from rich.console import Console

    line = visible(" ".join(part.strip() for part in text.splitlines() if part.strip()))
    Console(stderr=True, soft_wrap=True).print(f"error: {line}", style="red", markup=False, highlight=False)
    sys.exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        from nanoos_lab import __version__

        print(__version__)
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run simulations and follow them, with nothing set up.

    All happens on this computer, in a lab that starts with the first job and stops by itself, unless
    REDIS_URL, DATABASE_URL and NANOOS_ARTIFACTS_URL name the services of a cluster.
    """
