"""What the store knows: frozen snapshots of jobs, attempts and events. All times are timezone-aware UTC."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.status import Reason, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.resources import Limits

#: Name of the property that says what has not converged, of results that are there all the same.
CAVEAT = "caveat"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt ended without results."""

    #: The class of the failure.
    reason: Reason
    #: What failed and why, with the program's own words.
    message: str
    #: What to do next; may be empty.
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What another attempt does differently, after a failure around which the engine knows a way."""

    #: Parameters of the task by name, plain values, instead of what they were.
    changes: Mapping[str, Any]
    #: One sentence: what is changed, and why that may help.
    why: str
    #: Whether it begins at step 0, though there may be checkpoints.
    from_start: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"changes": dict(self.changes), "why": self.why, "from_start": self.from_start}


@dataclass(frozen=True, kw_only=True)
class Steering:
    """A change of the parameters of a job on its way."""

    #: Counted from 1 within the job.
    number: int
    #: Parameters of the task by name, plain values, that hold from its step on.
    changes: Mapping[str, Any]
    #: The step at which it was applied, in every attempt; None until one has come there.
    step: int | None = None
    #: When it was asked for.
    asked: datetime | None = None
    #: Who asked for it: user and host.
    who: str = ""
    #: The attempt that first applied it.
    attempt: int | None = None

    @property
    def text(self) -> str:
        """Its changes in words, such as ``temperature=900.0``."""
        return ", ".join(f"{name}={value!r}" for name, value in self.changes.items())

    def to_json(self) -> dict[str, Any]:
        """Return what a run needs to know of it, as plain values."""
        return {"number": self.number, "changes": dict(self.changes), "step": self.step}


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """What the store knows of one job at one moment."""

    #: Time-ordered unique name (UUID version 7, 32 hexadecimal digits).
    id: str
    #: Content key of the request.
    key: str
    #: Name for people.
    name: str
    #: Chemical formula; empty when the task brings its own structure.
    formula: str
    #: Number of atoms.
    atoms: int
    #: Name of the engine.
    engine: str
    #: Kind of calculation.
    task: str
    #: Where the job stands.
    status: Status
    #: Why it failed, if it did.
    failure: Failure | None
    #: Queue that it is or was offered in.
    queue: str
    #: Priority inside the queue, 0–20.
    priority: int
    #: Number of the current attempt, from 1; the fencing token.
    attempt: int
    #: Attempts in all, the first included.
    max_attempts: int
    #: Steps done.
    step: int
    #: Steps in all; None if the engine does not know.
    total: int | None
    #: Name of the worker that holds or held the current attempt.
    worker: str | None
    #: When it was submitted.
    created: datetime
    #: When the current attempt was claimed.
    started: datetime | None
    #: When it ended.
    ended: datetime | None
    #: When a cancel was asked for.
    cancel_requested: datetime | None
    #: Until when the current attempt is its worker's.
    lease_until: datetime | None
    #: When a pause was asked for that lasts.
    paused: datetime | None = None
    #: Not to be started earlier: a delay before the next attempt, or its own time.
    run_after: datetime | None = None
    #: Jobs that must end first and have not.
    waits_for: int = 0
    #: Attempts that failed since the job was last started by a person.
    failures: int = 0
    #: Attempts of those whose worker was lost.
    lost: int = 0
    #: Id of the equal job whose results these are.
    cached_from: str | None = None
    #: How many changes of its parameters were asked for while it was on its way.
    steerings: int = 0
    #: Whether its results may be others than its key says: it was steered, or a job with whose structure it begins.
    varied: bool = False
    #: Scalar results of the successful attempt, by property name.
    scalars: Mapping[str, float | int | str | bool] = field(default_factory=dict)

    @property
    def caveat(self) -> str | None:
        """What has not converged, if there are results all the same; None if nothing is known to be missing."""
        lacks = self.scalars.get(CAVEAT)
        return str(lacks) if lacks else None

    @property
    def progress(self) -> float:
        """Fraction done, 0–1; 0 while the number of steps is unknown, 1 when it has succeeded."""
        if self.status is Status.SUCCEEDED:
            return 1.0
        return min(self.step / self.total, 1.0) if self.total else 0.0

    @property
    def reason(self) -> Reason | None:
        """The class of the failure, if it failed."""
        return self.failure.reason if self.failure else None

    def to_json(self) -> dict[str, Any]:
        """Return plain values; times as ISO 8601."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "failure"}
        plain = {name: _plain(value) for name, value in values.items()}
        failure = self.failure
        plain["reason"] = str(failure.reason) if failure else None
        plain["message"] = failure.message if failure else None
        plain["remedy"] = failure.remedy if failure else None
        plain["progress"] = self.progress
        return plain


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try at a job by one worker."""

    #: Id of the job.
    job_id: str
    #: Number of the attempt, from 1.
    number: int
    #: Name of the worker.
    worker: str
    #: Host that it ran on.
    host: str
    #: Process id of the work-horse there.
    pid: int
    #: When it was claimed.
    started: datetime
    #: When it ended; None while it runs.
    ended: datetime | None
    #: How it ended: a final status, "lost", "retried", "corrected" or "paused".
    outcome: str | None
    #: Why, if it ended without results.
    failure: Failure | None
    #: Engine version, potential files by digest, host, library versions: what made the result, or what failed.
    provenance: Mapping[str, Any] = field(default_factory=dict)
    #: Last step that counts; what it wrote later is not read.
    last_step: int | None = None
    #: Seconds that it ran, pauses not counted.
    ran: float | None = None
    #: CPU seconds of all its processes.
    cpu: float | None = None
    #: Most memory of its engine process, in bytes.
    peak_memory: int | None = None
    #: What the next attempt does differently, if it does.
    correction: Correction | None = None


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What an attempt has used."""

    #: Seconds that it ran, pauses not counted.
    ran: float = 0.0
    #: CPU seconds of all its processes.
    cpu: float | None = None
    #: Most memory of its engine process, in bytes.
    peak_memory: int | None = None


@dataclass(frozen=True, kw_only=True)
class Segment:
    """What of an earlier attempt's samples counts."""

    #: Number of the attempt.
    attempt: int
    #: Last step that counts; None: all that it wrote.
    last_step: int | None
    #: Whether the attempt after it begins at step 0 on purpose, so that its checkpoints do not count.
    abandoned: bool = False


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What the worker of a claimed attempt needs to know."""

    #: What is wanted.
    request: JobRequest
    #: How long it may run, and with how much memory.
    limits: Limits
    #: Seconds that the job ran before, pauses not counted, of those that its limits count.
    ran: float
    #: Parameters that corrections have changed.
    corrected: Mapping[str, Any] = field(default_factory=dict)
    #: Changes of its parameters that were asked for since, in order.
    steerings: tuple[Steering, ...] = ()

    @property
    def corrected_request(self) -> JobRequest:
        """What is to be run."""
        return replace(self.request, parameters={**self.request.parameters, **self.corrected})


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of a job's history."""

    #: Number of the event, growing over the whole store.
    number: int
    #: Id of the job.
    job_id: str
    #: Attempt that it belongs to; 0 before the first.
    attempt: int
    #: When it happened.
    time: datetime
    #: "status", "warning", "engine", …
    kind: str
    #: One line of text.
    text: str


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Status):
        return str(value)
    return dict(value) if hasattr(value, "items") else value
