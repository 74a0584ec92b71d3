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
from nanoos_lab.engines.espresso import checks, phonons, pseudos, states, tasks
from nanoos_lab.engines.espresso.execution import INSTALL
from nanoos_lab.engines.espresso.parameters import (
    EspressoBandsParameters,
    EspressoDosParameters,
    EspressoGammaPhononsParameters,
    EspressoMDParameters,
    EspressoParameters,
    EspressoRelaxParameters,
    EspressoStaticParameters,
    EspressoVcRelaxParameters,
)
from nanoos_lab.engines.espresso.recipe import recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from nanoos_lab.core.frames import Results
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import Parallel, PotentialInfo, Recipe, RunContext

    _Run = Callable[[JobRequest, Any, RunContext], Results]

_TASKS: Mapping[str, tuple[type[TaskParameters], _Run]] = MappingProxyType(
    {
        "static": (EspressoStaticParameters, tasks.static),
        "relax": (EspressoRelaxParameters, tasks.relax),
        "vc_relax": (EspressoVcRelaxParameters, tasks.relax),
        "md": (EspressoMDParameters, tasks.md),
        "bands": (EspressoBandsParameters, states.bands),
        "dos": (EspressoDosParameters, states.dos),
        "gamma_phonons": (EspressoGammaPhononsParameters, phonons.gamma_phonons),
    }
)


#: Programs that tasks need besides pw.x.
_BESIDES: Mapping[str, str] = MappingProxyType({"dos": "dos.x", "gamma_phonons": "ph.x"})

#: What users of Quantum ESPRESSO are asked to cite.
CITATION = (
    "P. Giannozzi et al., J. Phys.: Condens. Matter 21, 395502 (2009); "
    "P. Giannozzi et al., J. Phys.: Condens. Matter 29, 465901 (2017)"
)


class EspressoEngine:
    """Runs pw.x of Quantum ESPRESSO, with MPI ranks and threads as the job asks for them."""

    name = "espresso"
    tasks = MappingProxyType({task: model for task, (model, _) in _TASKS.items()})
    resumable = frozenset({"static", "relax", "vc_relax", "md"})
    steerable: frozenset[str] = frozenset()
    parallel: frozenset[Parallel] = frozenset({"threads", "ranks"})

    def probe(self) -> EngineInfo:
        """Look for pw.x and the programs of single tasks, and ask pw.x for its version."""
        where = program.find("pw.x")
        return EngineInfo(
            name=self.name,
            found=where is not None,
            version=_version(where) if where else "",
            where=str(where or ""),
            missing="" if where else program.missing("pw.x", INSTALL),
            tasks=tuple(self.tasks),
            lacking={
                task: program.missing(name, INSTALL) for task, name in _BESIDES.items() if program.find(name) is None
            },
        )

    def binary(self) -> Path | None:
        """Return where pw.x is."""
        return program.find("pw.x")

    def potentials(self, elements: Collection[str]) -> Sequence[PotentialInfo]:
        """Return the families that have all of these elements, then the files for each of them: a file has but one."""
        place = pseudos.directory(None)
        return [] if place is None else pseudos.listed(place, elements)

    def citations(self, request: JobRequest, files: Mapping[str, Path]) -> Mapping[str, str]:
        """Return what Quantum ESPRESSO asks to be cited, and where pseudopotentials are from, as far as they say."""
        return {"pw.x": CITATION, **pseudos.origins(files)}

    def recipe(self, request: JobRequest, files: Mapping[str, Path], provenance: Mapping[str, Any]) -> Recipe:
        """Return how to get the numbers of a job with pw.x alone."""
        return recipe(request, self._given(request), files)

    def preload(self) -> None:
        """Import what a run needs."""
        for name in ("ase.constraints", "ase.neighborlist"):
            importlib.import_module(name)

    def check(
        self,
        structure: Structure | None,
        task: str,
        parameters: TaskParameters,
        policy: EnginePolicy,
        files: Mapping[str, Path] | None = None,
    ) -> Mapping[str, Path]:
        """Choose the pseudopotentials and check that all goes together; return their files."""
        if not isinstance(parameters, EspressoParameters):
            raise TypeError(f"not parameters of a task of engine {self.name!r}: {parameters!r}")
        if structure is None:
            raise StructureError(f"engine 'espresso', task {task!r} needs a structure")
        if files is None:
            files = pseudos.choose(
                structure.elements,
                place=pseudos.directory(parameters.pseudopotentials),
                named=parameters.pseudos,
                family=parameters.family,
                alone=pseudos.is_named(parameters.pseudopotentials),
            )
        found = pseudos.read_all(files)
        if missing := sorted(structure.elements - found.keys()):
            raise StructureError(f"the job was submitted without a pseudopotential for {', '.join(missing)}")
        if parameters.asked("system", "input_dft") is None:
            pseudos.check_functionals(found)
        checks.check(structure.atoms(), parameters, found, pseudos.cutoffs(files, found))
        states.check(structure.atoms(), parameters)
        phonons.check(structure.atoms(), parameters, found)
        return files

    def run(self, request: JobRequest, context: RunContext) -> Results:
        """Run the task to its end, in an engine process of its own."""
        return _TASKS[request.task][1](request, self._given(request), context)

    def _given(self, request: JobRequest) -> Any:
        where = f"engine {self.name!r}, task {request.task!r}"
        return validate(self.tasks[request.task], request.parameters, where=where)


def _version(where: Path) -> str:
    # Without an input it introduces itself and ends.
    found = re.search(r"Program PWSCF v\.(\S+)", program.answer(where, "-in", "/dev/null"))
    return found.group(1) if found else ""
