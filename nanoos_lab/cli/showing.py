"""The command that shows one job."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from nanoos_lab.cli.options import JobId
from nanoos_lab.cli.output import JsonOption, print_json, print_pairs, print_table
from nanoos_lab.cli.session import open_lab
from nanoos_lab.cli.values import in_bytes
from nanoos_lab.cli.wording import standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nanoos_lab.core.record import Attempt, Correction, Failure, JobRecord, Steering
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.resources import Limits
    from nanoos_lab.lab.job import Job


def show(job_id: JobId, as_json: JsonOption = False) -> None:
    """Show what a job was asked for, what it waits for, how each attempt went, and what came out."""
    with open_lab() as lab:
        job = lab.load(job_id)
        if as_json:
            print_json(_whole(job))
        else:
            _show(job)


def _whole(job: "Job") -> dict[str, object]:
    store = job.lab.services.store
    return {
        "job": job.record.to_json(),
        "request": job.request.to_json(),
        "limits": store.assignment(job.id).limits.to_json(),
        "dependencies": [
            {"job": record.id, "name": record.name, "status": str(record.status), "after_failure": kind}
            for record, kind in _parents(job)
        ],
        "steerings": [asdict(steering) for steering in store.steerings(job.id)],
        "attempts": [asdict(attempt) for attempt in job.attempts],
        "events": [asdict(event) for event in job.events],
        "files": {name: str(path) for name, path in job.files.items()},
        "warning": job.warning,
        "caveat": job.caveat,
    }


def _show(job: "Job") -> None:
    from nanoos_lab.core.record import CAVEAT
    from nanoos_lab.core.units import unit_of

    record, assignment = job.record, job.lab.services.store.assignment(job.id)
    request = assignment.request
    print_pairs(_summary(job, record, request, assignment.limits))
    _show_table("depends on", ("id", "name", "status", "if it fails"), _parent_rows(job))
    _show_table("attempts", _ATTEMPT, [_attempt_row(attempt) for attempt in job.attempts])
    _show_table("steered", _STEERING, [_steering_row(one, record) for one in assignment.steerings])
    results = [(name, f"{value} {unit_of(name)}".rstrip()) for name, value in record.scalars.items() if name != CAVEAT]
    _show_pairs("parameters", list(request.parameters.items()))
    _show_pairs("results", results)
    _show_pairs("files", list(job.files.items()))


def _summary(job: "Job", record: "JobRecord", request: "JobRequest", limits: "Limits") -> list[tuple[str, object]]:
    failure = record.failure
    return [
        ("id", record.id),
        ("name", record.name),
        ("structure", _structure(record, request)),
        ("engine", f"{record.engine}, task {record.task}"),
        ("status", standing(record)),
        ("progress", _progress(record)),
        ("warning", job.warning),
        ("not converged", job.caveat),
        ("message", failure.message if failure else None),
        ("what to do", failure.remedy or None if failure else None),
        ("results of", record.cached_from),
        ("attempt", f"{record.attempt}, {record.failures} failed of {record.max_attempts} at most"),
        ("limits", _limits(limits)),
        ("worker", record.worker),
        ("queue", f"{record.queue}, priority {record.priority}"),
        ("submitted", f"{record.created:%Y-%m-%d %H:%M:%S} UTC"),
        ("took", _took(record)),
    ]


def _show_pairs(title: str, pairs: "Sequence[tuple[str, object]]") -> None:
    if pairs:
        print(f"\n{title}")
        print_pairs((f"  {name}", value) for name, value in pairs)


def _show_table(title: str, columns: "Sequence[str]", rows: "Sequence[Sequence[object]]") -> None:
    if rows:
        print(f"\n{title}")
        print_table((f"  {columns[0]}", *columns[1:]), ((f"  {row[0]}", *row[1:]) for row in rows))


# -- what it depends on -----------------------------------------------------------------------------------------------


def _parents(job: "Job") -> "Iterable[tuple[JobRecord, str]]":
    store = job.lab.services.store
    kinds = {str(one.parent): one.after_failure for one in store.parents(job.id)}
    found = store.get_many(kinds)
    return [(found[job_id], kind) for job_id, kind in kinds.items() if job_id in found]


def _parent_rows(job: "Job") -> list[tuple[object, ...]]:
    said = {"cancel": "this one is cancelled", "run": "this one runs"}
    return [(record.id, record.name, standing(record), said[kind]) for record, kind in _parents(job)]


def _structure(record: "JobRecord", request: "JobRequest") -> str | None:
    if request.structure_of is not None:
        return f"the final one of job {request.structure_of.job_id}"
    return f"{record.formula}, {record.atoms:,} atoms" if record.formula else None


# -- attempts ---------------------------------------------------------------------------------------------------------

_ATTEMPT = ("number", "outcome", "worker", "host", "started (UTC)", "ran", "CPU", "memory", "error")


def _attempt_row(attempt: "Attempt") -> tuple[object, ...]:
    failure = attempt.failure
    return (
        attempt.number,
        attempt.outcome or "running",
        attempt.worker,
        attempt.host,
        f"{attempt.started:%Y-%m-%d %H:%M:%S}",
        _seconds(attempt.ran if attempt.ran is not None else _between(attempt)),
        _seconds(attempt.cpu),
        None if attempt.peak_memory is None else in_bytes(attempt.peak_memory),
        None if failure is None else _why(failure, attempt.correction),
    )


def _why(failure: "Failure", correction: "Correction | None") -> str:
    said = f"{failure.reason}: {failure.message.partition(chr(10))[0]}"
    return said if correction is None else f"{said}\nCorrected: {correction.why}"


def _between(attempt: "Attempt") -> float | None:
    return None if attempt.ended is None else (attempt.ended - attempt.started).total_seconds()


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:,.1f} s"


# -- how it was steered -----------------------------------------------------------------------------------------------

_STEERING = ("number", "from step", "changes", "asked (UTC)", "by")


def _steering_row(steering: "Steering", record: "JobRecord") -> tuple[object, ...]:
    waiting = "never: it came too late" if record.status.finished else "soon"
    step = waiting if steering.step is None else f"{steering.step:,}"
    asked = None if steering.asked is None else f"{steering.asked:%Y-%m-%d %H:%M:%S}"
    return (steering.number, step, steering.text, asked, steering.who)


# -- in words ---------------------------------------------------------------------------------------------------------


def _limits(limits: "Limits") -> str | None:
    parts = [f"{name} {value:g} s" for name, value in (("soft", limits.soft), ("hard", limits.hard)) if value]
    if limits.memory:
        parts.append(f"memory {limits.memory:g} GiB")
    return ", ".join(parts) or None


def _progress(record: "JobRecord") -> str:
    of = f" of {record.total:,}" if record.total else ""
    return f"{record.progress:.0%}, {record.step:,}{of} steps"


def _took(record: "JobRecord") -> str | None:
    if record.started is None or record.ended is None:
        return None
    return _seconds((record.ended - record.started).total_seconds())
