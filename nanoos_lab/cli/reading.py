"""Commands that read: engines, jobs, logs, export."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nanoos_lab.cli.options import JobId
from nanoos_lab.cli.output import JsonOption, ago, print_json, print_table, say, write_out
from nanoos_lab.cli.session import open_lab
from nanoos_lab.cli.wording import standing
from nanoos_lab.core.status import Status

if TYPE_CHECKING:
    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.engines.base import EngineInfo

#: Seconds between two looks at a log that grows.
_TAIL = 0.5


def engines(as_json: JsonOption = False) -> None:
    """List the engines, what they can do, and what is missing to run them."""
    from nanoos_lab.engines import registry

    found, added = registry.probe_all(), registry.probe_tasks()
    if as_json:
        print_json([asdict(info) for info in found])
        for info in added:
            if info.missing:
                say(f"task {info.name} of {info.package}: {info.missing}")
        return
    rows = (
        (
            info.name,
            "yes" if info.found else "no",
            info.version,
            " ".join(info.tasks),
            " ".join(info.parallel),
            " ".join(info.steerable),
            _where(info),
        )
        for info in found
    )
    print_table(("engine", "found", "version", "tasks", "parallel", "steered", "where, or what is missing"), rows)
    if added:
        say("")
        rows_of_tasks = ((info.name, info.package, " ".join(info.engines), info.missing) for info in added)
        print_table(("added task", "package", "engines", "what is missing"), rows_of_tasks)


def _where(info: "EngineInfo") -> str:
    """Return where an engine is and which of its tasks lack a program, or what it lacks itself."""
    if not info.found:
        return info.missing
    return "\n".join([info.where, *(f"no {task}: {why}" for task, why in info.lacking.items())])


def jobs(
    statuses: Annotated[list[Status] | None, typer.Option("--status", help="Only these; may be repeated.")] = None,
    engine: Annotated[str | None, typer.Option(help="Only this engine.")] = None,
    task: Annotated[str | None, typer.Option(help="Only this kind of calculation.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most jobs to list.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List jobs, the newest first."""
    from nanoos_lab.store.queries import JobQuery

    query = JobQuery(status=statuses or None, engine=engine, task=task, limit=limit)
    with open_lab() as lab:
        records = lab.services.store.find(query)
    if as_json:
        print_json([record.to_json() for record in records])
        return
    names = ("id", "name", "engine", "task", "status", "progress", "submitted")
    print_table(names, [_row(record) for record in records])


def _row(record: "JobRecord") -> tuple[object, ...]:
    return (
        record.id,
        record.name,
        record.engine,
        record.task,
        standing(record),
        f"{record.progress:.0%}",
        ago(record.created),
    )


def logs(
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
) -> None:
    """Print what the engine printed."""
    with open_lab() as lab:
        job = lab.load(job_id)
        shown = 0
        while True:
            # The status first: what is printed after it has ended is then not missed.
            ended = job.done() or not follow
            text = job.log
            write_out(text[shown:])
            shown = len(text)
            if ended:
                return
            time.sleep(_TAIL)


def export(
    job_id: JobId,
    path: Annotated[
        Path,
        typer.Argument(help="New file; .csv gets the thermo table, all else the trajectory in ASE's format."),
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
) -> None:
    """Write a job's trajectory or thermo table to a file.

    The extension decides: .csv for the thermo table; .extxyz, .traj and ASE's other formats for the
    trajectory.
    """
    from nanoos_lab.cli.exporting import write

    with open_lab() as lab:
        say(write(lab.load(job_id), path, replace=force))
