"""The engine seam: what an engine is, and all that it may touch while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Any

    from nanoos_lab.core.frames import Checkpoint, Results, RunHead, Sample
    from nanoos_lab.core.parameters import TaskParameters
    from nanoos_lab.core.record import Steering
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.resources import Resources
    from nanoos_lab.core.structures import Structure

#: How a run can use more than one core: OpenMP threads, MPI ranks, graphics processors.
Parallel = Literal["threads", "ranks", "gpus"]

#: After all but a cancel the job may go on, so the engine leaves a checkpoint.
StopReason = Literal["cancel", "time_limit", "shutdown", "pause"]


@dataclass(frozen=True, kw_only=True)
class EnginePolicy:
    """What the lab's settings allow an engine to do on behalf of a user."""

    #: Whether raw input may run shell commands, Python and files that nobody checked.
    allow_shell: bool = False
    #: ASE calculators that may be imported ("module:Class"); None allows any.
    calculators: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class EngineInfo:
    """What is known of an engine on this machine."""

    #: Name of the engine.
    name: str
    #: Whether it can run here.
    found: bool
    #: Version of the program; empty if not found.
    version: str = ""
    #: Where the program or library is.
    where: str = ""
    #: What is missing and how to get it; empty if found.
    missing: str = ""
    #: Kinds of calculation that it does, those that other packages add included.
    tasks: tuple[str, ...] = ()
    #: Those of them that cannot run here though the engine can, each with the program that it lacks and how to get it.
    lacking: Mapping[str, str] = field(default_factory=dict)
    #: Those of them that go on from checkpoints.
    resumable: tuple[str, ...] = ()
    #: Those of them whose parameters can be changed while they run.
    steerable: tuple[str, ...] = ()
    #: How a run can use more than one core.
    parallel: tuple[Parallel, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """What is known of a task that another package adds."""

    #: Name of the task.
    name: str
    #: The package that brings it, with its version.
    package: str
    #: Engines that it runs on.
    engines: tuple[str, ...] = ()
    #: Why it cannot be used; empty if it can.
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to get the numbers of a job without nanoos_lab."""

    #: A line of shell, for a directory with `texts` and `files`; there too is `STRUCTURE`, if the job has one.
    command: str
    #: Texts of the files to write, by name.
    texts: Mapping[str, str]
    #: Names under which the input files are to be there, by their role.
    files: Mapping[str, str] = field(default_factory=dict)
    #: What a reader should know: how near the numbers come, what has to be installed.
    notes: str = ""


#: Where a recipe finds the structure, exact to the last bit, in ASE's own format.
STRUCTURE = "structure.traj"


@dataclass(frozen=True, kw_only=True)
class PotentialInfo:
    """What gives an engine its forces: a potential file, a family of pseudopotentials, a trained model."""

    #: What users pass as ``potential=``, or as the engine's own parameter.
    name: str
    #: What it is, such as LAMMPS's pair style.
    kind: str
    #: Chemical symbols of the elements that it has.
    elements: tuple[str, ...]
    #: Unit system of a file; empty where there is none to choose.
    units: str = ""
    #: The publication, or else where it is from, if that is known.
    citation: str = ""


@runtime_checkable
class ListsPotentials(Protocol):
    """An engine that can say which potentials it has."""

    def potentials(self, elements: Collection[str]) -> Sequence[PotentialInfo]:
        """Return those that have all of these elements."""


@runtime_checkable
class LoadsModel(Protocol):
    """An engine whose runs all begin with what takes seconds, such as a model that is to be read."""

    def load(self) -> bool:
        """Read it, and start no thread and touch no device; return whether there was anything to do.

        A worker calls it when it is first given a job of the engine, before it forks: its runs share what was read.
        """


@runtime_checkable
class HasBinary(Protocol):
    """An engine whose program is one file, and whose results tell its version."""

    def binary(self) -> Path | None:
        """Return the executable or library that a run here would use, found without starting it."""


@runtime_checkable
class Cites(Protocol):
    """An engine that knows where what it computes with was published."""

    def citations(self, request: JobRequest, files: Mapping[str, Path]) -> Mapping[str, str]:
        """Return publications: those of input files by their role, others by what they are for."""


@runtime_checkable
class GivesRecipes(Protocol):
    """An engine, or a task that another package adds, that can say how to get its numbers without nanoos_lab."""

    def recipe(self, request: JobRequest, files: Mapping[str, Path], provenance: Mapping[str, Any]) -> Recipe:
        """Return how to get the numbers of a job; pure, save for reading its files.

        Parameters
        ----------
        request
            What was run.
        files
            Its input files by their role.
        provenance
            What made the results.

        Raises
        ------
        InputError
            If it has no recipe for such a job.
        """


@runtime_checkable
class Steers(Protocol):
    """An engine some of whose runs can have parameters changed on the way; `Helm` in `steering` does most of it."""

    def steers(self, task: str, parameters: TaskParameters, resources: Resources) -> Collection[str]:
        """Return the names of the parameters that can be changed while such a run lasts.

        Raises
        ------
        InputError
            If there are none, and why.
        """


@runtime_checkable
class LendsCalculator(Protocol):
    """An engine that lends its energies and forces, as a calculator of ASE, to tasks that other packages add."""

    @property
    def own(self) -> type[TaskParameters]:
        """Model of the parameters of its calculator."""

    def check_calculator(self, structure: Structure, given: Any, policy: EnginePolicy) -> bool:
        """Check whether the calculator suits the structure; return whether it has a stress.

        Raises
        ------
        InputError
            If it does not.
        """

    def make(self, given: Any, context: RunContext) -> Any:
        """Make the calculator, an `ase.calculators.calculator.BaseCalculator`, in the engine process.

        Raises
        ------
        NanoosError
            If it cannot be made.
        """


class Engine(Protocol):
    """The adapter that runs one program.

    A class that derives from this one need not say what it has nothing to say of.
    """

    #: Kinds of calculation whose parameters can be changed while they run; `Steers` says which.
    steerable: frozenset[str] = frozenset()
    #: How a run can use more than one core.
    parallel: frozenset[Parallel] = frozenset()
    #: How many of a kind a run can use at most, where there is such a number.
    most: Mapping[Parallel, int] = MappingProxyType({})

    @property
    def name(self) -> str:
        """Name that users pass as ``engine=``."""

    @property
    def tasks(self) -> Mapping[str, type[TaskParameters]]:
        """Kind of calculation → model of its parameters."""

    @property
    def resumable(self) -> frozenset[str]:
        """Kinds of calculation that make checkpoints and go on from them."""

    def probe(self) -> EngineInfo:
        """Look for the program on this machine; never raises."""

    def preload(self) -> None:
        """Import what a run needs, and nothing else: no thread, no MPI, no device. Workers call it before they fork."""

    def check(
        self,
        structure: Structure | None,
        task: str,
        parameters: TaskParameters,
        policy: EnginePolicy,
        files: Mapping[str, Path] | None = None,
    ) -> Mapping[str, Path]:
        """Check what a parameter model cannot, in the user's process; return the input files by their role.

        A structure that is not known at submit is checked in the engine process: the user's paths mean nothing there.

        Parameters
        ----------
        structure
            What to simulate; until another job has made it, the one that its chain of jobs begins with.
        task, parameters
            What is asked for.
        policy
            What the lab's settings allow.
        files
            The input files by their role, if they were found at submit; None if they are to be found now.

        Raises
        ------
        InputError
            If the run could not work: no potential for an element, an unreadable file, a refused command.
        """

    def run(self, request: JobRequest, context: RunContext) -> Results:
        """Run the task to its end, in an engine process of its own.

        Raises
        ------
        EngineError
            If the program fails; says what, why, and what to do next.
        """


class Task(Protocol):
    """A kind of calculation that another package adds to engines that are there; its entry point names it.

    A class that derives from this one need not say what it has nothing to say of.
    """

    #: Whether it makes checkpoints and goes on from them.
    resumable: bool = False

    def parameters(self, engine: Engine) -> type[TaskParameters] | None:
        """Return the model of its parameters on an engine; None if it does not run on that one."""

    def check(
        self,
        structure: Structure | None,
        parameters: TaskParameters,
        engine: Engine,
        policy: EnginePolicy,
        files: Mapping[str, Path] | None = None,
    ) -> Mapping[str, Path]:
        """Check what a parameter model cannot; `files` are as `Engine.check` takes and returns them.

        Raises
        ------
        InputError
            If the run could not work.
        """
        return {}

    def run(self, request: JobRequest, context: RunContext, engine: Engine) -> Results:
        """Run it to its end, in an engine process of its own.

        Raises
        ------
        EngineError
            If it fails; says what, why, and what to do next.
        """


class RunContext(Protocol):
    """All that a running engine may touch."""

    @property
    def workdir(self) -> Path:
        """Scratch directory of this attempt, empty at the start; the files left in it are kept with the job."""

    @property
    def resources(self) -> Resources:
        """What the run may use."""

    @property
    def policy(self) -> EnginePolicy:
        """What the lab's settings allow."""

    @property
    def files(self) -> Mapping[str, Path]:
        """Input files by their role, as `Engine.check` named them."""

    @property
    def checkpoint_interval(self) -> float:
        """Seconds of running time between checkpoints, about; 0 for no checkpoints at all."""

    @property
    def checkpoint_steps(self) -> int | None:
        """Steps between checkpoints, if it is not for the run to choose them for the interval."""

    @property
    def checkpoints(self) -> Sequence[Checkpoint]:
        """What earlier attempts left, newest first; whole, as far as their digests tell."""

    def checkpoint(self, step: int, facts: Mapping[str, Any]) -> AbstractContextManager[Path]:
        """Yield an empty directory, which is a checkpoint once the block has ended without an error.

        Plain files only, no directories; `facts` are plain JSON values.
        """

    def begin(self, head: RunHead) -> None:
        """Say what stays the same in the run, once, before the first sample."""

    def sample(self, sample: Sample) -> None:
        """Hand over a sample that must be kept."""

    def live(self, sample: Sample) -> None:
        """Hand over a sample, or a frame alone, for those who watch; it is not kept."""

    def progress(self, step: int) -> None:
        """Say how far the run is; cheap, may be called often."""

    def patience(self, seconds: float) -> AbstractContextManager[None]:
        """Say for how many seconds of running time nothing may be heard of the run, within a block, until it is killed.

        What is heard are calls of the methods here, and files that change in its working directory; it is infinity for
        a run that looks after that itself.
        """

    def log(self, text: str) -> None:
        """Append text to the job's log."""

    @property
    def watched(self) -> bool:
        """Whether somebody looks at the run right now."""

    @property
    def live_cost(self) -> float:
        """CPU seconds that one live sample costs outside of the engine process, as measured so far."""

    @property
    def stop(self) -> StopReason | None:
        """Why the run is to stop as soon as it can, or None."""

    @property
    def grace(self) -> float:
        """Seconds, from when it was asked to stop, after which it is killed; meaningless before."""

    def on_stop(self, interrupt: Callable[[], None]) -> None:
        """Name one more thread-safe function that ends a long native call, or a wait, early when a stop is asked for.

        It is kept as long as the run lasts, and must bear to be called when there is nothing to end any more.
        """

    @property
    def steerings(self) -> Sequence[Steering]:
        """Changes of its parameters that were asked for, in order; more may come at any time, in another thread."""

    def steered(self, number: int, step: int) -> None:
        """Say at which step a steering is applied that has no step yet, before anything that follows from it."""

    def on_steer(self, function: Callable[[], None]) -> None:
        """Name a thread-safe function to be called when another steering has come."""
