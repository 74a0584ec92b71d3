"""Task ``script``: from the user's input text to results."""

from __future__ import annotations

import math
import os
import shutil
from contextlib import chdir, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from ase import Atoms

from nanoos_lab.core.errors import EngineError, ParameterError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import silence
from nanoos_lab.engines.lammps import inputs, library, units
from nanoos_lab.engines.lammps.program import LOG_FILE
from nanoos_lab.engines.lammps.ranks.program import FILES as RANKS_FILES
from nanoos_lab.engines.lammps.ranks.program import program_for
from nanoos_lab.engines.lammps.script import chosen, datafiles, includes, sources
from nanoos_lab.engines.lammps.script.interpreter import Interpreter
from nanoos_lab.engines.lammps.script.recorder import Recorder
from nanoos_lab.engines.lammps.script.runner import Plan, Runner
from nanoos_lab.engines.lammps.script.text import lines_of, words_of
from nanoos_lab.engines.lammps.session import INPUT_FILE, provenance
from nanoos_lab.engines.lammps.system import System
from nanoos_lab.engines.paths import users_path
from nanoos_lab.engines.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import EnginePolicy, RunContext
    from nanoos_lab.engines.lammps.parameters import LammpsScriptParameters
    from nanoos_lab.engines.lammps.program import Program
    from nanoos_lab.engines.lammps.script.includes import Text

#: Files in the working directory that are not the user's.
_OURS = (INPUT_FILE, LOG_FILE, inputs.DATA_FILE, *RANKS_FILES)


def check(
    parameters: LammpsScriptParameters,
    policy: EnginePolicy,
    structure: Structure | None = None,
    files: Mapping[str, Path] | None = None,
) -> Mapping[str, Path]:
    """Check a script; return the files that it needs, by role: those given, or else those that it names.

    Raises
    ------
    InputError
        Names the line, the command and why it is refused.
    ParameterError
        If a file is not there, or the structure is not in the script's units.
    """
    given = _given(parameters) if files is None else {}
    texts = includes.texts_of(parameters.script, given, allow_shell=policy.allow_shell)
    if structure is not None:
        _check_units(parameters.script)
    if files is not None:
        return files
    chosen.check(texts)
    found = {**given, **_of_lammps(texts, given)}
    if not policy.allow_shell:
        for name in _read_as_data(texts) & given.keys():
            datafiles.check(given[name])
    sources.check(texts, found, allow_shell=policy.allow_shell)
    return {f"file_{index}": path for index, path in enumerate(found.values(), start=1)}


def _given(parameters: LammpsScriptParameters) -> dict[str, Path]:
    """Find the user's own files, by name."""
    found: dict[str, Path] = {}
    for name in parameters.files:
        path = users_path(name, "files")
        if not path.is_file():
            raise ParameterError("files", name, f"there is no file {path.absolute()}")
        if path.name in _OURS or path.name in found:
            raise ParameterError("files", name, f"there is another file {path.name!r} in the working directory")
        found[path.name] = path.absolute()
    return found


def _read_as_data(texts: Sequence[Text]) -> set[str]:
    """Return the names of the data files that a script reads."""
    commands = (command for text in texts for command in text.commands)
    return {os.path.normpath(words[1]) for words in commands if words[0] == "read_data" and len(words) > 1}


def _of_lammps(texts: Sequence[Text], given: Mapping[str, Path]) -> dict[str, Path]:
    """Find the files of LAMMPS that commands name, and nobody else, by name."""
    folder = library.potentials_folder()
    if folder is None:
        return {}
    words = {word for text in texts for command in text.commands for word in command[1:]}
    plain = sorted(word for word in words - given.keys() if Path(word).name == word)
    return {name: folder / name for name in plain if (folder / name).is_file()}


def _check_units(script: str) -> None:
    """Raise if the script has units in which lengths are not in Å, as they are in the structure's data file."""
    system = units.SYSTEMS.get(_says(script, "units"))
    if system is not None and system.length != 1.0:
        name = _says(script, "units")
        raise ParameterError(
            "script",
            f"units {name}",
            f"the structure's data file is in Å: 'units metal' or 'units real', or a data file of yours in {name!r}",
        )


