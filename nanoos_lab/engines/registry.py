"""Engines and tasks by name, through entry points, loaded on first use.

``nanoos_lab.engines`` names classes of engines, ``nanoos_lab.tasks`` classes of tasks that other packages add to
engines that are there. A name that an engine uses for a task of its own is always that one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import InputError, ParameterError, UnknownNameError
from nanoos_lab.core.resources import Resources
from nanoos_lab.engines.base import EngineInfo, TaskInfo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from nanoos_lab.core.frames import Results
    from nanoos_lab.core.parameters import TaskParameters
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.base import Engine, EnginePolicy, Parallel, RunContext, Task

ENGINES = "nanoos_lab.engines"
TASKS = "nanoos_lab.tasks"
#: Functions of nanoos_lab that submit many jobs, by what a user may take for a task.
WORKFLOWS = {
    "convergence": "convergence_test",
    "convergence_test": "convergence_test",
    "elastic": "elastic_constants",
    "elastic_constants": "elastic_constants",
    "eos": "equation_of_state",
    "equation_of_state": "equation_of_state",
    "phonon": "phonons",
    "phonons": "phonons",
    "ramp": "temperature_ramp",
    "temperature_ramp": "temperature_ramp",
}


@dataclass(frozen=True, kw_only=True)
class Calculation:
    """A task on an engine, whoever brings the task."""

    #: The engine.
    engine: Engine
    #: Name of the task.
    task: str
    #: Model of its parameters.
    parameters: type[TaskParameters]
    #: The task, if another package adds it to the engine.
    added: Task | None = None

    @property
    def where(self) -> str:
        """What to call it in messages."""
        return f"engine {self.engine.name!r}, task {self.task!r}"

    @property
    def resumable(self) -> bool:
        """Whether it makes checkpoints and goes on from them."""
        if self.added is not None:
            return getattr(self.added, "resumable", False)
        return self.task in getattr(self.engine, "resumable", ())

    @property
    def steerable(self) -> bool:
        """Whether parameters can be changed while it runs."""
        return self.added is None and self.task in getattr(self.engine, "steerable", ())

    @property
    def parallel(self) -> frozenset[Parallel]:
        """How a run can use more than one core."""
        return frozenset(getattr(self.engine, "parallel", ()))

    def check_resources(self, resources: Resources) -> None:
        """Raise for resources that a run could not use.

        Raises
        ------
        ParameterError
            Names them, and those that it can use.
        """
        least = Resources()
        for kind in ("ranks", "threads", "gpus"):
            asked = getattr(resources, kind)
            if asked > getattr(least, kind) and kind not in self.parallel:
                uses = f"uses only {', '.join(sorted(self.parallel))}" if self.parallel else "uses one core"
                raise ParameterError("resources", {kind: asked}, f"{self.where} {uses}")
            most = getattr(self.engine, "most", {}).get(kind)
            if most is not None and asked > most:
                raise ParameterError("resources", {kind: asked}, f"{self.where} uses at most {most}")

    @property
    def version(self) -> str:
        """Version of the engine's program as it is found here, and of the package that adds the task."""
        own = found(self.engine.name).version
        return own if self.added is None else f"{own}, {package(TASKS, self.task)}"

    def check(
        self,
        structure: Structure | None,
        parameters: TaskParameters,
        policy: EnginePolicy,
        files: Mapping[str, Path] | None = None,
    ) -> Mapping[str, Path]:
        """Check what the parameter model cannot; return the input files by their role, those given if there are some.

        Raises
        ------
        InputError
            If the run could not work.
        """
        if self.added is not None:
            return self.added.check(structure, parameters, self.engine, policy, files)
        return self.engine.check(structure, self.task, parameters, policy, files)

    def run(self, request: JobRequest, context: RunContext) -> Results:
        """Run it to its end, in an engine process of its own.

        Raises
        ------
        EngineError
            If it fails.
        """
        if self.added is not None:
            return self.added.run(request, context, self.engine)
        return self.engine.run(request, context)


def calculation(engine: str, task: str) -> Calculation:
    """Return a task on an engine; the only place where the two are brought together.

    Raises
    ------
    UnknownNameError
        If there is no such engine, or it does not do that task; carries the nearest name.
    InputError
        If the package that brings one of them is broken.
    """
    if not isinstance(engine, str):
        raise UnknownNameError("engine", engine, names())
    adapter = get(engine)
    if not isinstance(task, str):
        raise UnknownNameError(f"task of engine {engine!r}", task, _tasks_of(adapter))
    own = adapter.tasks.get(task)
    if own is not None:
        return Calculation(engine=adapter, task=task, parameters=own)
    added = _added(task)
    model = _model(engine, task) if added is not None else None
    if added is None or model is None:
        raise UnknownNameError(f"task of engine {engine!r}", task, _tasks_of(adapter), _instead(engine, task))
    return Calculation(engine=adapter, task=task, parameters=model, added=added)


def _instead(engine: str, task: str) -> str:
    """Say what has the name of a task that an engine lacks: a workflow, and the engines that have it."""
    said = []
    workflow = WORKFLOWS.get(task.lower())
    if workflow is not None:
        said.append(f"nanoos_lab.{workflow}(…, engine={engine!r}) submits the jobs that are needed for {task}.")
    others = [name for name in names() if name != engine and _offers(name, task)]
    if others:
        said.append(f"Engines with this task: {', '.join(others)}.")
    return " ".join(said)


