"""From what users pass to submissions that are right: all is checked here, before anything is stored."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nanoos_lab.core.choices import one_of
from nanoos_lab.core.errors import InputError, ParameterError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.request import CORRECTIONS, PRIORITIES, QUEUES, Dependency, JobRequest, StructureOf, Submission
from nanoos_lab.core.resources import Limits, Resources, RetryPolicy
from nanoos_lab.core.structures import check_extent
from nanoos_lab.engines import registry
from nanoos_lab.lab import host
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.job import Job

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nanoos_lab.broker.queue import WorkerState
    from nanoos_lab.core.parameters import TaskParameters
    from nanoos_lab.core.request import FileRef
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.registry import Calculation
    from nanoos_lab.worker.services import Services

#: What may be done when a job that another one depends on does not succeed.
AFTER_FAILURE = ("cancel", "run")
#: Options of a draft that say how it is delivered; `resources` and the task's parameters say what is run.
_DELIVERY = frozenset(
    {"name", "queue", "priority", "retries", "limits", "after", "after_failure", "not_before", "cache", "corrections"}
)


def prepare(services: Services, draft: Draft) -> Submission:
    """Check one draft and return it ready to store.

    Raises
    ------
    InputError
        If it cannot be carried out.
    """
    return prepare_many(services, [draft])[0]


def prepare_many(services: Services, drafts: Sequence[Draft]) -> list[Submission]:
    """Check drafts, which may depend on each other, and return them ready to store, in the order given.

    Raises
    ------
    InputError
        If one of them cannot be carried out, is there twice, or depends on a draft that is not among them.
    JobNotFoundError
        If one of them needs the structure of a job that does not exist.
    """
    places: dict[Draft, int] = {}
    for draft in drafts:
        if not isinstance(draft, Draft):
            raise ParameterError("drafts", draft, "Draft values, such as nanoos_lab.Draft(atoms, engine=…, task=…)")
        if draft in places:
            raise InputError("the same draft is given twice; draft.but() makes an equal one")
        places[draft] = len(places)
    batch = _Batch(services, places)
    for draft in _parents_first(places):
        try:
            batch.add(draft)
        except InputError as error:
            if len(places) > 1:
                error.add_note(f"This is draft {places[draft]} of {len(places)}, counted from 0.")
            raise
    return [batch.submissions[draft] for draft in drafts]


def _parents_first(places: Mapping[Draft, int]) -> Iterable[Draft]:
    """Return drafts so that each comes after the one whose final structure it starts from."""
    parents = {draft: [draft.structure] if isinstance(draft.structure, Draft) else [] for draft in places}
    for draft, (*parent,) in parents.items():
        _require_inside(parent, places, draft)
    try:
        return tuple(TopologicalSorter(parents).static_order())
    except CycleError as error:
        circle = sorted({places[draft] for draft in error.args[1]})
        raise InputError(f"these drafts start from each other's structures in a circle: {circle}") from None


def _require_inside(parents: Iterable[Draft], places: Mapping[Draft, int], draft: Draft) -> None:
    if any(parent not in places for parent in parents):
        raise InputError(f"draft {places[draft]} depends on a draft that is not submitted with it; pass that one too")


class _Batch:
    """Drafts on their way to submissions; what many of them share is looked up once."""

    def __init__(self, services: Services, places: Mapping[Draft, int]) -> None:
        self.submissions: dict[Draft, Submission] = {}
        self._services = services
        self._places = places
        #: The structure that each draft's chain of jobs begins with: it stands for those that are not known yet.
        self._first: dict[Draft, Structure | None] = {}
        self._of_jobs: dict[str, tuple[Structure | None, str]] = {}
        self._files: dict[Path, FileRef] = {}
        self._workers: list[WorkerState] | None = None

    def add(self, draft: Draft) -> None:
        """Check a draft whose parents are there already."""
        calculation = registry.calculation(draft.engine, draft.task)
        host.check_engine(draft.engine, draft.task, self._services.settings)
        options = dict(draft.options)
        if "repeat" in options:
            raise InputError("a job is submitted once; nanoos_lab.schedule(…, repeat=…) submits again and again")
        delivery = {name: options.pop(name) for name in _DELIVERY & options.keys()}
        resources = Resources.from_any(options.pop("resources", None))
        calculation.check_resources(resources)
        host.check(resources, self._services.settings)
        checked = _checked(calculation, options)
        first = self._first[draft] = self._structure(draft.structure)
        if first is None and draft.structure is not None:
            raise InputError(
                "the job whose final structure is meant began without one, so nothing can be checked now; wait for it, "
                "and pass job.structure"
            )
        if first is not None:
            check_extent(first)
        how = self._delivery(draft, checked, **delivery)
        self._check_workers(resources, how["queue"])
        files = calculation.check(first, checked, self._services.settings.policy)
        request = JobRequest(
            structure=None if isinstance(draft.structure, (Job, Draft)) else first,
            engine=draft.engine,
            task=draft.task,
            parameters=_by_name(checked.model_dump(mode="json"), {path.resolve() for path in files.values()}),
            files={role: self._file(path) for role, path in files.items()},
            resources=resources,
            structure_of=self._structure_of(draft.structure),
            version=calculation.version,
        )
        self.submissions[draft] = Submission(request=request, **how)

    def _check_workers(self, resources: Resources, queue: str) -> None:
        """See that a worker of a cluster can have what is asked for, if it is more than each of them has."""
        if resources == Resources() or self._services.settings.embedded:
            return
        if self._workers is None:
            self._workers = self._services.queue.workers()
        host.check_workers(resources, queue, self._workers)

    def _file(self, path: Path) -> FileRef:
        if path not in self._files:
            self._files[path] = self._services.artifacts.put(path)
        return self._files[path]

    # -- the structure --------------------------------------------------------------------------------------------

    def _structure(self, given: Structure | Job | Draft | None) -> Structure | None:
        if isinstance(given, Draft):
            return self._first[given]
        return self._of_job(given)[0] if isinstance(given, Job) else given

    def _structure_of(self, given: Structure | Job | Draft | None) -> StructureOf | None:
        if isinstance(given, Draft):
            return StructureOf(job_id="", key=self.submissions[given].request.key)
        return StructureOf(job_id=given.id, key=self._of_job(given)[1]) if isinstance(given, Job) else None

    def _of_job(self, job: Job) -> tuple[Structure | None, str]:
        """Return the structure that a job or the chain before it began with, and the job's key."""
        if job.id not in self._of_jobs:
            _require_same_lab(job, self._services)
            request = first = self._services.store.request(job.id)
            while first.structure is None and first.structure_of is not None:
                first = self._services.store.request(first.structure_of.job_id)
            self._of_jobs[job.id] = first.structure, request.key
        return self._of_jobs[job.id]

    # -- how it is delivered --------------------------------------------------------------------------------------

    def _delivery(  # noqa: PLR0913 - these names are fixed for users
        self,
        draft: Draft,
        checked: TaskParameters,
        *,
        name: str | None = None,
        queue: str = "simulations",
        priority: Any = 5,
        retries: Any = None,
        limits: Any = None,
        after: Any = (),
        after_failure: Literal["cancel", "run"] = "cancel",
        not_before: datetime | None = None,
        cache: bool = True,
        corrections: bool = True,
    ) -> dict[str, Any]:
        one_of("queue", queue, QUEUES)
        one_of("after_failure", after_failure, AFTER_FAILURE)
        if isinstance(priority, bool) or not isinstance(priority, Integral) or priority not in PRIORITIES:
            raise ParameterError("priority", priority, "an integer from 0 (lowest) over 5 (normal) to 20 (urgent)")
        if not isinstance(cache, bool):
            raise ParameterError("cache", cache, "True or False")
        if not isinstance(corrections, bool):
            raise ParameterError("corrections", corrections, "True or False")
        return {
            "name": _title(name, self._first[draft], draft.task),
            "queue": queue,
            "priority": int(priority),
            "retries": RetryPolicy.from_any(retries),
            "limits": _limits(Limits.from_any(limits), self._services.settings.limits),
            "after": self._dependencies(draft, after, after_failure),
            "structure_from": self._places[draft.structure] if isinstance(draft.structure, Draft) else None,
            "not_before": _moment(not_before),
            # The results of an equal job may be those of a corrected one.
            "cache": cache and checked.deterministic and corrections,
            "corrections": CORRECTIONS if corrections else 0,
        }

    def _dependencies(self, draft: Draft, after: Any, kind: Literal["cancel", "run"]) -> tuple[Dependency, ...]:
        kinds: dict[str | int, Literal["cancel", "run"]] = {self._parent(one, draft): kind for one in _several(after)}
        if isinstance(draft.structure, (Job, Draft)):
            # Without its structure there is nothing to run.
            kinds[self._parent(draft.structure, draft)] = "cancel"
        return tuple(Dependency(parent=parent, after_failure=kind) for parent, kind in kinds.items())

    def _parent(self, one: Job | Draft | str, draft: Draft) -> str | int:
        if isinstance(one, Draft):
            _require_inside([one], self._places, draft)
            return self._places[one]
        if isinstance(one, Job):
            _require_same_lab(one, self._services)
        return one.id if isinstance(one, Job) else one


