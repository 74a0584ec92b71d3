"""The engine ``ase``. ASE's dynamics and calculators are imported by the first run or `preload`."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import EngineError, ParameterError, StructureError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.ase.parameters import (
    AseMDParameters,
    AseRelaxParameters,
    AseStaticParameters,
    CalculatorParameters,
)
from nanoos_lab.engines.base import EngineInfo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.parameters import TaskParameters
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import EnginePolicy, RunContext


class AseEngine:
    """ASE's optimisers and dynamics, with EMT, Lennard-Jones or any calculator that Python can import."""

    name = "ase"
    resumable = frozenset({"relax", "md"})

    @property
    def tasks(self) -> Mapping[str, type[TaskParameters]]:
        """Kind of calculation → model of its parameters."""
        return {"static": AseStaticParameters, "relax": AseRelaxParameters, "md": AseMDParameters}

    def probe(self) -> EngineInfo:
        """Look for ASE."""
        try:
            found = version("ase")
        except PackageNotFoundError:
            return EngineInfo(name=self.name, found=False, missing="ASE is not installed: pip install ase")
        return EngineInfo(name=self.name, found=True, version=found, where="ase", tasks=tuple(self.tasks))

    def preload(self) -> None:
        """Import the dynamics, the optimisers, EMT and Lennard-Jones."""
        for module in ("md", "relax", "calculators"):
            import_module(f"nanoos_lab.engines.ase.{module}")
        import_module("ase.calculators.lj")

    def check(
        self, structure: Structure | None, task: str, parameters: TaskParameters, policy: EnginePolicy
    ) -> Mapping[str, Path]:
        """Check the calculator and whether the structure suits it and the task; return no files.

        Raises
        ------
        InputError
            If the calculator does not exist or is not allowed, or the structure does not suit it or the task.
        """
        from nanoos_lab.engines.ase.calculators import check_elements, check_options, find

        if structure is None:
            raise StructureError(f"engine 'ase', task {task!r} needs a structure")
        if isinstance(parameters, CalculatorParameters):
            calculator = find(parameters.calculator, policy)
            check_options(parameters, policy)
            check_elements(calculator, structure)
            # Some classes say only once they are made what they implement.
            known = calculator.implemented_properties
            _check_task(structure.atoms(), parameters, has_stress=not known or "stress" in known)
        return {}

    def run(self, request: JobRequest, context: RunContext) -> Results:
        """Run a task on the structure of the request.

        Raises
        ------
        InputError
            If the calculator cannot be found here or the policy of this lab does not allow it.
        EngineError
            If the calculator fails, or a relaxation does not converge.
        """
        from nanoos_lab.engines.ase.calculators import SHORT_NAMES, caveat, make

        if request.structure is None:
            raise EngineError("there is no structure", reason=Reason.INPUT)
        given = self.tasks[request.task](**request.parameters)
        if not isinstance(given, CalculatorParameters):
            raise EngineError(f"task {request.task!r} has no calculator", reason=Reason.BUG)
        atoms = request.structure.atoms()
        atoms.calc = make(given, context.policy)
        warning = caveat(atoms.calc, request.structure)
        if warning:
            context.log(f"warning: {warning}")
        results = _run(atoms, given, context)
        provenance = {
            "engine": "ase",
            "version": version("ase"),
            "calculator": SHORT_NAMES.get(given.calculator, given.calculator),
            **results.provenance,
        }
        return replace(results, provenance=provenance)


def _run(atoms: Atoms, given: CalculatorParameters, context: RunContext) -> Results:
    match given:
        case AseMDParameters():
            from nanoos_lab.engines.ase.md import run_md

            return run_md(atoms, given, context)
        case AseRelaxParameters():
            from nanoos_lab.engines.ase.relax import run_relax

            return run_relax(atoms, given, context)
    return _run_static(atoms, given, context)


def _run_static(atoms: Atoms, given: CalculatorParameters, context: RunContext) -> Results:
    from nanoos_lab.engines.ase.measure import Meter

    meter = Meter(atoms, given.calculator)
    context.begin(meter.head(total=None))
    context.sample(meter.sample(0, 0.0))
    return Results(properties=meter.properties(), structure=meter.structure())


def _check_task(atoms: Atoms, given: CalculatorParameters, *, has_stress: bool) -> None:
    moves_cell = (isinstance(given, AseRelaxParameters) and given.cell == "free") or (
        isinstance(given, AseMDParameters) and given.ensemble == "npt"
    )
    what = "cell='free'" if isinstance(given, AseRelaxParameters) else "ensemble='npt'"
    if moves_cell and not atoms.pbc.all():
        raise StructureError(f"{what} needs a structure that is periodic in all directions")
    if moves_cell and not has_stress:
        raise ParameterError("calculator", given.calculator, f"it has no stress, which {what} needs")
    if isinstance(given, AseMDParameters):
        _check_freedom(atoms, given)


def _check_freedom(atoms: Atoms, given: AseMDParameters) -> None:
    if atoms.constraints and given.ensemble == "npt":
        raise StructureError("ensemble='npt' moves every atom with the cell, so the structure must have no constraints")
    try:
        free = atoms.get_number_of_degrees_of_freedom()
    except NotImplementedError:
        names = ", ".join(type(constraint).__name__ for constraint in atoms.constraints)
        raise StructureError(f"task 'md' cannot count the degrees of freedom under the constraints {names}") from None
    if free <= 0:
        raise StructureError("constraints fix all atoms, so there is nothing for task 'md' to move")
