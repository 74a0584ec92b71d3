"""An engine over a calculator of ASE: tasks, checkpoints and checks are ASE's, the calculator is the engine's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property, partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from nanoos_lab.core.errors import EngineError, InputError, NotInstalledError, StructureError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import displacements
from nanoos_lab.engines.ase.cancelling import CancelledError, cancelled_in_time
from nanoos_lab.engines.ase.parameters import (
    TASKS,
    BandParameters,
    Calculated,
    DynamicsParameters,
    OptimizerParameters,
    PhononParameters,
    tasks_with,
)
from nanoos_lab.engines.base import EngineInfo, PotentialInfo
from nanoos_lab.engines.signatures import Scanner
from nanoos_lab.engines.steering import of_dynamics

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from ase import Atoms
    from ase.calculators.calculator import BaseCalculator

    from nanoos_lab.core.parameters import TaskParameters
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.resources import Resources
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import EnginePolicy, Parallel, RunContext
    from nanoos_lab.engines.signatures import Signature

    Make = Callable[[], BaseCalculator]

Own = TypeVar("Own", bound=Calculated)
CITATION = "A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017)"


class CalculatorEngine(ABC, Generic[Own]):
    """Static calculations, relaxation, molecular dynamics and nudged elastic bands with one kind of calculator.

    An engine says by class attributes who it is, and by a few methods how its calculator is checked and made.
    """

    #: Name that users pass as ``engine=``.
    name: ClassVar[str]
    #: The distribution whose version is the engine's.
    package: ClassVar[str]
    #: What is missing without it, and how to get it.
    missing: ClassVar[str]
    #: Parameters of the calculator.
    own: ClassVar[type[Calculated]]
    #: Modules that a run needs and that may be imported before a fork.
    imports: ClassVar[Sequence[str]] = ()
    #: How its calculator fails.
    failures: ClassVar[Sequence[Signature]] = ()
    #: Kinds of calculation that go on from checkpoints.
    resumable: ClassVar[frozenset[str]] = frozenset({"relax", "md", "neb", "phonons"})
    #: Kinds of calculation whose parameters can be changed while they run.
    steerable: ClassVar[frozenset[str]] = frozenset({"md"})
    #: How its calculator can use more than one core.
    parallel: ClassVar[frozenset[Parallel]] = frozenset()

    @abstractmethod
    def check_calculator(self, structure: Structure, given: Own, policy: EnginePolicy) -> bool:
        """Check whether the calculator suits the structure; return whether it has a stress.

        Raises
        ------
        InputError
            If it does not.
        """

    @abstractmethod
    def make(self, given: Own, context: RunContext) -> BaseCalculator:
        """Make a calculator, in the engine process.

        Raises
        ------
        NanoosError
            If it cannot be made.
        """

    def warning(self, structure: Structure, calculator: BaseCalculator) -> str:
        """Return what a reader of the results should know of the calculator; mostly nothing."""
        return ""

    def provenance(self, given: Own) -> Mapping[str, Any]:
        """Return what made the results, besides the engine and its version."""
        return {}

    def cited(self, given: Own) -> Mapping[str, str]:
        """Return where the calculator was published, by what it is for."""
        return {}

    def citations(self, request: JobRequest, files: Mapping[str, Path]) -> Mapping[str, str]:
        """Return where ASE and the calculator were published."""
        given = cast("Own", self.tasks[request.task](**request.parameters))
        phonopy = {"phonopy": displacements.CITATION} if request.task == "phonons" else {}
        return {"ase": CITATION, **phonopy, **self.cited(given)}

    @cached_property
    def tasks(self) -> Mapping[str, type[TaskParameters]]:
        """Kind of calculation → model of its parameters."""
        return tasks_with(self.own)

    def probe(self) -> EngineInfo:
        """Look for the distribution."""
        try:
            found = version(self.package)
        except PackageNotFoundError:
            return EngineInfo(name=self.name, found=False, missing=self.missing, tasks=tuple(TASKS))
        why = displacements.missing()
        return EngineInfo(
            name=self.name,
            found=True,
            version=found,
            where=self.package,
            tasks=tuple(TASKS),
            lacking={"phonons": why} if why else {},
        )

    def preload(self) -> None:
        """Import ASE's part, and what the calculator needs, if it is here."""
        for module in ("md", "relax", "neb", "phonons"):
            import_module(f"nanoos_lab.engines.ase.{module}")
        if self.probe().found:
            for module in self.imports:
                import_module(module)

    def check(
        self,
        structure: Structure | None,
        task: str,
        parameters: TaskParameters,
        policy: EnginePolicy,
        files: Mapping[str, Path] | None = None,
    ) -> Mapping[str, Path]:
        """Check whether the structure suits the task and the calculator; return no files.

        Raises
        ------
        InputError
            If it does not.
        """
        from nanoos_lab.engines.ase.checks import check_task

        if structure is None:
            raise StructureError(f"engine {self.name!r}, task {task!r} needs a structure")
        given = cast("Own", parameters)
        has_stress = self.check_calculator(structure, given, policy)
        check_task(structure.atoms(), given, has_stress=has_stress)
        return {}

    def steers(self, task: str, parameters: TaskParameters, resources: Resources) -> Collection[str]:
        """Return the parameters of thermostat and barostat.

        Raises
        ------
        InputError
            If there are none.
        """
        if not isinstance(parameters, DynamicsParameters):
            raise InputError(f"task {task!r} cannot be steered")
        return of_dynamics(parameters)

    def run(self, request: JobRequest, context: RunContext) -> Results:
        """Run a task on the structure of the request.

        Raises
        ------
        InputError
            If the calculator cannot be found here or the policy of this lab does not allow it.
        EngineError
            If the calculator fails, or a relaxation does not converge.
        """
        if request.structure is None:
            raise EngineError("there is no structure", reason=Reason.INPUT)
        given = cast("Own", self.tasks[request.task](**request.parameters))
        try:
            with cancelled_in_time(context):
                results = self._computed(request.structure, given, context)
        except CancelledError:
            results = Results(properties={}, structure=None, stopped=True)
        except EngineError as error:
            raise self._recognised(error, request.parameters) from error.__cause__
        made_by = {"engine": self.name, "version": version(self.package), "ase": version("ase")}
        return replace(results, provenance={**made_by, **self.provenance(given), **results.provenance})

    def _computed(self, structure: Structure, given: Own, context: RunContext) -> Results:
        make: Make = partial(self._made, given, context)
        atoms = structure.atoms()
        atoms.calc = make()
        warning = self.warning(structure, atoms.calc)
        if warning:
            context.log(f"warning: {warning}")
        return _run(atoms, given, context, make)

    def _made(self, given: Own, context: RunContext) -> BaseCalculator:
        from nanoos_lab.engines.ase.calculators import calculating

        try:
            with calculating(given.label):
                return self.make(given, context)
        except EngineError as error:
            if not isinstance(error.__cause__, ImportError):
                raise
            _, _, how = self.missing.partition(": ")
            raise NotInstalledError(
                f"engine {self.name!r} cannot be loaded on this host: {error.__cause__}", how
            ) from error

    def _recognised(self, error: EngineError, parameters: Mapping[str, Any]) -> EngineError:
        """Return what is known of a failure of the calculator, or the error as it is."""
        if not self.failures or error.__cause__ is None:
            return error
        # Its kind says more than its words where those are none.
        words = f"{type(error.__cause__).__name__}: {error.__cause__}"
        sign = Scanner(self.failures).scan(words.splitlines())
        return error if sign is None else sign.error(self.name, parameters)


