"""LAMMPS opened for one request: its files, its commands, and what made the results."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack, chdir, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import InputError
from nanoos_lab.core.frames import Results
from nanoos_lab.engines.lammps import inputs, place
from nanoos_lab.engines.lammps.ranks.program import program_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Self

    from ase import Atoms

    from nanoos_lab.core.request import FileRef, JobRequest
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.lammps.parameters import PotentialParameters
    from nanoos_lab.engines.lammps.place import Place
    from nanoos_lab.engines.lammps.program import Program
    from nanoos_lab.engines.lammps.simulation import Simulation
    from nanoos_lab.engines.lammps.system import System

#: The executed commands, in the working directory.
INPUT_FILE = "in.lammps"
#: LAMMPS's restart file, in the working directory.
RESTART_FILE = "restart.lammps"


@contextmanager
def prepared(
    request: JobRequest, parameters: PotentialParameters, context: RunContext, atoms: Atoms | None = None
) -> Iterator[Place]:
    """Write the data file, for the atoms given or else those of the request, and link the potential files."""
    if request.structure is None:
        raise InputError("this task needs a structure")
    with ExitStack() as stack:
        stack.enter_context(chdir(context.workdir))
        names = plain_names(request.files)
        for role, path in context.files.items():
            stack.enter_context(_linked(path, names[role]))
        found = place.of(atoms or request.structure.atoms(), parameters, context.files, names)
        data = inputs.data_file(found.system, skewed=inputs.skews(parameters))
        (context.workdir / inputs.DATA_FILE).write_text(data)
        yield found


@dataclass(frozen=True, kw_only=True)
class Session:
    """LAMMPS opened for one request, in its working directory."""

    #: LAMMPS.
    program: Program
    #: The structure.
    system: System
    #: Commands of the force field.
    force_field: list[str]
    #: The run's context.
    context: RunContext
    #: What closes with the session.
    stack: ExitStack
    #: What made the results, save for what a task adds.
    provenance: dict[str, Any]

    @classmethod
    def open(
        cls, request: JobRequest, parameters: PotentialParameters, context: RunContext, atoms: Atoms | None = None
    ) -> Self:
        """Prepare the working directory and start LAMMPS."""
        with ExitStack() as stack:
            found = stack.enter_context(prepared(request, parameters, context, atoms))
            program = stack.enter_context(program_for(context, parameters=request.parameters))
            context.on_stop(program.interrupt)
            return cls(
                program=program,
                system=found.system,
                force_field=found.force_field,
                context=context,
                provenance=provenance(request, program.version, program.suffix, program.ranks),
                stack=stack.pop_all(),
            )
        raise AssertionError("ExitStack swallows no errors")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def execute(self, lines: list[str]) -> None:
        """Execute commands, and append them to the input file first."""
        self.note(lines)
        for line in lines:
            self.program.command(line)

    def note(self, lines: list[str]) -> None:
        """Append commands to the input file that are executed in another form, or chunk by chunk."""
        with (self.context.workdir / INPUT_FILE).open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)

    def results(
        self, simulation: Simulation, extra: dict[str, Any], *, stopped: bool = False, **properties: Any
    ) -> Results:
        """Return the results for the present structure.

        Of a run that was stopped only the structure is certain: energies were not tallied at its last step.
        """
        return Results(
            properties={} if stopped else {**simulation.properties(), **properties},
            structure=simulation.structure(),
            provenance={
                **self.provenance,
                **extra,
                "commands": (self.context.workdir / INPUT_FILE).read_text(encoding="utf-8"),
            },
            stopped=stopped,
        )

    def write_restart(self) -> None:
        """Write a restart file that is either whole or not there; no chunk may follow it in this run."""
        self.program.command(f"write_restart {RESTART_FILE}.part")
        os.replace(self.context.workdir / f"{RESTART_FILE}.part", self.context.workdir / RESTART_FILE)


def plain_names(files: Mapping[str, FileRef]) -> dict[str, str]:
    """Return what to call files in a directory with the data file and the input, by role: no two alike."""
    taken = {inputs.DATA_FILE, INPUT_FILE}
    names = {}
    for role, ref in files.items():
        plain = re.sub(r"[^A-Za-z0-9_.+-]", "_", ref.name)
        names[role] = f"{role}_{plain}" if plain in taken else plain
        taken.add(names[role])
    return names


@contextmanager
def _linked(target: Path, name: str) -> Iterator[None]:
    """Keep a symbolic link in the working directory while a run lasts, so that its input names plain files."""
    os.symlink(target.resolve(), name)
    try:
        yield
    finally:
        os.unlink(name)


def provenance(request: JobRequest, version: int | str, suffix: str, ranks: int = 1) -> dict[str, Any]:
    """Return what made the results: program, version, variant, input files, and the MPI ranks if there are many."""
    return {
        "program": "LAMMPS",
        "version": str(version),
        "suffix": suffix,
        **({"ranks": ranks} if ranks > 1 else {}),
        "files": {role: {"name": ref.name, "sha256": ref.sha256} for role, ref in request.files.items()},
    }
