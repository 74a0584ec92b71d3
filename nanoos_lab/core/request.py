"""What is wanted: an immutable request with a content key."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

from nanoos_lab.core.resources import Limits, Resources, RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from nanoos_lab.core.structures import Structure

#: The queues, in the order in which workers serve them.
QUEUES = ("high_priority", "simulations", "default")
#: Lowest, normal, high and urgent priority inside a queue.
PRIORITIES = range(21)
#: How often the engine may correct the parameters of a job that has failed.
CORRECTIONS = 5

#: Fields of a request that its key leaves out, or has in another form.
_NO_CONTENT = ("resources", "version", "structure_of")


@dataclass(frozen=True, kw_only=True)
class FileRef:
    """An input file, named by its content."""

    #: Its name in the engine's working directory.
    name: str
    #: SHA-256 of its content.
    sha256: str


@dataclass(frozen=True, kw_only=True)
class StructureOf:
    """The final structure of another job, which need not have ended."""

    #: Id of that job; empty while it is a job of the same batch of submissions, see `Submission.structure_from`.
    job_id: str
    #: Content key of its request.
    key: str


@dataclass(frozen=True, kw_only=True, eq=False)
class JobRequest:
    """What is wanted; immutable, and equal to another request when the content is equal."""

    #: The structure to start from; None for a task that brings its own, and while it is another job's.
    structure: Structure | None
    #: Name of the engine.
    engine: str
    #: Kind of calculation.
    task: str
    #: The task's validated parameters, defaults included, as plain JSON values.
    parameters: Mapping[str, Any]
    #: Input files by their role, such as "potential".
    files: Mapping[str, FileRef] = field(default_factory=dict)
    #: What one attempt may use.
    resources: Resources = field(default_factory=Resources)
    #: Whose final structure to start from; known once that job has succeeded.
    structure_of: StructureOf | None = None
    #: Version of the engine's program; another one may give other results.
    version: str = ""

    def __post_init__(self) -> None:
        # Through JSON: a copy that nobody else holds, with tuples already the lists that a store gives back.
        plain = json.loads(json.dumps(dict(self.parameters), allow_nan=False))
        object.__setattr__(self, "parameters", MappingProxyType(plain))
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that decides the result; resources do not."""
        content = {name: value for name, value in self.to_json().items() if name not in _NO_CONTENT}
        if self.version:
            content["version"] = self.version
        if self.structure_of is not None:
            content |= {"structure": None, "structure_of": self.structure_of.key}
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return plain values; the structure is named by its digest and travels beside them."""
        return {
            "structure": self.structure.digest if self.structure else None,
            "engine": self.engine,
            "task": self.task,
            "parameters": dict(self.parameters),
            "files": {role: {"name": ref.name, "sha256": ref.sha256} for role, ref in self.files.items()},
            "resources": self.resources.to_json(),
            "version": self.version,
            "structure_of": asdict(self.structure_of) if self.structure_of else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], structure: Structure | None) -> Self:
        """Rebuild a request from its plain values and the structure that they name."""
        return cls(
            structure=structure,
            engine=data["engine"],
            task=data["task"],
            parameters=data["parameters"],
            files={role: FileRef(**ref) for role, ref in data["files"].items()},
            resources=Resources(**data["resources"]),
            # Requests of the first schema have neither.
            version=data.get("version", ""),
            structure_of=StructureOf(**data["structure_of"]) if data.get("structure_of") else None,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JobRequest):
            return NotImplemented
        return self.key == other.key and self.resources == other.resources

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, kw_only=True)
class Dependency:
    """Another job that must end first."""

    #: Its id; or its place in the same batch of submissions, from 0.
    parent: str | int
    #: Whether to run also if that job does not succeed; else this one is cancelled then.
    after_failure: Literal["run", "cancel"] = "cancel"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A request and how it is to be delivered."""

    #: What is wanted.
    request: JobRequest
    #: A name for people; need not be unique.
    name: str
    #: One of `QUEUES`.
    queue: str = "simulations"
    #: 0 lowest, 5 normal, 10 high, 20 urgent.
    priority: int = 5
    #: How often it is tried.
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    #: How long it may run, and with how much memory.
    limits: Limits = field(default_factory=Limits)
    #: Jobs that must end first.
    after: tuple[Dependency, ...] = ()
    #: Place in the same batch of submissions of the job whose final structure is meant; the store names it in the
    #: request.
    structure_from: int | None = None
    #: Not to be started earlier.
    not_before: datetime | None = None
    #: Whether the results of an equal job will do.
    cache: bool = False
    #: Attempts at most that follow a correction; they are counted apart from those of `retries`.
    corrections: int = CORRECTIONS


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The hint that a job's attempt waits for a worker; all that travels through a queue."""

    #: Id of the job.
    job_id: str
    #: Number of the attempt that is offered.
    attempt: int
    #: One of `QUEUES`.
    queue: str
    #: 0–20 inside the queue.
    priority: int
    #: Engine, formula and task, for people who look at the queue.
    description: str = ""

    @property
    def message_id(self) -> str:
        """Name of the message, and of the job in rq-dashboard: ``<job id>_<attempt>``."""
        return f"{self.job_id}_{self.attempt}"
