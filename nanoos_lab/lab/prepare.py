"""From what a user passes to a submission that is right: all is checked here, before anything is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import InputError, ParameterError, UnknownNameError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.request import PRIORITIES, QUEUES, JobRequest, Submission
from nanoos_lab.core.resources import Resources, RetryPolicy
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms

    from nanoos_lab.worker.services import Services


def prepare(
    services: Services,
    structure: Atoms | None,
    *,
    engine: str,
    task: str,
    parameters: Mapping[str, Any],
    resources: Resources | dict[str, Any] | None = None,
    **delivery: Any,
) -> Submission:
    """Check a request and return it ready to store; see `Lab.submit` for the arguments.

    Raises
    ------
    InputError
        If the request cannot be carried out.
    """
    adapter = registry.get(engine)
    model = registry.parameters_of(adapter, task)
    given = {name: value for name, value in parameters.items() if value is not None}
    checked = validate(model, given, where=f"engine {engine!r}, task {task!r}")
    frozen = None if structure is None else Structure.encode(structure)
    if frozen is None and not getattr(model, "brings_structure", False):
        raise InputError(f"task {task!r} needs a structure: pass an ase.Atoms as the first argument")
    wanted = Resources.from_any(resources)
    policy = _delivery(frozen, task, **delivery)
    files = adapter.check(frozen, task, checked, services.settings.policy)
    request = JobRequest(
        structure=frozen,
        engine=engine,
        task=task,
        parameters=checked.model_dump(mode="json"),
        files={role: services.artifacts.put(path) for role, path in files.items()},
        resources=wanted,
    )
    return Submission(request=request, **policy)


def _delivery(
    structure: Structure | None, task: str, *, name: str | None, queue: str, priority: int, retries: Any
) -> dict[str, Any]:
    if queue not in QUEUES:
        raise UnknownNameError("queue", queue, QUEUES)
    if isinstance(priority, bool) or not isinstance(priority, int) or priority not in PRIORITIES:
        raise ParameterError("priority", priority, "an integer from 0 (lowest) over 5 (normal) to 20 (urgent)")
    if name is not None and not (isinstance(name, str) and name.strip() and len(name) <= 200 and name.isprintable()):
        raise ParameterError("name", name, "a text of 1 to 200 printable characters")
    title = name or " ".join(part for part in (structure.formula if structure else "", task) if part)
    return {
        "name": title,
        "queue": queue,
        "priority": priority,
        "attempts": RetryPolicy.from_any(retries).attempts,
    }