def _run(atoms: Atoms, given: Calculated, context: RunContext, make: Make) -> Results:
    match given:
        case DynamicsParameters():
            from nanoos_lab.engines.ase.md import run_md

            return run_md(atoms, given, context)
        case OptimizerParameters():
            from nanoos_lab.engines.ase.relax import run_relax

            return run_relax(atoms, given, context)
        case BandParameters():
            from nanoos_lab.engines.ase.neb import run_neb

            return run_neb(atoms, given, context, make)
        case PhononParameters():
            from nanoos_lab.engines.ase.phonons import run_phonons

            return run_phonons(atoms, given, context)
    return _run_static(atoms, given, context)


def _run_static(atoms: Atoms, given: Calculated, context: RunContext) -> Results:
    from nanoos_lab.engines.ase.measure import Meter

    meter = Meter(atoms, given.label)
    context.begin(meter.head(total=None))
    context.sample(meter.sample(0, 0.0))
    return Results(properties=meter.properties(), structure=meter.structure())


def models(kind: str, citations: Mapping[str, str], heaviest: int, elements: Collection[str]) -> list[PotentialInfo]:
    """Return models that have all elements up to one, if they have all of these.

    Parameters
    ----------
    kind
        What they are.
    citations
        Name → publication.
    heaviest
        Atomic number of the heaviest element that they have.
    elements
        Chemical symbols that are wanted.
    """
    from ase.data import chemical_symbols

    known = tuple(chemical_symbols[1 : heaviest + 1])
    if not set(elements) <= set(known):
        return []
    return [PotentialInfo(name=name, kind=kind, elements=known, citation=text) for name, text in citations.items()]
