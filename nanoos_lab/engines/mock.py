"""An engine without a program: it behaves like a real one, takes as long as asked, and fails where asked."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Literal, NoReturn

from nanoos_lab.core.errors import EngineError, InputError, StructureError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.parameters import (
    DEFAULT_SEED,
    MDParameters,
    RelaxParameters,
    Seed,
    StaticParameters,
    Steps,
    TaskParameters,
    field,
)
from nanoos_lab.core.record import Correction
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.base import EngineInfo
from nanoos_lab.engines.drive import Course, drive
from nanoos_lab.engines.grid import Grid, resume
from nanoos_lab.engines.steering import Helm, of_dynamics

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from nanoos_lab.core.frames import Checkpoint, Sample
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.resources import Resources
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import EnginePolicy, Parallel, RunContext
    from nanoos_lab.engines.einstein import Crystal

#: Seconds between two looks at the context while wall time passes.
SLICE = 0.05
#: The file of a checkpoint.
STATE = "state.json"


class MockParameters(TaskParameters):
    """How the mock run behaves."""

    duration: float = field(0.0, unit="s", ge=0, le=1e6, doc="wall time of the whole run")
    fail_at: Steps | None = field(None, doc="step at which the run fails")
    fail_by: Literal["error", "bug", "crash", "hang"] = field(
        "error", doc="how it fails: an EngineError, a programming error, a killed process, deafness to stops"
    )
    fail_once: bool = field(False, doc="whether a run that goes on from a checkpoint does not fail")
    fail_reason: Reason = field(Reason.ENGINE, doc="class of the EngineError")
    needed_corrections: int = field(0, ge=0, le=100, doc="how many corrections make the failure go away; 0: none does")
    output: str = field("", doc="text for the log and for the file mock.out")

    @property
    def deterministic(self) -> bool:
        """A dry run that is answered from memory would show nothing."""
        return False


class MockStatic(MockParameters, StaticParameters):
    """Energy of atoms at rest on their sites."""


class MockRelax(MockParameters, RelaxParameters):
    """Slide into sites near to the atoms."""

    seed: Seed = field(DEFAULT_SEED, doc="seed of the sites")


class MockMD(MockParameters, MDParameters):
    """Oscillate about the sites."""


class MockEngine:
    """The engine ``mock``."""

    name = "mock"
    resumable = frozenset({"relax", "md"})
    steerable = frozenset({"md"})
    #: It only says in its log which it was given.
    parallel: frozenset[Parallel] = frozenset({"gpus"})

    @property
    def tasks(self) -> Mapping[str, type[TaskParameters]]:
        """Kind of calculation → model of its parameters."""
        return {"static": MockStatic, "relax": MockRelax, "md": MockMD}

    def probe(self) -> EngineInfo:
        """Say that it is there: it needs nothing."""
        return EngineInfo(name=self.name, found=True, version="1", where=__name__, tasks=tuple(self.tasks))

    def preload(self) -> None:
        """Import the physics: numpy and `ase.Atoms`."""
        import_module("ase")
        import_module("nanoos_lab.engines.einstein")

    def check(
        self,
        structure: Structure | None,
        task: str,
        parameters: TaskParameters,
        policy: EnginePolicy,
        files: Mapping[str, Path] | None = None,
    ) -> Mapping[str, Path]:
        """Return no files.

        Raises
        ------
        StructureError
            If there is no structure.
        """
        if structure is None:
            raise StructureError(f"engine 'mock', task {task!r} needs a structure")
        return {}

    def steers(self, task: str, parameters: TaskParameters, resources: Resources) -> Collection[str]:
        """Return the parameters of the thermostat.

        Raises
        ------
        InputError
            If there is none.
        """
        if not isinstance(parameters, MockMD):
            raise InputError(f"task {task!r} cannot be steered")
        return [name for name in of_dynamics(parameters) if name not in ("pressure", "pdamp")]

    def run(self, request: JobRequest, context: RunContext) -> Results:
        """Run a task on the structure of the request.

        Raises
        ------
        EngineError
            Where `fail_at` says so, and if a relaxation has too few steps.
        """
        from nanoos_lab.engines.einstein import Crystal

        if request.structure is None:
            raise EngineError("there is no structure", reason=Reason.INPUT)
        crystal = Crystal(request.structure)
        wanted = self.tasks[request.task](**request.parameters)
        if isinstance(wanted, MockParameters) and wanted.fail_once and context.checkpoints:
            wanted = wanted.model_copy(update={"fail_at": None})
        match wanted:
            case MockStatic() as given:
                _prepare(given, context)
                return _run_static(crystal, given, context)
            case MockRelax() as given:
                _prepare(given, context)
                return _run_relax(crystal, given, context)
            case MockMD() as given:
                _prepare(given, context)
                return _run_md(crystal, given, context)
        raise EngineError(f"there is no task {request.task!r}", reason=Reason.INPUT)


def _prepare(given: MockParameters, context: RunContext) -> None:
    if context.resources.gpus:
        context.log(f"graphics processors: {os.environ.get('CUDA_VISIBLE_DEVICES', 'all')}")
    if given.output:
        context.log(given.output)
        (context.workdir / "mock.out").write_text(given.output, encoding="utf-8")
    if given.fail_at == 0:
        _fail(given)


def _run_static(crystal: Crystal, given: MockStatic, context: RunContext) -> Results:
    context.begin(crystal.head(total=None))
    for _ in _Clock(given, 1, context).pass_steps(0, 1):
        context.progress(0)
    motion = crystal.at_rest()
    context.sample(crystal.sample(0, 0.0, motion))
    return Results(
        properties={"energy": motion.potential, "forces": motion.forces},
        structure=crystal.structure,
        provenance={"engine": "mock"},
        stopped=context.stop is not None,
    )


def _run_relax(crystal: Crystal, given: MockRelax, context: RunContext) -> Results:
    from nanoos_lab.engines.einstein import Slide

    slide = Slide(crystal, given.seed)
    needed = slide.steps_to(given.fmax)
    steps = min(needed, given.steps)

    def sample(step: int) -> Sample:
        motion = slide.at(step)
        return crystal.sample(step, 0.0, motion, (motion.fmax,))

    play = _Play(sample, given, steps, context)
    course = play.course(given.every)
    grid = Grid(play, context, every=given.every, origin=play.origin)
    context.begin(replace(crystal.head("fmax", total=None), first=course.first))
    step = drive(play, course, context, grid)
    if step % given.every and context.stop in (None, "cancel"):
        context.sample(sample(step))
    last = slide.at(step)
    stopped = context.stop is not None
    if step < needed and not stopped:
        raise EngineError(
            f"the largest force is still {last.fmax:.3g} eV/Å after {step} steps, not fmax={given.fmax} eV/Å",
            reason=Reason.CONVERGENCE,
            remedy=f"Give it more steps than {given.steps}, or a larger fmax.",
        )
    return Results(
        properties={
            "energy": last.potential,
            "forces": last.forces,
            "converged": not stopped,
            "fmax": last.fmax,
            "steps": step,
        },
        structure=crystal.moved(last),
        provenance={"engine": "mock", "seed": given.seed, **grid.provenance},
        stopped=stopped,
    )


def _run_md(crystal: Crystal, given: MockMD, context: RunContext) -> Results:
    from nanoos_lab.engines.einstein import Oscillation

    helm = Helm(context, given)

    def sample(step: int) -> Sample:
        return crystal.sample(step, step * given.timestep, swing.at(step))

    play = _Play(sample, given, given.steps, context)
    course = play.course(given.every)
    grid = Grid(play, context, every=given.every, origin=play.origin)
    helm.begin(play, course.first)
    swing = Oscillation(crystal, helm.at(0).parameters, helm.legs)
    context.begin(replace(crystal.head(total=given.steps), first=course.first))
    step = drive(play, course, context, grid, helm)
    last = swing.at(step)
    return Results(
        properties={"energy": last.potential, "forces": last.forces},
        structure=crystal.moved(last) if step else crystal.structure,
        provenance={"engine": "mock", "seed": given.seed, **grid.provenance},
        stopped=step < given.steps,
    )


class _Play:
    """A run known in advance, shown at the pace of a real one; it goes on from the newest checkpoint."""

    def __init__(self, sample: Callable[[int], Sample], given: MockParameters, steps: int, context: RunContext) -> None:
        self.sample = sample
        self._context = context
        self._last = steps
        self._step = 0
        #: The checkpoint from which it goes on.
        self.origin = resume(context, self._load)
        self._clock = _Clock(given, steps, context, self._step)

    def course(self, every: int) -> Course:
        """Return the steps that are left."""
        return Course(steps=self._last, every=every, first=self._step)

    def advance(self, steps: int) -> int:
        """Let the time of so many steps pass; those who watch see the atoms move meanwhile."""
        first, target = self._step, self._step + steps
        for step in self._clock.pass_steps(first, target):
            self._step = step
            if self._context.watched:
                self._context.live(self.sample(step))
            else:
                self._context.progress(step)
        if self._context.stop is None:
            self._step = target
        return self._step - first

    def glance(self, step: int) -> Sample:
        """Return what is known of a step."""
        return self.sample(step)

    def save(self, directory: Path) -> None:
        """Write the step, of which all else follows."""
        (directory / STATE).write_text(json.dumps({"step": self._step}), encoding="utf-8")

    def renew(self, directory: Path, step: int) -> None:
        """Forget nothing: all follows from the step, and from what holds from which step on."""

    def _load(self, checkpoint: Checkpoint) -> None:
        step = json.loads((checkpoint.directory / STATE).read_text(encoding="utf-8"))["step"]
        if step != checkpoint.step or step > self._last:
            raise ValueError(f"its state is that of step {step}")
        self._step = step


class _Clock:
    """Lets wall time pass, and fails at the step that was asked for."""

    def __init__(self, given: MockParameters, steps: int, context: RunContext, first: int = 0) -> None:
        self._given = given
        self._pace = given.duration / max(steps, 1)
        self._context = context
        self._woken = threading.Event()
        self._begin = time.monotonic() - self._pace * first
        context.on_stop(self._woken.set)

    def pass_steps(self, first: int, last: int) -> Iterator[int]:
        """Wait from one step to another, or until a stop is asked for; yield the step every now and then."""
        fail_at = self._given.fail_at
        fails = fail_at is not None and first < fail_at <= last
        due = self._begin + self._pace * (fail_at if fails and fail_at else last)
        while (left := due - time.monotonic()) > 0 and self._context.stop is None:
            self._woken.wait(min(left, SLICE))
            yield min(max(first, int((time.monotonic() - self._begin) / self._pace)), last)
        if fails and self._context.stop is None:
            _fail(self._given)


def _corrected(given: MockParameters) -> Correction | None:
    match given.needed_corrections:
        case 0:
            return None
        case 1:
            return Correction(changes={"fail_at": None}, why="without fail_at it does not fail", from_start=True)
        case more:
            changes = {"needed_corrections": more - 1}
            return Correction(changes=changes, why=f"it needs {more - 1} corrections after this one", from_start=True)


def _fail(given: MockParameters) -> NoReturn:
    match given.fail_by:
        case "error":
            raise EngineError(
                f"the mock run failed at step {given.fail_at}, as it was asked to",
                reason=given.fail_reason,
                remedy="Submit it again without fail_at.",
                correction=_corrected(given),
            )
        case "bug":
            raise RuntimeError(f"the mock run has a bug at step {given.fail_at}, as it was asked to")
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(SLICE)
