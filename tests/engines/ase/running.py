"""Run the engine as a worker does, without the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.core.parameters import validate
from nanoos_lab.core.request import JobRequest
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines.ase import AseEngine

if TYPE_CHECKING:
    from ase import Atoms

    from nanoos_lab.core.frames import Results
    from tests.engines.context import RecordingContext


def run(context: RecordingContext, atoms: Atoms, task: str, **parameters: Any) -> Results:
    """Validate, check and run, as between a user's cell and the end of a job."""
    engine = AseEngine()
    given = validate(engine.tasks[task], parameters, where=f"engine 'ase', task {task!r}")
    structure = Structure.encode(atoms)
    engine.check(structure, task, given, context.policy)
    plain = given.model_dump(mode="json")
    request = JobRequest(structure=structure, engine="ase", task=task, parameters=plain)
    return engine.run(JobRequest.from_json(request.to_json(), structure), context)
