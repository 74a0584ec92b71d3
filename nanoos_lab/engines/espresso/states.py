"""Levels and their density: a second run of pw.x, on other k-points, for the density that a first one has found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units

from nanoos_lab.core.errors import EngineError, ParameterError, StructureError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.record import CAVEAT
from nanoos_lab.core.status import Reason
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import kpoints, program, silence
from nanoos_lab.engines.espresso import inputs, schema
from nanoos_lab.engines.espresso.execution import INSTALL, Execution
from nanoos_lab.engines.espresso.inputs import Start
from nanoos_lab.engines.espresso.parameters import (
    KSPACING,
    EspressoBandsParameters,
    EspressoDosParameters,
    EspressoParameters,
)
from nanoos_lab.engines.espresso.tasks import density
from nanoos_lab.engines.verdict import verdict

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from ase.dft.kpoints import BandPath

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.espresso.keywords import Value

    Array = np.ndarray[Any, Any]

#: Files of dos.x.
DOS_INPUT, DOS_TABLE = "dos.in", "dos.dat"
#: Results of the second run that are results of the task.
_LEVELS = ("eigenvalues", "occupations", "kpoints")


def check(atoms: Atoms, parameters: EspressoParameters) -> None:
    """Raise an InputError if a structure has no such states, or the choices contradict each other."""
    if not isinstance(parameters, (EspressoBandsParameters, EspressoDosParameters)):
        return
    if not atoms.pbc.any():
        raise StructureError("a structure that is not periodic has levels, but no bands: task 'static' has them")
    if isinstance(parameters, EspressoBandsParameters):
        band_path(atoms, parameters)
    elif parameters.dos_kpts is not None and parameters.dos_kspacing is not None:
        raise ParameterError("dos_kspacing", parameters.dos_kspacing, "only without dos_kpts")


def band_path(atoms: Atoms, parameters: EspressoBandsParameters) -> BandPath:
    """Return the path through the Brillouin zone.

    Raises
    ------
    ParameterError
        If the lattice has no such points.
    """
    return kpoints.band_path(atoms, parameters.path, parameters.points)


def bands(request: JobRequest, parameters: EspressoBandsParameters, context: RunContext) -> Results:
    """Find the levels along a path.

    Results besides those of "static": ``eigenvalues`` in eV, shape (spins, k-points, bands), and ``kpoints`` in units
    of the reciprocal vectors are those along the path; ``distances``, in 1/Å with factor 2π, are the lengths along
    it; ``path``, ``special_distances`` and ``special_labels`` say where the special points are; ``band_gap`` in eV,
    if there is one along the path.

    Raises
    ------
    EngineError
        If pw.x fails.
    """
    run, iterations = density(request, parameters, context)
    found = run.final()
    occupied = found.get("occupations")
    path = band_path(run.atoms, parameters)
    if not run.stopped:
        context.log(f"bands at {len(path.kpts)} k-points along {path.path}")
        second = _second(request, parameters, context)
        levels = {} if second.stopped else schema.read(second.results_file)
        found |= {name: levels[name] for name in _LEVELS if name in levels}
        found |= {**kpoints.along(path), **kpoints.gap(levels.get("eigenvalues"), occupied)}
        found.pop("kpoint_weights", None)
        found |= _verdict(found, second, context)
        run.stopped = second.stopped
    return _results(run, found, iterations.grid.provenance)


def dos(request: JobRequest, parameters: EspressoDosParameters, context: RunContext) -> Results:
    """Find the density of states, by dos.x.

    Results besides those of "static": ``dos_energies`` in eV, ``dos`` in states per eV and cell, shape (spins,
    energies), both spins in one where they are equal, and ``dos_integral``, the number of states below of both spins
    together, shape (energies,). The Fermi level is that of the second run.

    Raises
    ------
    EngineError
        If pw.x or dos.x fails.
    """
    program_of_dos = program.required("dos.x", INSTALL)
    run, iterations = density(request, parameters, context)
    found = run.final()
    if not run.stopped:
        second = _second(request, parameters, context)
        run.stopped = second.stopped
        if not second.stopped:
            table = _run_dos(program_of_dos, parameters, context)
            levels = schema.read(second.results_file)
            found |= {name: levels[name] for name in ("fermi_level", "fermi_levels") if name in levels}
            found |= _verdict(found, second, context)
            found |= {"dos_energies": table[:, 0], "dos": table[:, 1:-1].T.copy(), "dos_integral": table[:, -1]}
    return _results(run, found, {**iterations.grid.provenance, "dos.x": program.identity(program_of_dos)})


def calculation(parameters: EspressoParameters) -> str:
    """Return pw.x's word for the second run; empty for a task that has none."""
    if isinstance(parameters, EspressoBandsParameters):
        return "bands"
    return "nscf" if isinstance(parameters, EspressoDosParameters) else ""


