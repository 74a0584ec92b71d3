"""What the contract suite needs to know of an engine, and how it runs one: in a process of its own, as a worker does.

A new engine is one more `Case` in `CASES`; that of another package is in its own `CASES`, in a module that the variable
`VARIABLE` names.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk, molecule

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.request import FileRef, JobRequest
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.store.checkpoints import find
from tests.engines.context import RecordingContext
from tests.engines.espresso.running import SILICON, silicon
from tests.engines.vasp.conftest import REPLAY
from tests.engines.vasp.running import atoms_of
from tests.engines.vasp.synthetic import Run as Recording
from tests.engines.vasp.synthetic import potcar
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.frames import Results, RunHead, Sample
    from nanoos_lab.core.record import Steering
    from nanoos_lab.engines.base import StopReason

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.engines.preloaded"])


@dataclass(frozen=True, kw_only=True)
class Case:
    """An engine, and runs of it that take about a second."""

    #: Name of the engine.
    engine: str
    #: What it computes.
    atoms: Callable[[], Atoms]
    #: Parameters that every task needs.
    common: Mapping[str, Any] = field(default_factory=dict)
    #: Parameters of short runs by task; those with `every` have frames at its multiples.
    tasks: Mapping[str, Mapping[str, Any]]
    #: Parameters of runs that take minutes, by task: to be stopped.
    long: Mapping[str, Mapping[str, Any]]
    #: A task and parameters of which one is out of its range, and its name.
    bad: tuple[str, Mapping[str, Any], str]
    #: A task and parameters with which the run fails.
    failing: tuple[str, Mapping[str, Any]]
    #: Hides the program; None for an engine that needs none.
    hide: Callable[[pytest.MonkeyPatch], None] | None
    #: Python modules, and variables with programs, without which a run cannot begin.
    needs: tuple[str, ...] = ()
    #: Whether it is tested only where it is found, in CI too: large, or compiled.
    optional: bool = False
    #: How far energies of a run that went on may be from those of one that was not stopped, in eV.
    resumed: float = 1e-7
    #: Whether there are no forces, wherever the atoms of the structure are.
    at_rest: bool = False
    #: How far forces may be from differences of the energy, in eV/Å.
    forces: float = 1e-4
    #: How far positions may be from what velocities say, in Å/fs; None where there is only the step to go by.
    velocities: float | None = 1e-5
    #: Stages a recording in a directory, for a task of a short, long or failing run, and returns the variables with
    #: which a replay plays it. What is computed is not looked at, nor how it goes on: a recording follows no wishes.
    stage: Callable[[Path, str, str], Mapping[str, str]] | None = None

    def parameters(self, task: str, **more: Any) -> dict[str, Any]:
        """Return the parameters of a short run."""
        return {**self.common, **self.tasks[task], **more}


def _without_package(engine: str) -> Callable[[pytest.MonkeyPatch], None]:
    def hide(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(type(registry.get(engine)), "package", "not-on-this-computer")

    return hide


def _without_lammps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("nanoos_lab.engines.lammps.library.folder", lambda: None)
    patch.setattr("nanoos_lab.engines.lammps.library.version", lambda: "")


def _without_pwx(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("NANOOS_PW_X", "/not/on/this/computer/pw.x")


def _without_vasp(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("NANOOS_VASP_STD", "/not/on/this/computer")


def _vasp(place: Path, task: str, kind: str) -> Mapping[str, str]:
    """Have the replay of the tests stand in for VASP."""
    program, potential = place / "vasp_std", place / "potentials" / "potpaw_PBE" / "Si" / "POTCAR"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -I {REPLAY}\n")
    program.chmod(0o755)
    potential.parent.mkdir(parents=True)
    potential.write_text(potcar("Si"))
    steps = 500 if kind == "long" else {"static": 1, "relax": 4, "md": 8}[task]
    made = Recording(steps=steps, md=task == "md", accurate=task == "relax", last_force=0.005)
    return {
        "NANOOS_VASP_STD": str(program),
        "VASP_PP_PATH": str(place / "potentials"),
        "VASP_REPLAY": str(made.write(place / "recording")),
        "VASP_REPLAY_SPEED": "1" if kind == "long" else "1000",
        "VASP_REPLAY_EXIT": "1" if kind == "failing" else "0",
        "VASP_REPLAY_DIARY": str(place / "diary.jsonl"),
    }


def _copper() -> Atoms:
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.rattle(0.05, seed=1)
    return atoms


def _water() -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


def _salt() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.69, cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def _hydrogen() -> Atoms:
    atoms = molecule("H2")
    atoms.center(vacuum=2.5)
    atoms.rattle(0.05, seed=1)
    return atoms


_MD = {"steps": 7, "every": 3, "timestep": 1.0, "temperature": 300}
_RELAX = {"fmax": 0.02, "every": 2}
_LONG_MD = {"steps": 10**8, "every": 10, "timestep": 1.0, "temperature": 300}

CASES = (
    Case(
        engine="mock",
        atoms=_copper,
        tasks={"static": {}, "relax": _RELAX, "md": _MD},
        long={
            "static": {"duration": 600},
            "relax": {"duration": 60, "fmax": 1e-100, "steps": 10**4},
            "md": {**_LONG_MD, "duration": 10**6},
        },
        bad=("static", {"duration": -1}, "duration"),
        failing=("md", {**_MD, "fail_at": 4}),
        hide=None,
        at_rest=True,
    ),
    Case(
        engine="ase",
        atoms=_copper,
        common={"calculator": "emt"},
        tasks={"static": {}, "relax": _RELAX, "md": _MD},
        long={"relax": {"fmax": 1e-14, "steps": 10**6, "optimizer": "MDMin"}, "md": _LONG_MD},
        bad=("md", {**_MD, "timestep": -1}, "timestep"),
        failing=("relax", {"steps": 1, "fmax": 1e-6}),
        hide=_without_package("ase"),
    ),
    Case(
        engine="lammps",
        atoms=_copper,
        common={"potential": "Cu_u3.eam"},
        tasks={"static": {}, "relax": _RELAX, "md": _MD},
        long={"md": _LONG_MD},
        bad=("md", {**_MD, "temperature": -1}, "temperature"),
        failing=("relax", {"steps": 1, "fmax": 1e-6}),
        hide=_without_lammps,
        needs=("lammps",),
    ),
    Case(
        engine="tblite",
        atoms=_water,
        common={"method": "GFN2-xTB"},
        tasks={"static": {}, "relax": _RELAX, "md": {**_MD, "timestep": 0.5}},
        long={"md": {**_LONG_MD, "timestep": 0.5}},
        bad=("static", {"accuracy": 0}, "accuracy"),
        failing=("relax", {"steps": 1, "fmax": 1e-6}),
        hide=_without_package("tblite"),
        needs=("tblite",),
        resumed=1e-6,
    ),
    Case(
        engine="espresso",
        atoms=lambda: silicon(shift=0.1),
        common=SILICON,
        tasks={
            "static": {},
            "relax": {"fmax": 0.05, "every": 1},
            "md": {"steps": 3, "every": 1, "timestep": 1.0},
        },
        long={"md": {"steps": 10**6, "every": 1, "timestep": 1.0}},
        bad=("static", {"ecutwfc": -1}, "ecutwfc"),
        failing=("static", {"scf_iterations": 2}),
        hide=_without_pwx,
        needs=("NANOOS_PW_X",),
        resumed=1e-4,
        # The potential of the ions does not follow an atom exactly on so coarse a grid.
        forces=5e-2,
        velocities=None,
    ),
    Case(
        engine="vasp",
        atoms=lambda: atoms_of(Recording()),
        common={"xc": "PBE"},
        tasks={"static": {}, "relax": {"fmax": 0.02, "every": 2}, "md": _MD},
        long={"relax": {"fmax": 1e-6, "steps": 1000}, "md": {**_LONG_MD, "steps": 1000}},
        bad=("static", {"encut": -1}, "encut"),
        failing=("static", {}),
        hide=_without_vasp,
        stage=_vasp,
    ),
    Case(
        engine="chgnet",
        optional=True,
        atoms=_salt,
        common={"model": "0.3.0"},
        tasks={"static": {}, "relax": _RELAX, "md": _MD},
        long={"relax": {"fmax": 1e-14, "steps": 10**6, "optimizer": "MDMin"}, "md": _LONG_MD},
        bad=("md", {**_MD, "timestep": -1}, "timestep"),
        failing=("relax", {"steps": 1, "fmax": 1e-6}),
        hide=_without_package("chgnet"),
        needs=("chgnet",),
        # Single precision.
        resumed=1e-4,
        forces=1e-2,
    ),
    Case(
        engine="gpaw",
        optional=True,
        atoms=_hydrogen,
        common={"xc": "PBE", "ecut": 300, "smearing": 0},
        tasks={"static": {}, "relax": _RELAX, "md": {**_MD, "timestep": 0.5}},
        long={"relax": {"fmax": 1e-14, "steps": 10**6, "optimizer": "MDMin"}, "md": {**_LONG_MD, "timestep": 0.5}},
        bad=("static", {"ecut": -1}, "ecut"),
        failing=("relax", {"steps": 1, "fmax": 1e-6}),
        hide=_without_package("gpaw"),
        needs=("gpaw",),
        resumed=1e-4,
        forces=1e-2,
    ),
)
#: Names a module with `CASES` that are tested instead of ours.
VARIABLE = "NANOOS_CONTRACT_CASES"


def _found() -> dict[str, Case]:
    """Return the cases to test by engine; of ours those that are there, in CI all that are not optional."""
    if theirs := os.environ.get(VARIABLE):
        return {case.engine: case for case in import_module(theirs).CASES}
    surely = bool(os.environ.get("NANOOS_CI"))
    return {
        case.engine: case
        for case in CASES
        if case.stage or (surely and not case.optional) or registry.found(case.engine).found
    }


FOUND = _found()


@dataclass(frozen=True)
class Run:
    """What a run handed over and how it ended."""

    #: None if it failed.
    results: Results | None
    head: RunHead | None
    samples: list[Sample]
    #: Samples, and frames alone, that were shown to those who watch.
    live: list[Sample]
    progress: list[int]
    #: Steps of the checkpoints that it made.
    made: list[int]
    log: str
    #: At which step each steering was applied, by its number.
    steered: dict[int, int]
    #: Wall seconds between the stop that was asked for and the end.
    took: float = 0.0
    error: tuple[str, Any, str] | None = None

    @property
    def columns(self) -> list[str]:
        assert self.head is not None
        return [column.name for column in self.head.columns]

    @property
    def steps(self) -> list[int]:
        return [sample.step for sample in self.samples]

    def series(self, column: str) -> np.ndarray[Any, Any]:
        return np.array([sample.row[self.columns.index(column)] for sample in self.samples])

    def __getitem__(self, name: str) -> Any:
        assert self.results is not None, self.error
        return self.results.properties[name]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What befalls a run."""

    #: Ask for a stop, for that reason, so many wall seconds after the first sample, and not before the second.
    stop: StopReason | None = None
    after: float = 0.3
    #: Whether it goes on from the checkpoints that an earlier run has left in the same directory.
    resume: bool = False
    #: Ask for that stop once so many samples have come, instead.
    samples: int | None = None
    #: Watch, and ask for that stop once so many samples were shown, instead.
    live: int | None = None
    #: Changes of parameters that are asked for once a step is reported, and those that are known before.
    steer_at: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    steerings: tuple[Steering, ...] = ()
    #: What a recording is to show: a "short", "long" or "failing" run.
    kind: str = "short"
    #: Variables of the environment.
    variables: Mapping[str, str] = field(default_factory=dict)
    #: What the process does not have: Python modules, and variables with programs.
    without: tuple[str, ...] = ()


