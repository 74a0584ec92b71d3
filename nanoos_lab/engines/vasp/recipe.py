"""How to get the numbers of a job with VASP alone: its input files but for the POTCAR, and a line of shell; pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.base import Recipe
from nanoos_lab.engines.vasp import states
from nanoos_lab.engines.vasp.parameters import VaspBandsParameters
from nanoos_lab.engines.vasp.poscar import Order
from nanoos_lab.engines.vasp.running import OUTPUT, write_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.vasp.parameters import Given

_NOTES = (
    "VASP_PP_PATH names the directory of your own POTCARs, which are licensed and so are not here; they are compared\n"
    "with those of the job before VASP starts. VASP names its executable, if it is not vasp_std."
)


def recipe(request: JobRequest, given: Given, provenance: Mapping[str, Any]) -> Recipe:
    """Return how to get the numbers of a job, from its first step on.

    Raises
    ------
    InputError
        If the structure, or what the job was made with, is not known.
    """
    if request.structure is None or "potentials" not in provenance or "incar" not in provenance:
        raise InputError("without a structure, and what a run has told of itself, there is nothing to reproduce")
    atoms = request.structure.atoms()
    cutoff = float(provenance["incar"]["ENCUT"])
    chosen = given.model_copy(update={"encut": cutoff})
    inputs = write_inputs(atoms, Order.of(atoms.get_chemical_symbols()), chosen, enmax=cutoff)
    places = [f"{each['folder']}/POTCAR" for each in provenance["potentials"]]
    digests = [f"{each['sha256']}  {place}" for each, place in zip(provenance["potentials"], places, strict=True)]
    check = f"printf '%s\\n' {' '.join(map(shlex.quote, digests))} | (cd \"$VASP_PP_PATH\" && sha256sum -c --quiet)"
    paths = " ".join(f'"$VASP_PP_PATH"/{shlex.quote(place)}' for place in places)
    join = f"cat {paths} > POTCAR"
    ranks = request.resources.ranks
    launcher = f"mpirun -n {ranks} " if ranks > 1 else ""
    program = "vasp_ncl" if given.soc else "vasp_std"
    start = f"OMP_NUM_THREADS={request.resources.threads} {launcher}${{VASP:-{program}}} | tee"
    lines, texts = [check, join, f"{start} {OUTPUT}"], dict(inputs.files)
    if isinstance(given, VaspBandsParameters):
        for name, text in states.second_inputs(atoms, inputs, given).items():
            texts[f"{name}.bands"] = text
            lines.append(f"cp {name}.bands {name}")
        lines.append(f"{start} {states.OUTPUT}")
    return Recipe(command="\n".join(lines), texts=texts, notes=_NOTES)
