"""How to get the numbers of a job with pw.x alone: its input, the pseudopotentials, and a line of shell; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError
from nanoos_lab.core.resources import Resources
from nanoos_lab.engines.base import Recipe
from nanoos_lab.engines.espresso import inputs, phonons, pseudos, states
from nanoos_lab.engines.espresso.execution import INPUT_FILE, OUTPUT_FILE
from nanoos_lab.engines.espresso.parameters import EspressoDosParameters, EspressoGammaPhononsParameters

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.espresso.parameters import EspressoParameters

_NOTES = (
    "PW, DOS, PH and DYNMAT name pw.x, dos.x, ph.x and dynmat.x, if they are not on the search path. Another build of\n"
    "them, or other ranks, round differently."
)


def recipe(request: JobRequest, given: EspressoParameters, files: Mapping[str, Path]) -> Recipe:
    """Return how to get the numbers of a job, from its first step on.

    Raises
    ------
    InputError
        If the structure is not known.
    """
    if request.structure is None:
        raise InputError("without a structure there is nothing to reproduce")
    names = {role: ref.name for role, ref in request.files.items()}
    found = pseudos.read_all(files, names)
    cutoffs = pseudos.cutoffs(files, found)
    atoms = request.structure.atoms()
    inputs.set_in_motion(atoms, given)
    texts = {INPUT_FILE: inputs.write_inputs(atoms, given, found, cutoffs)}
    lines = [
        f"mkdir -p {inputs.OUTDIR}",
        _line("${PW:-pw.x}", INPUT_FILE, request.resources),
        f"grep '^!' {OUTPUT_FILE}",
    ]
    if stem := states.calculation(given):
        start = states.second_start(atoms, given, inputs.electrons(atoms, given, found))
        texts[f"{stem}.in"] = inputs.write_inputs(atoms, given, found, cutoffs, start)
        lines.append(_line("${PW:-pw.x}", f"{stem}.in", request.resources))
    if isinstance(given, EspressoDosParameters):
        texts[states.DOS_INPUT] = states.dos_input(given)
        lines.append(_line("${DOS:-dos.x}", states.DOS_INPUT, request.resources))
    if isinstance(given, EspressoGammaPhononsParameters):
        texts |= {phonons.INPUT: phonons.ph_input(given), phonons.MODES_INPUT: phonons.modes_input(given)}
        lines.append(_line("${PH:-ph.x}", phonons.INPUT, request.resources))
        lines.append(_line("${DYNMAT:-dynmat.x}", phonons.MODES_INPUT, Resources()))
        lines.append(f"grep freq {phonons.MODES}")
    return Recipe(
        command="\n".join(lines),
        texts=texts,
        files={pseudos.role(symbol): f"{inputs.PSEUDO_DIR}/{inputs.pseudo_file(symbol)}" for symbol in found},
        notes=_NOTES,
    )


def _line(program: str, name: str, resources: Resources) -> str:
    launcher = f"mpirun -n {resources.ranks} " if resources.ranks > 1 else ""
    output = name.removesuffix(".in") + ".out"
    # A program that breaks off says why, and does not see to it that this reaches a file.
    environment = f"GFORTRAN_UNBUFFERED_PRECONNECTED=y OMP_NUM_THREADS={resources.threads}"
    return f"{environment} {launcher}{program} -in {name} > {output}"