def submitted(
    engine: str, task: str, atoms: Atoms | None, parameters: Mapping[str, Any]
) -> tuple[JobRequest, Mapping[str, Path]]:
    """Do what a submit does: validate, check, name the files by content."""
    calculation = registry.calculation(engine, task)
    given = validate(calculation.parameters, parameters, where=calculation.where)
    structure = None if atoms is None else Structure.encode(atoms)
    files = dict(calculation.check(structure, given, EnginePolicy()))
    refs = {
        role: FileRef(name=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for role, path in files.items()
    }
    plain = given.model_dump(mode="json")
    return JobRequest(structure=structure, engine=engine, task=task, parameters=plain, files=refs), files


def run(
    case: Case,
    task: str,
    directory: Path,
    parameters: Mapping[str, Any],
    *,
    atoms: Atoms | None = None,
    options: Options | None = None,
) -> Run:
    """Run a task in a process of its own."""
    directory.mkdir(exist_ok=True)
    options = options or Options()
    with pytest.MonkeyPatch.context() as patch:
        if case.stage is not None:
            staged = directory.with_name(f"{directory.name} staged")
            staged.mkdir()
            options = replace(options, variables=case.stage(staged, task, options.kind))
        for name, value in options.variables.items():
            patch.setenv(name, value)
        request, files = submitted(case.engine, task, atoms or case.atoms(), parameters)
    ours, theirs = _FORKS.Pipe()
    arguments = (theirs, request.to_json(), request.structure, files, directory, options)
    process = _FORKS.Process(target=_run, args=arguments)
    process.start()
    theirs.close()
    try:
        kind, value = ours.recv()
    finally:
        ours.close()
        process.join(90)
    assert kind == "run", value
    return value


def _run(pipe: Connection, data: dict[str, Any], structure: Structure, files: Any, place: Path, options: Any) -> None:
    try:
        pipe.send(("run", _followed(JobRequest.from_json(data, structure), files, place, options)))
    except BaseException:
        pipe.send(("bug", traceback.format_exc()))
    # Not the way out of Python: a library that was loaded may have its own ideas of an end.
    pipe.close()
    os._exit(0)


def _followed(request: JobRequest, files: Mapping[str, Path], place: Path, options: Options) -> Run:
    number = len(list(place.iterdir())) + 1
    work = place / str(number)
    work.mkdir()
    os.chdir(work)
    earlier = [place / str(before) / "checkpoints" for before in range(1, number)] if options.resume else []
    context = _Context(
        workdir=work,
        files=files,
        checkpoint_interval=600.0 if options.stop or options.resume else 0.0,
        checkpoints=find(earlier).checkpoints,
        steer_at={step: dict(changes) for step, changes in options.steer_at.items()},
        steerings=list(options.steerings),
    )
    asked: list[float] = []
    context.still = request.task == "static"
    if options.stop is not None:
        context.stop_reason = options.stop
        context.stop_after_samples = options.samples
        context.watched, context.stop_after_live = options.live is not None, options.live
    if options.stop is not None and options.samples is None and options.live is None:
        threading.Thread(target=_stop, args=(context, options.after, asked), daemon=True).start()
    told: dict[str, Any] = {"results": None}
    os.environ.update(options.variables)
    for name in options.without:
        if name.isupper():
            os.environ[name] = "/not/on/this/computer"
        else:
            sys.modules[name] = None  # type: ignore[assignment]
    try:
        results = registry.calculation(request.engine, request.task).run(request, context)
        # As through the pipe of a worker.
        plain = json.loads(json.dumps(dict(results.provenance)))
        told = {
            "results": replace(
                results, properties=dict(results.properties), units=dict(results.units), provenance=plain
            )
        }
    except EngineError as error:
        told["error"] = (error.message, error.reason, error.remedy)
    took = time.monotonic() - asked[0] if asked else 0.0
    return Run(
        head=context.head,
        samples=context.samples,
        live=context.live_samples,
        progress=context.progress_steps,
        made=context.checkpoint_made,
        log="\n".join(context.logged),
        steered=context.steps_steered,
        took=took,
        **told,
    )


class _Context(RecordingContext):
    """One of a run without motion counts as begun with its head: some have no sample until their end."""

    still: bool = False

    def begin(self, head: RunHead) -> None:
        super().begin(head)
        if self.still:
            self.begun.set()


def _stop(context: _Context, after: float, asked: list[float]) -> None:
    context.begun.wait(90)
    time.sleep(after)
    until(lambda: context.still or len(context.samples) > 1)
    asked.append(time.monotonic())
    context.ask_to_stop()