def _checked(calculation: Calculation, parameters: Mapping[str, Any]) -> TaskParameters:
    given = {name: value for name, value in parameters.items() if value is not None}
    return validate(calculation.parameters, given, where=calculation.where)


def _by_name(value: Any, files: Collection[Path]) -> Any:
    """Return plain parameters that call input files by their names: where a user has them decides no result."""
    if isinstance(value, dict):
        return {name: _by_name(item, files) for name, item in value.items()}
    if isinstance(value, list):
        return [_by_name(item, files) for item in value]
    return os.path.basename(value) if isinstance(value, str) and _is_path_of(value, files) else value


def _is_path_of(text: str, files: Collection[Path]) -> bool:
    if os.sep not in text:
        return False
    with suppress(OSError, ValueError, RuntimeError):
        # A text may be no path at all.
        return Path(text).expanduser().resolve() in files
    return False


def _require_same_lab(job: Job, services: Services) -> None:
    if job.lab.settings.store_url != services.settings.store_url:
        raise InputError(f"job {job.id} belongs to another lab; its structure can be passed as job.structure")


def _several(after: Any) -> list[Job | Draft | str]:
    several: list[Any] = (
        [after] if isinstance(after, (Job, Draft, str, bytes)) or not isinstance(after, Iterable) else list(after)
    )
    for one in several:
        if not isinstance(one, (Job, Draft, str)):
            raise ParameterError("after", one, "a job, its id, a draft of the same call, or several of them")
    return several


def _title(name: str | None, structure: Structure | None, task: str) -> str:
    if name is None:
        return f"{structure.formula} {task}" if structure else task
    if not (isinstance(name, str) and name.strip() and len(name) <= 200 and name.isprintable()):
        raise ParameterError("name", name, "a text of 1 to 200 printable characters")
    return name


def _limits(given: Limits, default: Limits) -> Limits:
    """Return the limits, with the lab's own for what is not given; a shorter hard limit than its soft one is both."""
    if given.hard is not None and default.soft is not None:
        default = replace(default, soft=min(default.soft, given.hard), hard=None)
    return given.or_else(default)


def _moment(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise ParameterError("not_before", value, "a datetime")
    try:
        # A time without a zone is the user's own.
        moment: datetime | None = value.astimezone(UTC)
    except (OverflowError, ValueError, OSError):
        moment = None
    if moment is None or moment.year < 1970:
        raise ParameterError("not_before", value, "a datetime of this era")
    return moment
