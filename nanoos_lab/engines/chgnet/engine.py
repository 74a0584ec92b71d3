"""The engine ``chgnet``."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, cast, get_args

from nanoos_lab.engines.ase.over import CalculatorEngine, models
from nanoos_lab.engines.chgnet.failures import FAILURES
from nanoos_lab.engines.chgnet.parameters import HEAVIEST, ChgnetParameters, Weights, check_structure

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from ase.calculators.calculator import BaseCalculator

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import EnginePolicy, Parallel, PotentialInfo, Recipe, RunContext

_CALCULATOR = "nanoos_lab.engines.chgnet.calculator"
#: Variable with the names of engines whose models workers load before they fork, separated by commas.
PRELOAD = "NANOOS_PRELOAD"
CITATION = "B. Deng, P. Zhong, K. Jun, J. Riebesell, K. Han, C. J. Bartel, G. Ceder, Nat. Mach. Intell. 5, 1031 (2023)"
#: What to cite, by weights.
CITATIONS = {
    "0.3.0": CITATION,
    "0.2.0": CITATION,
    "r2scan": "X. Huang, B. Deng, P. Zhong, A. D. Kaplan, K. A. Persson, G. Ceder, npj Comput. Mater. 11, 313 (2025)",
}


class ChgnetEngine(CalculatorEngine[ChgnetParameters]):
    """CHGNet, a graph neural network for all elements up to plutonium; its weights come inside its wheel.

    On the processor, or on a graphics processor with ``resources={"gpus": 1}``.

    To import torch and CHGNet takes seconds, and half a gigabyte of memory. A worker does so once, when it is first
    given such a job, and its jobs share the weights; where workers are started with ``NANOOS_PRELOAD=chgnet`` they all
    do so together, before they are forked.
    """

    name = "chgnet"
    package = "chgnet"
    missing = "CHGNet is not installed: pip install 'nanoos-lab[chgnet]'"
    own = ChgnetParameters
    parallel = frozenset({"threads", "gpus"})
    most: ClassVar[Mapping[Parallel, int]] = MappingProxyType({"gpus": 1})
    failures = FAILURES

    def preload(self) -> None:
        """Import ASE's part; if it is wished, load all weights too."""
        super().preload()
        if self.name in os.environ.get(PRELOAD, "").split(","):
            self.load()

    def load(self) -> bool:
        """Load all weights, which starts no thread and touches no device; return whether they were not there yet."""
        if _CALCULATOR in sys.modules or not self.probe().found:
            return False
        calculator = import_module(_CALCULATOR)
        for weights in get_args(Weights):
            calculator.model(weights, "cpu")
        return True

    def check_calculator(self, structure: Structure, given: ChgnetParameters, policy: EnginePolicy) -> bool:
        """Check periodicity and elements."""
        check_structure(structure)
        return True

    def make(self, given: ChgnetParameters, context: RunContext) -> BaseCalculator:
        """Make a calculator; all of a process share the model."""
        from nanoos_lab.engines.chgnet.calculator import make

        calculator: BaseCalculator = make(given.model, context.resources)
        return calculator

    def recipe(self, request: JobRequest, files: Mapping[str, Path], provenance: Mapping[str, Any]) -> Recipe:
        """Return a script for ASE and CHGNet alone."""
        from nanoos_lab.engines.ase.recipe import recipe
        from nanoos_lab.engines.chgnet.recipe import written

        given = cast("ChgnetParameters", self.tasks[request.task](**request.parameters))
        return recipe(given, written(given.model, request.resources), request.resources)

    def potentials(self, elements: Collection[str]) -> Sequence[PotentialInfo]:
        """Return the weights, as they are passed by ``model=``."""
        return models("universal ML potential", CITATIONS, HEAVIEST, elements)

    def provenance(self, given: ChgnetParameters) -> Mapping[str, Any]:
        """Return the weights."""
        return {"model": given.model}

    def cited(self, given: ChgnetParameters) -> Mapping[str, str]:
        """Return where the model and its weights were published."""
        return {"CHGNet": CITATION, f"CHGNet {given.model}": CITATIONS[given.model]}
