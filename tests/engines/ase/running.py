"""Run an engine over a calculator of ASE as a worker does, without the worker."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from ase.io import write

from nanoos_lab.core.parameters import validate
from nanoos_lab.core.request import JobRequest
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry
from nanoos_lab.engines.base import STRUCTURE

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.frames import Results
    from tests.engines.context import RecordingContext


def run(context: RecordingContext, atoms: Atoms, task: str, *, engine: str = "ase", **parameters: Any) -> Results:
    """Validate, check and run, as between a user's cell and the end of a job."""
    request = requested(atoms, task, engine=engine, **parameters)
    adapter = registry.get(engine)
    given = validate(adapter.tasks[task], request.parameters, where=f"engine {engine!r}, task {task!r}")
    adapter.check(request.structure, task, given, context.policy)
    return adapter.run(JobRequest.from_json(request.to_json(), request.structure), context)


def requested(atoms: Atoms, task: str, *, engine: str, **parameters: Any) -> JobRequest:
    """Return the request of a user, validated."""
    given = validate(registry.get(engine).tasks[task], parameters, where=f"engine {engine!r}, task {task!r}")
    plain = given.model_dump(mode="json")
    return JobRequest(structure=Structure.encode(atoms), engine=engine, task=task, parameters=plain)


def energy_of_recipe(place: Path, request: JobRequest) -> float:
    """Return the energy in eV that the recipe for a request prints where nanoos_lab cannot be imported."""
    [energy] = told_by_recipe(place, request)["energy"]
    return energy


def told_by_recipe(place: Path, request: JobRequest) -> dict[str, list[float]]:
    """Return the numbers that it prints, by the first word of their line; units are left out."""
    recipe = registry.get(request.engine).recipe(request, {}, {})
    place.mkdir()
    write(place / STRUCTURE, request.structure.atoms())
    for name, text in recipe.texts.items():
        (place / name).write_text(text)
    (place / "nanoos_lab.py").write_text("raise ImportError('this must work without')\n")
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        ["sh", "-c", recipe.command], cwd=place, env=environment, check=True, capture_output=True, text=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    return {words[0]: list(map(float, words[1:-1])) for words in lines if words[0] in ("energy", "frequencies")}
