"""Commands that read: engines, jobs, show, logs, export."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nanoos_lab.cli.output import JsonOption, ago, print_json, print_pairs, print_table, say, write_out
from nanoos_lab.cli.session import open_lab
from nanoos_lab.core.status import Status

if TYPE_CHECKING:
    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.lab.job import Job

JobId = Annotated[str, typer.Argument(metavar="ID", help="Id of the job, as `nanoos-lab jobs` lists it.")]
#: Seconds between two looks at a log that grows.
_TAIL = 0.5


def engines(as_json: JsonOption = False) -> None:
    """List the engines, and what is missing to run them."""
    from nanoos_lab.engines import registry

    found = registry.probe_all()
    if as_json:
        print_json([asdict(info) for info in found])
        return
    rows = (
        (
            info.name,
            "yes" if info.found else "no",
            info.version,
            " ".join(info.tasks),
            info.where or info.missing,
        )
        for info in found
    )
    print_table(("engine", "found", "version", "tasks", "where, or what is missing"), rows)


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
    status = f"{record.status} ({record.reason})" if record.reason else record.status
    return (
        record.id,
        record.name,
        record.engine,
        record.task,
        status,
        f"{record.progress:.0%}",
        ago(record.created),
    )


def show(job_id: JobId, as_json: JsonOption = False) -> None:
    """Show what a job was asked for, how it went, and what came out."""
    with open_lab() as lab:
        job = lab.load(job_id)
        if as_json:
            print_json(_whole(job))
        else:
            _show(job)


def _whole(job: "Job") -> dict[str, object]:
    attempts = [asdict(attempt) for attempt in job.lab.services.store.attempts(job.id)]
    return {
        "job": job.record.to_json(),
        "request": job.request.to_json(),
        "attempts": attempts,
        "events": [asdict(event) for event in job.events],
        "files": {name: str(path) for name, path in job.files.items()},
        "warning": job.warning,
    }


def _show(job: "Job") -> None:
    record, request = job.record, job.request
    failure = record.failure
    print_pairs(
        [
            ("id", record.id),
            ("name", record.name),
            ("structure", f"{record.formula}, {record.atoms} atoms" if record.formula else None),
            ("engine", f"{record.engine}, task {record.task}"),
            ("status", record.status),
            ("progress", _progress(record)),
            ("warning", job.warning),
            ("reason", failure.reason if failure else None),
            ("message", failure.message if failure else None),
            ("what to do", failure.remedy or None if failure else None),
            ("attempt", f"{record.attempt} of {record.max_attempts}"),
            ("worker", record.worker),
            ("queue", f"{record.queue}, priority {record.priority}"),
            ("submitted", f"{record.created:%Y-%m-%d %H:%M:%S} UTC"),
            ("took", _took(record)),
        ]
    )
    from nanoos_lab.core.units import unit_of

    results = [(name, f"{value} {unit_of(name)}".rstrip()) for name, value in record.scalars.items()]
    for title, pairs in (("parameters", list(request.parameters.items())), ("results", results)):
        if pairs:
            print(f"\n{title}")
            print_pairs((f"  {name}", value) for name, value in pairs)
    if job.files:
        print("\nfiles")
        print_pairs((f"  {name}", path) for name, path in job.files.items())


def _progress(record: "JobRecord") -> str:
    of = f" of {record.total:,}" if record.total else ""
    return f"{record.progress:.0%}, {record.step:,}{of} steps"


def _took(record: "JobRecord") -> str | None:
    if record.started is None or record.ended is None:
        return None
    return f"{(record.ended - record.started).total_seconds():.1f} s"


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
