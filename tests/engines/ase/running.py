"""Run an engine over a calculator of ASE as a worker does, without the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.core.parameters import validate
from nanoos_lab.core.request import JobRequest
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry

if TYPE_CHECKING:
    from ase import Atoms

    from nanoos_lab.core.frames import Results
    from tests.engines.context import RecordingContext


def run(context: RecordingContext, atoms: Atoms, task: str, *, engine: str = "ase", **parameters: Any) -> Results:
    """Validate, check and run, as between a user's cell and the end of a job."""
    adapter = registry.get(engine)
    given = validate(adapter.tasks[task], parameters, where=f"engine {engine!r}, task {task!r}")
    structure = Structure.encode(atoms)
    adapter.check(structure, task, given, context.policy)
    plain = given.model_dump(mode="json")
    request = JobRequest(structure=structure, engine=engine, task=task, parameters=plain)
    return adapter.run(JobRequest.from_json(request.to_json(), structure), context)
