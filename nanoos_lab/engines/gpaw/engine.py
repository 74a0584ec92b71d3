"""The engine ``gpaw``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nanoos_lab.engines.ase.over import CalculatorEngine
from nanoos_lab.engines.gpaw import datasets
from nanoos_lab.engines.gpaw.failures import FAILURES
from nanoos_lab.engines.gpaw.parameters import GpawParameters, check_structure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ase.calculators.calculator import BaseCalculator

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import EnginePolicy, Recipe, RunContext

CITATION = "J. J. Mortensen et al., J. Chem. Phys. 160, 092503 (2024)"


class GpawEngine(CalculatorEngine[GpawParameters]):
    """Density functional theory in plane waves by GPAW, in one process; it has potentials for nearly all elements."""

    name = "gpaw"
    package = "gpaw"
    missing = (
        "GPAW is not installed: pip install 'nanoos-lab[gpaw]'; it is compiled, and needs the headers of libxc and of "
        "a BLAS, and where there is an mpicc those of its MPI (Debian: libxc-dev, libopenblas-dev, libopenmpi-dev)"
    )
    own = GpawParameters
    failures = FAILURES

    def check_calculator(self, structure: Structure, given: GpawParameters, policy: EnginePolicy) -> bool:
        """Check cell, wave vectors, and that there are data sets."""
        check_structure(structure, given)
        datasets.check(structure.elements)
        return True

    def make(self, given: GpawParameters, context: RunContext) -> BaseCalculator:
        """Make a calculator that writes its own log into the working directory."""
        from gpaw import GPAW

        number = len(list(context.workdir.glob("gpaw*.txt")))
        log = context.workdir / f"gpaw-{number}.txt"
        log.touch()
        calculator: BaseCalculator = GPAW(txt=str(log), **given.keywords())
        return calculator

    def recipe(self, request: JobRequest, files: Mapping[str, Path], provenance: Mapping[str, Any]) -> Recipe:
        """Return a script for ASE and GPAW alone."""
        from nanoos_lab.engines.ase.recipe import Written, called, recipe

        given = cast("GpawParameters", self.tasks[request.task](**request.parameters))
        options = {**given.keywords(), "txt": "gpaw.txt"}
        written = Written(imports=["from gpaw import GPAW"], made=called("GPAW", options))
        return recipe(given, written, request.resources)

    def provenance(self, given: GpawParameters) -> Mapping[str, Any]:
        """Return the functional."""
        return {"xc": given.xc}

    def cited(self, given: GpawParameters) -> Mapping[str, str]:
        """Return where GPAW was published."""
        return {"GPAW": CITATION}
