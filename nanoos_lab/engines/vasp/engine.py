"""The engine's face: what it offers, checks and runs."""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from nanoos_lab.core.errors import InputError
from nanoos_lab.core.parameters import TaskParameters, validate
from nanoos_lab.engines import program
from nanoos_lab.engines.base import EngineInfo, EnginePolicy
from nanoos_lab.engines.vasp.parameters import (
    Given,
    VaspMDParameters,
    VaspParameters,
    VaspRelaxParameters,
    VaspStaticParameters,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nanoos_lab.core.frames import Results
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import RunContext

_TASKS: Mapping[str, type[TaskParameters]] = MappingProxyType(
    {"static": VaspStaticParameters, "relax": VaspRelaxParameters, "md": VaspMDParameters}
)


class VaspEngine:
    """Runs the user's own VASP."""

    name = "vasp"
    tasks = _TASKS
    resumable = frozenset({"relax", "md"})

    def probe(self) -> EngineInfo:
        """Look for the program; it tells its version only when it runs."""
        from nanoos_lab.engines.vasp.running import INSTALL

        found = program.find("vasp_std")
        return EngineInfo(
            name=self.name,
            found=found is not None,
            where=str(found or ""),
            missing="" if found else program.missing("vasp_std", INSTALL),
            tasks=tuple(self.tasks),
        )

    def preload(self) -> None:
        """Import what a run needs."""
        for name in ("ase.constraints", "ase.neighborlist", "nanoos_lab.engines.vasp.running"):
            importlib.import_module(name)

    def check(
        self, structure: Structure | None, task: str, parameters: TaskParameters, policy: EnginePolicy
    ) -> Mapping[str, Path]:
        """Check structure, mesh and potentials; no file goes with the job, since POTCARs are never stored."""
        from nanoos_lab.engines.vasp import potcar
        from nanoos_lab.engines.vasp.checks import check_structure
        from nanoos_lab.engines.vasp.poscar import Order

        if not isinstance(parameters, VaspParameters):
            raise TypeError(f"not parameters of a task of engine {self.name!r}: {parameters!r}")
        if structure is None:
            raise InputError(f"engine 'vasp', task {task!r} needs a structure")
        atoms = structure.atoms()
        check_structure(atoms, cast("Given", parameters))
        potcar.find(parameters, Order.of(atoms.get_chemical_symbols()).species)
        return {}

    def run(self, request: JobRequest, context: RunContext) -> Results:
        """Run the task to its end, in an engine process of its own."""
        from nanoos_lab.engines.vasp.running import run

        model = self.tasks[request.task]
        given = validate(model, request.parameters, where=f"engine {self.name!r}, task {request.task!r}")
        return run(request, cast("Given", given), context)
