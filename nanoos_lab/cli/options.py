"""Options that several commands have."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nanoos_lab.cli.values import duration, moment

if TYPE_CHECKING:
    from nanoos_lab.core.resources import Limits

JobId = Annotated[str, typer.Argument(metavar="ID", help="Id of the job, as `nanoos-lab jobs` lists it.")]
JobIds = Annotated[list[str], typer.Argument(metavar="ID…", help="Ids, as `nanoos-lab jobs` lists them.")]

# -- what to run
StructureFile = Annotated[
    Path | None,
    typer.Argument(help="Structure, in any format that ASE reads; left out for a task that brings its own."),
]
Engine = Annotated[str, typer.Option("--engine", "-e", help="What runs it; `nanoos-lab engines` lists them.")]
Task = Annotated[str, typer.Option("--task", "-t", help="Kind of calculation, such as static, relax, md.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        "-p",
        metavar="NAME=VALUE",
        help="A parameter of the task; the value is JSON, or a text, or @FILE for the text of a file.",
    ),
]

JobIdsAndChanges = Annotated[
    list[str],
    typer.Argument(
        metavar="ID… NAME=VALUE…",
        help="Ids, as `nanoos-lab jobs` lists them, and parameters of their task, such as temperature=900.",
    ),
]

# -- how
Name = Annotated[str | None, typer.Option(help="A name for people.")]
Queue = Annotated[str, typer.Option(help="high_priority, simulations or default.")]
Priority = Annotated[int, typer.Option(help="0 lowest, 5 normal, 10 high, 20 urgent.")]
Retries = Annotated[
    int | None, typer.Option(metavar="N", help="Attempts in all if a worker is lost or resources lack; 3 unless given.")
]
SoftLimit = Annotated[
    float | None,
    typer.Option(
        metavar="TIME", parser=duration, help="Running time, such as 50min, after which it saves its state and stops."
    ),
]
HardLimit = Annotated[
    float | None, typer.Option(metavar="TIME", parser=duration, help="Running time after which it is killed.")
]
MemoryLimit = Annotated[float | None, typer.Option(metavar="GIB", help="Memory in GiB beyond which it is killed.")]
NotBefore = Annotated[
    datetime | None,
    typer.Option(metavar="MOMENT", parser=moment, help="Not to start earlier: 2026-03-02T18:00, or +2h from now."),
]


def limits_of(soft: float | None, hard: float | None, memory: float | None) -> "Limits | None":
    """Return the limits that were given; None if none was."""
    from nanoos_lab.core.resources import Limits

    given = {name: value for name, value in (("soft", soft), ("hard", hard), ("memory", memory)) if value is not None}
    return Limits.from_any(given) if given else None