def _offers(engine: str, task: str) -> bool:
    with suppress(Exception):
        # One that is broken is for its own user to hear of.
        return task in _tasks_of(get(engine))
    return False


# -- engines -----------------------------------------------------------------------------------------------------------


def names() -> tuple[str, ...]:
    """Return the names of all declared engines, found or not."""
    return _names(ENGINES)


@cache
def get(name: str) -> Engine:
    """Load the engine of that name.

    Raises
    ------
    UnknownNameError
        If no installed package declares it; carries the nearest name.
    InputError
        If its package is broken, or several packages declare it.
    """
    if name not in names():
        raise UnknownNameError("engine", name, names())
    engine: Engine = _loaded(ENGINES, name, "engine")
    return engine


@cache
def found(name: str) -> EngineInfo:
    """Return what an engine's own probe says, asked once in a process; never raises."""
    try:
        return get(name).probe()
    except Exception as error:
        return EngineInfo(name=name, found=False, missing=_broken(ENGINES, name, error))


def probe_all() -> list[EngineInfo]:
    """Look for every declared engine; a broken plug-in is listed, never raised."""
    return [probe(name) for name in names()]


def probe(name: str) -> EngineInfo:
    """Look for an engine's program; never raises.

    What an engine can do is read off the engine here, so that all say it in the same way.
    """
    try:
        engine = get(name)
        tasks = _tasks_of(engine)
        return replace(
            engine.probe(),
            tasks=tasks,
            resumable=tuple(task for task in tasks if calculation(name, task).resumable),
            steerable=tuple(sorted(getattr(engine, "steerable", ()))),
            parallel=tuple(sorted(getattr(engine, "parallel", ()))),
        )
    except Exception as error:
        return EngineInfo(name=name, found=False, missing=_broken(ENGINES, name, error))


# -- tasks that other packages add -------------------------------------------------------------------------------------


def added_names() -> tuple[str, ...]:
    """Return the names of all declared tasks that packages add to engines of others."""
    return _names(TASKS)


@cache
def added_task(name: str) -> Task:
    """Load the task of that name.

    Raises
    ------
    UnknownNameError
        If no installed package declares it; carries the nearest name.
    InputError
        If its package is broken, or several packages declare it.
    """
    if name not in added_names():
        raise UnknownNameError("task", name, added_names())
    task: Task = _loaded(TASKS, name, "task")
    return task


def probe_tasks() -> list[TaskInfo]:
    """Look at every task that packages add to engines; a broken one is listed, never raised."""
    return [_probe_task(name) for name in added_names()]


def _probe_task(name: str) -> TaskInfo:
    brought = package(TASKS, name)
    try:
        added_task(name)
        engines = tuple(engine for engine in names() if _runs_on(name, engine))
    except Exception as error:
        return TaskInfo(name=name, package=brought, missing=_broken(TASKS, name, error))
    return TaskInfo(name=name, package=brought, engines=engines, missing="" if engines else "it runs on no engine here")


@cache
def _model(engine: str, task: str) -> type[TaskParameters] | None:
    return added_task(task).parameters(get(engine))


def _added(name: str) -> Task | None:
    try:
        return added_task(name)
    except UnknownNameError:
        return None


def _runs_on(task: str, engine: str) -> bool:
    """Say whether an added task runs on an engine; one that has a task of that name itself knows no other."""
    try:
        return task not in get(engine).tasks and _model(engine, task) is not None
    except Exception:
        return False


def _tasks_of(engine: Engine) -> tuple[str, ...]:
    """Return the names of all tasks on an engine, its own first."""
    return (*engine.tasks, *(name for name in added_names() if _runs_on(name, engine.name)))


# -- entry points ------------------------------------------------------------------------------------------------------


@cache
def package(group: str, name: str) -> str:
    """Return the package that declares a name, with its version; empty if nobody knows."""
    brought = [point.dist for point in entry_points(group=group, name=name) if point.dist is not None]
    return ", ".join(f"{dist.name} {dist.version}" for dist in brought)


def forget() -> None:
    """Forget what was loaded, as after an installation into the running process."""
    for cached in (get, found, added_task, _model, package):
        cached.cache_clear()


def _names(group: str) -> tuple[str, ...]:
    return tuple(sorted(entry_points(group=group).names))


def _point(group: str, name: str) -> EntryPoint:
    """Return the entry point of a name that is declared.

    Raises
    ------
    InputError
        If several packages declare it differently: which one a user meant cannot be known.
    """
    points = {point.value: point for point in entry_points(group=group, name=name)}
    if len(points) > 1:
        raise InputError(f"{name!r} is declared by several packages: {package(group, name)}; uninstall all but one")
    (point,) = points.values()
    return point


def _loaded(group: str, name: str, what: str) -> Any:
    """Load what an entry point names, and make one.

    Raises
    ------
    InputError
        If it is broken, or declared by several packages.
    """
    point = _point(group, name)
    try:
        return point.load()()
    except Exception as error:
        raise InputError(f"{what} {name!r} cannot be used: {_broken(group, name, error)}") from error


def _broken(group: str, name: str, error: BaseException) -> str:
    if isinstance(error, InputError) and error.__cause__ is not None:
        # It was wrapped for those who asked for it.
        error = error.__cause__
    brought: Any = package(group, name)
    return f"its plug-in{f' in {brought}' if brought else ''} cannot be loaded: {error or type(error).__name__}"
