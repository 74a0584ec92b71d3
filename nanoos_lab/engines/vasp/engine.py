"""The engine's face: what it offers, checks and runs."""

from __future__ import annotations

import importlib
import mmap
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from nanoos_lab.core.errors import InputError
from nanoos_lab.core.parameters import TaskParameters, validate
from nanoos_lab.engines import program
from nanoos_lab.engines.base import EngineInfo, EnginePolicy
from nanoos_lab.engines.vasp.parameters import (
    Given,
    VaspBandsParameters,
    VaspMDParameters,
    VaspParameters,
    VaspRelaxParameters,
    VaspStaticParameters,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from nanoos_lab.core.frames import Results
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import Parallel, PotentialInfo, Recipe, RunContext

_TASKS: Mapping[str, type[TaskParameters]] = MappingProxyType(
    {
        "static": VaspStaticParameters,
        "relax": VaspRelaxParameters,
        "md": VaspMDParameters,
        "bands": VaspBandsParameters,
    }
)

#: What to cite, by what it is for.
CITATIONS = MappingProxyType(
    {
        "VASP": "G. Kresse, J. Furthmüller, Phys. Rev. B 54, 11169 (1996)",
        "PAW": "P. E. Blöchl, Phys. Rev. B 50, 17953 (1994); G. Kresse, D. Joubert, Phys. Rev. B 59, 1758 (1999)",
    }
)


class VaspEngine:
    """Runs the user's own VASP."""

    name = "vasp"
    tasks = _TASKS
    resumable = frozenset({"relax", "md", "bands"})
    steerable: frozenset[str] = frozenset()
    parallel: frozenset[Parallel] = frozenset({"threads", "ranks", "gpus"})

    def probe(self) -> EngineInfo:
        """Look for the program, and for its version in it: it does not tell without a calculation."""
        from nanoos_lab.engines.vasp.running import INSTALL

        found = program.find("vasp_std")
        return EngineInfo(
            name=self.name,
            found=found is not None,
            version=_version(found) if found else "",
            where=str(found or ""),
            missing="" if found else program.missing("vasp_std", INSTALL),
            tasks=tuple(self.tasks),
        )

    def binary(self) -> Path | None:
        """Return where the program is that runs most jobs."""
        return program.find("vasp_std")

    def potentials(self, elements: Collection[str]) -> Sequence[PotentialInfo]:
        """Return the folders of POTCARs that have all of these elements."""
        from nanoos_lab.engines.vasp.potcar import families

        return families(elements)

    def citations(self, request: JobRequest, files: Mapping[str, Path]) -> Mapping[str, str]:
        """Return what VASP asks to be cited."""
        return dict(CITATIONS)

    def recipe(self, request: JobRequest, files: Mapping[str, Path], provenance: Mapping[str, Any]) -> Recipe:
        """Return how to get the numbers of a job with VASP alone."""
        from nanoos_lab.engines.vasp.recipe import recipe

        return recipe(request, self._given(request), provenance)

    def preload(self) -> None:
        """Import what a run needs."""
        own = ("nanoos_lab.engines.vasp.states", "nanoos_lab.engines.vasp.checks")
        for name in ("ase.constraints", "ase.neighborlist", *own):
            importlib.import_module(name)

    def check(
        self,
        structure: Structure | None,
        task: str,
        parameters: TaskParameters,
        policy: EnginePolicy,
        files: Mapping[str, Path] | None = None,
    ) -> Mapping[str, Path]:
        """Check structure, mesh and potentials; what goes with the job says which POTCARs it has, and is none."""
        from nanoos_lab.engines.vasp import potcar
        from nanoos_lab.engines.vasp.checks import check_structure
        from nanoos_lab.engines.vasp.poscar import Order

        if not isinstance(parameters, VaspParameters):
            raise TypeError(f"not parameters of a task of engine {self.name!r}: {parameters!r}")
        if structure is None:
            raise InputError(f"engine 'vasp', task {task!r} needs a structure")
        atoms = structure.atoms()
        check_structure(atoms, cast("Given", parameters))
        if files is not None:
            # The run compares what it finds with what is noted.
            return files
        species = Order.of(atoms.get_chemical_symbols()).species
        return {potcar.ROLE: potcar.note(species, potcar.find(parameters, species))}

    def run(self, request: JobRequest, context: RunContext) -> Results:
        """Run the task to its end, in an engine process of its own."""
        from nanoos_lab.engines.vasp import running, states

        given = self._given(request)
        if isinstance(given, VaspBandsParameters):
            return states.bands(request, given, context)
        return running.run(request, given, context)

    def _given(self, request: JobRequest) -> Given:
        where = f"engine {self.name!r}, task {request.task!r}"
        return cast("Given", validate(self.tasks[request.task], request.parameters, where=where))


def _version(path: Path) -> str:
    """Return the version that an executable says when it runs; empty if it is in another file."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = re.search(rb"vasp\.(\d+\.\d+\.\d+)", data)
            return found[1].decode() if found else ""
    except (OSError, ValueError):
        return ""
