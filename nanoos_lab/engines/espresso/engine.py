"""The engine's face: what it offers, checks and runs."""

from __future__ import annotations

import importlib
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import StructureError
from nanoos_lab.core.parameters import TaskParameters, validate
from nanoos_lab.engines import program
from nanoos_lab.engines.base import EngineInfo, EnginePolicy
from nanoos_lab.engines.espresso import inputs, pseudos, tasks
from nanoos_lab.engines.espresso.execution import INSTALL
from nanoos_lab.engines.espresso.parameters import (
    EspressoMDParameters,
    EspressoParameters,
    EspressoRelaxParameters,
    EspressoStaticParameters,
    EspressoVcRelaxParameters,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nanoos_lab.core.frames import Results
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import Parallel, RunContext

    _Run = Callable[[JobRequest, Any, RunContext], Results]

_TASKS: Mapping[str, tuple[type[TaskParameters], _Run]] = MappingProxyType(
    {
        "static": (EspressoStaticParameters, tasks.static),
        "relax": (EspressoRelaxParameters, tasks.relax),
        "vc_relax": (EspressoVcRelaxParameters, tasks.relax),
        "md": (EspressoMDParameters, tasks.md),
    }
)


class EspressoEngine:
    """Runs pw.x of Quantum ESPRESSO, with MPI ranks and threads as the job asks for them."""

    name = "espresso"
    tasks = MappingProxyType({task: model for task, (model, _) in _TASKS.items()})
    resumable = frozenset({"static", "relax", "vc_relax", "md"})
    steerable: frozenset[str] = frozenset()
    parallel: frozenset[Parallel] = frozenset({"threads", "ranks"})

    def probe(self) -> EngineInfo:
        """Look for pw.x, and ask it for its version."""
        where = program.find("pw.x")
        return EngineInfo(
            name=self.name,
            found=where is not None,
            version=_version(where) if where else "",
            where=str(where or ""),
            missing="" if where else program.missing("pw.x", INSTALL),
            tasks=tuple(self.tasks),
        )

    def binary(self) -> Path | None:
        """Return where pw.x is."""
        return program.find("pw.x")

    def preload(self) -> None:
        """Import what a run needs."""
        for name in ("ase.constraints", "ase.neighborlist"):
            importlib.import_module(name)

    def check(
        self, structure: Structure | None, task: str, parameters: TaskParameters, policy: EnginePolicy
    ) -> Mapping[str, Path]:
        """Choose the pseudopotentials and check that all goes together; return their files."""
        if not isinstance(parameters, EspressoParameters):
            raise TypeError(f"not parameters of a task of engine {self.name!r}: {parameters!r}")
        if structure is None:
            raise StructureError(f"engine 'espresso', task {task!r} needs a structure")
        files = pseudos.choose(
            structure.elements,
            place=pseudos.directory(parameters.pseudopotentials),
            named=parameters.pseudos,
            family=parameters.family,
        )
        found = pseudos.read_all(files)
        if parameters.asked("system", "input_dft") is None:
            pseudos.check_functionals(found)
        inputs.check(structure.atoms(), parameters, found, pseudos.cutoffs(files, found))
        return files

    def run(self, request: JobRequest, context: RunContext) -> Results:
        """Run the task to its end, in an engine process of its own."""
        model, function = _TASKS[request.task]
        where = f"engine {self.name!r}, task {request.task!r}"
        return function(request, validate(model, request.parameters, where=where), context)


def _version(where: Path) -> str:
    # Without an input it introduces itself and ends.
    found = re.search(r"Program PWSCF v\.(\S+)", program.answer(where, "-in", "/dev/null"))
    return found.group(1) if found else ""
