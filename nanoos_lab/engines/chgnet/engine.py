"""The engine ``chgnet``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.engines.ase.over import CalculatorEngine
from nanoos_lab.engines.chgnet.failures import FAILURES
from nanoos_lab.engines.chgnet.parameters import ChgnetParameters, check_structure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase.calculators.calculator import BaseCalculator

    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import EnginePolicy, RunContext

CITATION = "B. Deng, P. Zhong, K. Jun, J. Riebesell, K. Han, C. J. Bartel, G. Ceder, Nat. Mach. Intell. 5, 1031 (2023)"


class ChgnetEngine(CalculatorEngine[ChgnetParameters]):
    """CHGNet, a graph neural network for all elements up to plutonium; its weights come inside its wheel.

    On the processor, or on a graphics processor with ``resources={"gpus": 1}``.
    """

    name = "chgnet"
    package = "chgnet"
    missing = "CHGNet is not installed: pip install 'nanoos-lab[chgnet]'"
    own = ChgnetParameters
    parallel = frozenset({"threads", "gpus"})
    failures = FAILURES

    def check_calculator(self, structure: Structure, given: ChgnetParameters, policy: EnginePolicy) -> bool:
        """Check periodicity and elements."""
        check_structure(structure)
        return True

    def make(self, given: ChgnetParameters, context: RunContext) -> BaseCalculator:
        """Make a calculator; all of a process share the model."""
        from nanoos_lab.engines.chgnet.calculator import make

        calculator: BaseCalculator = make(given.model, context.resources)
        return calculator

    def provenance(self, given: ChgnetParameters) -> Mapping[str, Any]:
        """Return the weights and what to cite."""
        return {"model": given.model, "citation": CITATION}
