"""The engine ``tblite``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nanoos_lab.engines.ase.over import CalculatorEngine, models
from nanoos_lab.engines.tblite.failures import FAILURES
from nanoos_lab.engines.tblite.parameters import (
    HEAVIEST,
    XtbParameters,
    check_electrons,
    check_elements,
    check_periodicity,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from ase.calculators.calculator import BaseCalculator

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import EnginePolicy, PotentialInfo, Recipe, RunContext

#: What to cite, by method.
CITATIONS = {
    "GFN2-xTB": "C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019)",
    "GFN1-xTB": "S. Grimme, C. Bannwarth, P. Shushkov, J. Chem. Theory Comput. 13, 1989 (2017)",
    "IPEA1-xTB": "V. Ásgeirsson, C. A. Bauer, S. Grimme, Chem. Sci. 8, 4879 (2017)",
}


class TbliteEngine(CalculatorEngine[XtbParameters]):
    """Extended tight binding by tblite: elements up to radon, molecules, and crystals at the Γ point.

    A crystal's cell must so be large, or its band gap.
    """

    name = "tblite"
    package = "tblite"
    missing = "tblite is not installed: pip install 'nanoos-lab[tblite]'"
    own = XtbParameters
    parallel = frozenset({"threads"})
    imports = ("nanoos_lab.engines.tblite.calculator",)
    failures = FAILURES

    def check_calculator(self, structure: Structure, given: XtbParameters, policy: EnginePolicy) -> bool:
        """Check elements, periodicity and electrons."""
        check_elements(structure, given)
        check_periodicity(structure)
        check_electrons(structure, given)
        return all(structure.pbc)

    def make(self, given: XtbParameters, context: RunContext) -> BaseCalculator:
        """Make tblite's calculator."""
        from nanoos_lab.engines.tblite.calculator import Xtb, use_threads

        use_threads(context.resources.threads)
        return Xtb(**_options(given))

    def recipe(self, request: JobRequest, files: Mapping[str, Path], provenance: Mapping[str, Any]) -> Recipe:
        """Return a script for ASE and tblite alone."""
        from nanoos_lab.engines.ase.recipe import Written, called, recipe

        given = cast("XtbParameters", self.tasks[request.task](**request.parameters))
        written = Written(imports=["from tblite.ase import TBLite"], made=called("TBLite", _options(given)))
        return recipe(given, written, request.resources)

    def potentials(self, elements: Collection[str]) -> Sequence[PotentialInfo]:
        """Return the methods, as they are passed by ``method=``."""
        return models("tight binding", CITATIONS, HEAVIEST, elements)

    def provenance(self, given: XtbParameters) -> Mapping[str, Any]:
        """Return the method."""
        return {"method": given.method}

    def cited(self, given: XtbParameters) -> Mapping[str, str]:
        """Return where the method was published."""
        return {given.method: CITATIONS[given.method]}


def _options(given: XtbParameters) -> dict[str, Any]:
    """Return the keyword arguments of tblite's calculator."""
    return {
        "method": given.method,
        "charge": given.charge,
        "multiplicity": given.multiplicity,
        "accuracy": given.accuracy,
        "electronic_temperature": given.electronic_temperature,
        "max_iterations": given.scf_iterations,
        "mixer_damping": given.mixer_damping,
        "verbosity": 0,
    }
