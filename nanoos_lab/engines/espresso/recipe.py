"""How to get the numbers of a job with pw.x alone: its input, the pseudopotentials, and a line of shell; pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.base import Recipe
from nanoos_lab.engines.espresso import inputs, pseudos
from nanoos_lab.engines.espresso.execution import INPUT_FILE, OUTPUT_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.espresso.parameters import EspressoParameters

_NOTES = "PW names pw.x, if it is not on the search path. Another build of it, or other ranks, round differently."


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
    text = inputs.write_inputs(request.structure.atoms(), given, found, pseudos.cutoffs(files, found))
    ranks = request.resources.ranks
    launcher = f"mpirun -n {ranks} " if ranks > 1 else ""
    start = f"OMP_NUM_THREADS={request.resources.threads} {launcher}${{PW:-pw.x}} -in {shlex.quote(INPUT_FILE)}"
    return Recipe(
        command=f"mkdir -p {inputs.OUTDIR}\n{start} > {OUTPUT_FILE}\ngrep '^!' {OUTPUT_FILE}",
        texts={INPUT_FILE: text},
        files={pseudos.role(symbol): f"{inputs.PSEUDO_DIR}/{one.name}" for symbol, one in found.items()},
        notes=_NOTES,
    )
