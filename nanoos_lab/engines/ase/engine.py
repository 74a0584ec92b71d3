"""The engine ``ase``. ASE's dynamics and calculators are imported by the first run or `preload`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nanoos_lab.engines.ase.over import CalculatorEngine
from nanoos_lab.engines.ase.parameters import CalculatorParameters

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ase.calculators.calculator import BaseCalculator

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import EnginePolicy, Recipe, RunContext


class AseEngine(CalculatorEngine[CalculatorParameters]):
    """ASE's optimisers and dynamics, with EMT, Lennard-Jones or any calculator that Python can import."""

    name = "ase"
    package = "ase"
    missing = "ASE is not installed: pip install ase"
    own = CalculatorParameters
    imports = ("nanoos_lab.engines.ase.calculators", "ase.calculators.lj")

    def check_calculator(self, structure: Structure, given: CalculatorParameters, policy: EnginePolicy) -> bool:
        """Check that the calculator exists, is allowed and knows the elements."""
        from nanoos_lab.engines.ase.calculators import check_elements, check_options, find

        calculator = find(given.calculator, policy)
        check_options(given, policy)
        check_elements(calculator, structure)
        # Some classes say only once they are made what they implement.
        known = calculator.implemented_properties
        return not known or "stress" in known

    def make(self, given: CalculatorParameters, context: RunContext) -> BaseCalculator:
        """Make the calculator that was asked for."""
        from nanoos_lab.engines.ase.calculators import make

        return make(given, context.policy)

    def warning(self, structure: Structure, calculator: BaseCalculator) -> str:
        """Warn of EMT for light elements."""
        from nanoos_lab.engines.ase.calculators import warning

        return warning(calculator, structure)

    def recipe(self, request: JobRequest, files: Mapping[str, Path], provenance: Mapping[str, Any]) -> Recipe:
        """Return a script for ASE alone."""
        from nanoos_lab.engines.ase.calculators import SHORT_NAMES
        from nanoos_lab.engines.ase.recipe import Written, called, recipe

        given = cast("CalculatorParameters", self.tasks[request.task](**request.parameters))
        module, _, name = SHORT_NAMES.get(given.calculator, given.calculator).partition(":")
        written = Written(imports=[f"from {module} import {name}"], made=called(name, given.options))
        return recipe(given, written, request.resources)

    def provenance(self, given: CalculatorParameters) -> Mapping[str, Any]:
        """Return the calculator's class."""
        from nanoos_lab.engines.ase.calculators import SHORT_NAMES

        return {"calculator": SHORT_NAMES.get(given.calculator, given.calculator)}