def run(request: JobRequest, parameters: LammpsScriptParameters, context: RunContext) -> Results:
    """Execute a script in the working directory."""
    system = system_of(request, parameters)
    with chdir(context.workdir):
        for role, path in context.files.items():
            # Copies: a script may write to any name in its directory.
            shutil.copyfile(path, Path(request.files[role].name).name)
        Path(INPUT_FILE).write_text(parameters.script, encoding="utf-8")
        if system is not None:
            Path(inputs.DATA_FILE).write_text(inputs.data_file(system, masses=True), encoding="utf-8")
        quiet = context.patience(silence.patience(parameters.silence))
        with quiet, program_for(context, plain=True) as program:
            context.on_stop(program.interrupt)
            recorder = _recorder(program, parameters, context, system)
            runner = Runner(program, recorder, context)
            Interpreter(program, runner, context).execute(parameters.script)
            return _results(request, parameters, program, recorder, runner)


def system_of(request: JobRequest, parameters: LammpsScriptParameters) -> System | None:
    """Return the structure as the script reads it: in its units, with charges if its atoms have some."""
    if request.structure is None:
        return None
    charged = _says(parameters.script, "atom_style") == "charge"
    known: dict[str, Literal["metal", "real", "lj"]] = {"real": "real", "lj": "lj"}
    unit_system = known.get(_says(parameters.script, "units"), "metal")
    return System.of(request.structure.atoms(), unit_system, charged=charged)


def _says(script: str, command: str) -> str:
    """Return the first argument of the first such command; empty if there is none."""
    commands = ([word.text for word in words_of(line.text)] for line in lines_of(script))
    return next((words[1] for words in commands if words[0] == command and len(words) > 1), "")


def _recorder(
    program: Program, parameters: LammpsScriptParameters, context: RunContext, system: System | None
) -> Recorder:
    commands = [words_of(line.text) for line in lines_of(parameters.script)]
    return Recorder(
        program,
        context,
        elements=parameters.elements or (system.symbols if system else ()),
        box=system.box if system else None,
        plan=Plan.of(commands),
        convert=parameters.convert,
    )


def _results(
    request: JobRequest,
    parameters: LammpsScriptParameters,
    program: Program,
    recorder: Recorder,
    runner: Runner,
) -> Results:
    stopped = runner.stopped
    judged = {} if stopped or runner.caveat is None else verdict(*filter(None, [runner.caveat]))
    return Results(
        properties={} if stopped else {**_properties(program, recorder, normalised=runner.normalised), **judged},
        structure=_structure(program, recorder),
        provenance={
            **provenance(request, program.version, program.suffix, program.ranks),
            "commands": parameters.script,
        },
        stopped=stopped,
    )


def _properties(program: Program, recorder: Recorder, *, normalised: bool) -> dict[str, Any]:
    """Return the energy (eV) and forces (eV/Å) of the last step, where the units are not reduced."""
    if not recorder.has_begun:
        return {}
    system = units.SYSTEMS[program.units]
    found: dict[str, Any] = {"steps": recorder.step_of(program.step)}
    if system.energy is None:
        return found
    with suppress(EngineError):
        # Not every script has LAMMPS tally it.
        energy = program.thermo("pe") * system.energy * (program.atoms if normalised else 1)
        if math.isfinite(energy):
            found["energy"] = energy
            found["forces"] = recorder.turned(program.per_atom("f")) * (system.energy / system.length)
    return found


def _structure(program: Program, recorder: Recorder) -> Structure | None:
    """Return the atoms as they are at the end, if there are any."""
    if not program.atoms:
        return None
    frame = recorder.snapshot()
    numbers = recorder.numbers()
    if not np.isfinite(frame.positions).all():
        return None
    return Structure.encode(Atoms(numbers=numbers, positions=frame.positions, cell=frame.cell, pbc=program.pbc))
