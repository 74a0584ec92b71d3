"""A directory with all that gives the numbers of a job again, without nanoos_lab."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines import registry
from nanoos_lab.engines.base import STRUCTURE, GivesRecipes
from nanoos_lab.lab.results import ResultsView

if TYPE_CHECKING:
    from nanoos_lab.core.frames import Results
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import Recipe
    from nanoos_lab.lab.job import Job
    from nanoos_lab.store.artifacts import Artifacts

#: The line of shell that computes the numbers again.
SCRIPT = "run.sh"
#: What came out of the job, and what made it.
EXPECTED, MADE_BY = "expected", "provenance.json"


def reproduce(job: Job, directory: str | Path) -> Path:
    """Write inputs and a line of shell; see `Job.reproduce`."""
    results = job.outcome
    if results.provenance.get("steerings"):
        steps = ", ".join(str(one["step"]) for one in results.provenance["steerings"])
        raise InputError(
            f"job {job.id} was steered, at step {steps}, which no recipe does; job.provenance['steerings'] tells how"
        )
    request = as_run(job)
    recipe = _recipe(request, results, job)
    place = Path(directory).expanduser()
    if place.exists() and any(place.iterdir()):
        raise InputError(f"{place} is not empty; give a new directory")
    place.mkdir(parents=True, exist_ok=True)
    artifacts = job.lab.services.artifacts
    _write_inputs(place, recipe, request, artifacts)
    if request.structure is not None:
        _write_structure(place / STRUCTURE, request.structure)
    _write_expected(place, job, results)
    return place


def _recipe(request: JobRequest, results: Results, job: Job) -> Recipe:
    calculation = registry.calculation(request.engine, request.task)
    source = calculation.added or calculation.engine
    if not isinstance(source, GivesRecipes):
        raise InputError(f"{calculation.where} has no recipe without nanoos_lab")
    artifacts = job.lab.services.artifacts
    files = {role: artifacts.path(ref) for role, ref in request.files.items()}
    return source.recipe(request, files, results.provenance)


def as_run(job: Job) -> JobRequest:
    """Return what was run in the end: with the parameters that corrections have changed, and with its structure."""
    store = job.lab.services.store
    request = store.assignment(store.holder(job.id).id).corrected_request
    if request.structure_of is None:
        return request
    return replace(request, structure=job.lab.load(request.structure_of.job_id).outcome.structure)


def _write_inputs(place: Path, recipe: Recipe, request: JobRequest, artifacts: Artifacts) -> None:
    for name, text in recipe.texts.items():
        (place / name).write_text(text, encoding="utf-8")
    for role, name in recipe.files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifacts.path(request.files[role]), place / name)
    script = place / SCRIPT
    notes = "".join(f"# {line}\n" for line in recipe.notes.splitlines())
    script.write_text(f'#!/bin/sh\n{notes}set -e\ncd "$(dirname "$0")"\n{recipe.command}\n', encoding="utf-8")
    script.chmod(0o755)


def _write_structure(path: Path, structure: Structure) -> None:
    from ase.io import write

    write(path, structure.atoms())


def _write_expected(place: Path, job: Job, results: Results) -> None:
    """Write what came out, to compare with, and what made it."""
    expected = place / EXPECTED
    expected.mkdir()
    thermo = job.thermo
    thermo.to_csv(expected / "thermo.csv")
    view = ResultsView(results.properties, results.units)
    text = {name: {"value": _plain(value), "unit": view.units[name]} for name, value in view.items()}
    (expected / "results.json").write_text(json.dumps(text, indent=1), encoding="utf-8")
    if results.structure is not None:
        _write_structure(expected / STRUCTURE, results.structure)
    (place / MADE_BY).write_text(json.dumps(dict(results.provenance), indent=1), encoding="utf-8")


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
