"""The engine seam: what an engine is, and all that it may touch while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import Any

    from nanoos_lab.core.frames import Checkpoint, Results, RunHead, Sample
    from nanoos_lab.core.parameters import TaskParameters
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.resources import Resources
    from nanoos_lab.core.structures import Structure

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
    #: Kinds of calculation that it does.
    tasks: tuple[str, ...] = ()


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
    #: The publication, if it is known.
    citation: str = ""


@runtime_checkable
class ListsPotentials(Protocol):
    """An engine that can say which potentials it has."""

    def potentials(self, elements: Collection[str]) -> Sequence[PotentialInfo]:
        """Return those that have all of these elements."""


class Engine(Protocol):
    """The adapter that runs one program."""

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
        self, structure: Structure | None, task: str, parameters: TaskParameters, policy: EnginePolicy
    ) -> Mapping[str, Path]:
        """Check what a parameter model cannot, in the user's process; return the input files by their role.

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
        """Hand over a sample for those who watch; it is not kept."""

    def progress(self, step: int) -> None:
        """Say how far the run is; cheap, may be called often."""

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

    def on_stop(self, interrupt: Callable[[], None]) -> None:
        """Name a thread-safe function that ends a long native call early when a stop is asked for."""