def second_start(atoms: Atoms, parameters: EspressoParameters, electrons: float) -> Start:
    """Return how the input of the second run differs from that of the first.

    Parameters
    ----------
    atoms
        The structure.
    parameters
        The task's.
    electrons
        Number of valence electrons.
    """
    word = calculation(parameters)
    control: dict[str, Value] = {"calculation": word, "tprnfor": False, "tstress": False, "verbosity": "high"}
    system: dict[str, Value] = {}
    if parameters.nbnd is None:
        # With empty ones: half as many again as are needed, four at least.
        # A level of spinors holds one electron, any other two.
        needed = math.ceil(electrons if inputs.noncollinear(atoms, parameters) else electrons / 2)
        system["nbnd"] = needed + max(4, needed // 2)
    if isinstance(parameters, EspressoBandsParameters):
        rows = band_path(atoms, parameters).kpts
        lines = ("K_POINTS crystal", f"{len(rows)}", *(f"{x:.12f} {y:.12f} {z:.12f} 1" for x, y, z in rows))
        if parameters.smearing == "tetrahedra":
            # A path has none.
            system |= {"occupations": "smearing", "smearing": "gaussian", "degauss": 0.01}
    elif isinstance(parameters, EspressoDosParameters):
        lines = ("K_POINTS automatic", " ".join(map(str, [*_dos_mesh(atoms, parameters), 0, 0, 0])))
        system["occupations"] = "tetrahedra_opt"
    else:
        raise TypeError(f"a task without a second run: {parameters!r}")
    return Start(kpoints=lines, keywords={"control": control, "system": system})


def dos_input(parameters: EspressoDosParameters) -> str:
    """Return the text of dos.x's input."""
    lines = [f"prefix = '{inputs.PREFIX}'", f"outdir = '{inputs.OUTDIR}'", f"fildos = '{DOS_TABLE}'"]
    lines += [f"DeltaE = {parameters.resolution!r}"]
    if parameters.width is not None:
        lines += ["bz_sum = 'smearing'", "ngauss = 0", f"degauss = {parameters.width / units.Ry!r}"]
    return "\n".join(["&dos", *(f"  {line}" for line in lines), "/", ""])


def _dos_mesh(atoms: Atoms, parameters: EspressoDosParameters) -> tuple[int, int, int]:
    spacing = parameters.dos_kspacing or (parameters.kspacing or KSPACING) / 2
    finer: dict[str, Any] = {"kpts": parameters.dos_kpts, "kspacing": None if parameters.dos_kpts else spacing}
    if parameters.dos_kpts is None and parameters.kpts is not None and parameters.dos_kspacing is None:
        finer = {"kpts": tuple(2 * count if count > 1 else 1 for count in parameters.kpts), "kspacing": None}
    return inputs.mesh(atoms, parameters.model_copy(update=finer)) or (1, 1, 1)


def _second(request: JobRequest, parameters: EspressoParameters, context: RunContext) -> Execution:
    """Run pw.x again, in the same directory."""
    run = Execution(request, parameters, context)
    stem = calculation(parameters)
    run.write(run.atoms, second_start(run.atoms, parameters, run.electrons), stem=stem)
    error = run.run(lambda _: None, stem=stem)
    if error is not None:
        raise error
    return run


def _verdict(found: dict[str, Any], second: Execution, context: RunContext) -> dict[str, Any]:
    """Return the verdict on both runs, if the second one lacks something."""
    missed = list(second.missed())
    for caveat in missed:
        context.log(f"warning: {caveat}")
    return verdict(*filter(None, [found.get(CAVEAT)]), *missed) if missed else {}


def _run_dos(where: Path, parameters: EspressoDosParameters, context: RunContext) -> Array:
    """Run dos.x, and return its table: energies in eV, states per eV, of both spins if they differ, their number."""
    (context.workdir / DOS_INPUT).write_text(dos_input(parameters), encoding="utf-8")
    command = program.Command.of(where, "-in", DOS_INPUT, resources=context.resources)
    last = ""
    with program.Program(command, context, output="dos.out", silence=silence.patience(parameters.silence)) as running:
        for line in running.lines():
            last = line or last
        code = running.wait()
    table = context.workdir / DOS_TABLE
    if code or not table.exists():
        raise EngineError(f"dos.x ended with exit code {code}; it says: {last.strip()}", reason=Reason.ENGINE)
    return read_dos(table)


def read_dos(path: Path) -> Array:
    """Read the table of dos.x.

    Raises
    ------
    EngineError
        If there is anything but numbers in it.
    """
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    try:
        return np.array([[float(word) for word in row] for row in rows if row])
    except ValueError:
        raise EngineError(f"{path.name} of dos.x cannot be read", reason=Reason.ENGINE) from None


def _results(run: Execution, found: dict[str, Any], provenance: dict[str, Any]) -> Results:
    if not run.stopped:
        run.tidy()
    return Results(
        properties=found,
        structure=Structure.encode(run.atoms),
        provenance={**run.provenance(), **provenance},
        stopped=run.stopped,
    )
