"""Levels along a path: a second run of VASP, on other k-points, for the density that a first one has found.

What the first one has written is the checkpoint of the task: a later attempt begins with the second one.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import EngineError, StructureError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import grid, kpoints, silence
from nanoos_lab.engines.program import Program
from nanoos_lab.engines.vasp import failures, incar, outcar, potcar, running, vasprun
from nanoos_lab.engines.vasp.running import Attempt
from nanoos_lab.engines.vasp.tail import Tail
from nanoos_lab.engines.vasp.verdict import Ending, Signs, correctable, judge
from nanoos_lab.engines.vasp.watch import copy_if_fit

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from ase.dft.kpoints import BandPath

    from nanoos_lab.core.frames import Checkpoint, Results
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.vasp.parameters import VaspBandsParameters
    from nanoos_lab.engines.vasp.running import Beginning

#: Output of the second run.
OUTPUT = "bands.out"
#: What the first run leaves: name, and the name under which it stays beside the second.
_KEPT = {"vasprun.xml": "vasprun.density.xml", "OUTCAR": "OUTCAR.density"}
_DENSITY = "CHGCAR"
#: Files of a checkpoint; the OUTCAR comes last, for a run that finds one there reads it as its own.
_STATE = (_DENSITY, *_KEPT)


def check(atoms: Atoms, given: VaspBandsParameters) -> None:
    """Raise an InputError if a structure has no such path."""
    if not atoms.pbc.any():
        raise StructureError("a structure that is not periodic has levels, but no bands: task 'static' has them")
    kpoints.band_path(atoms, given.path, given.points)


def second_inputs(atoms: Atoms, first: running.Inputs, given: VaspBandsParameters) -> dict[str, str]:
    """Return the texts of the input files in which the second run differs from the first; pure.

    Parameters
    ----------
    atoms
        The structure.
    first
        The input files of the first run.
    given
        The task's parameters.
    """
    path = kpoints.band_path(atoms, given.path, given.points)
    return {"INCAR": incar.write(incar.keeping_density(first.tags)), "KPOINTS": incar.write_path(path)}


def bands(request: JobRequest, given: VaspBandsParameters, context: RunContext) -> Results:
    """Find the levels along a path.

    Results besides those of "static", which are of the first run: ``eigenvalues`` in eV and ``occupations``, shape
    (spins, k-points, bands), and ``kpoints`` in units of the reciprocal vectors are those along the path;
    ``distances``, in 1/Å with factor 2π, are the lengths along it; ``path``, ``special_distances`` and
    ``special_labels`` say where the special points are; ``band_gap`` in eV, if there is one along the path.

    Raises
    ------
    EngineError
        If VASP fails; with a correction if one is known.
    """
    begun = running.begin(request, given, context)
    attempt = Attempt(begun, given, context)
    path = kpoints.band_path(begun.atoms, given.path, given.points)
    try:
        found = _resumed(context)
        results = attempt.read() if found else attempt.run()
        if not results.stopped:
            _keep(context, checkpoint=not found and bool(context.checkpoint_interval))
            context.log(f"bands at {len(path.kpts)} k-points along {path.path}")
            levels = _second(begun, given, context)
            results = replace(results, stopped=True) if levels is None else _with(results, levels, path)
    finally:
        running.tidy(given, context)
    return replace(results, provenance=running.provenance(begun, attempt.watch, given))


def _resumed(context: RunContext) -> bool:
    """Put in place what an earlier attempt has found; return whether there was anything."""

    def load(checkpoint: Checkpoint) -> None:
        for name in _STATE:
            shutil.copyfile(checkpoint.directory / name, context.workdir / name)

    return grid.resume(context, load) is not None


def _keep(context: RunContext, *, checkpoint: bool) -> None:
    """Make the checkpoint, and make room for what the second run writes.

    Raises
    ------
    EngineError
        If there is no density.
    """
    density = context.workdir / _DENSITY
    if not density.is_file() or not density.stat().st_size:
        raise EngineError(
            f"VASP has written no {_DENSITY}, so there is no density to keep",
            reason=Reason.ENGINE,
            remedy=failures.LOOK,
        )
    if checkpoint:
        with context.checkpoint(0, {}) as directory:
            for name in _STATE:
                copy_if_fit(context.workdir / name, directory / name)
    for name, kept in _KEPT.items():
        if (context.workdir / name).is_file():
            (context.workdir / name).rename(context.workdir / kept)


def _second(begun: Beginning, given: VaspBandsParameters, context: RunContext) -> vasprun.Contents | None:
    """Run VASP for the density that there is; return what its vasprun.xml has, None if it was stopped."""
    workdir = context.workdir
    running.write({**begun.inputs.files, **second_inputs(begun.atoms, begun.inputs, given)}, workdir)
    signs, reader = Signs(given), outcar.Reader()

    def ask() -> None:
        (workdir / running.STOP_FILE).write_text("LABORT = .TRUE.\n")

    with (
        potcar.lent(workdir, begun.potentials),
        Program(begun.command, context, output=OUTPUT, ask=ask, silence=silence.patience(given.silence)) as program,
    ):
        for line in program.lines():
            if line is None:
                continue
            context.log(line)
            if signs.feed(line) and (error := signs.fatal(correctable(given, reader.facts))) is not None:
                raise error
        code, errors, stopped = program.wait(), program.errors, program.stopped
    if stopped:
        return None
    for line in Tail(workdir / "OUTCAR").lines():
        reader.feed(line)
    reader.close()
    # No atom moves, and whether VASP prints an ionic step all the same is nothing to rely on.
    error = judge(given, Ending(code=code, facts=reader.facts, step=0, errors=errors), signs)
    if error is not None:
        raise error
    return _levels(workdir / "vasprun.xml")


def _levels(path: Path) -> vasprun.Contents:
    reader = vasprun.Reader()
    if path.is_file():
        for _ in vasprun.read(path, reader):
            pass
    return reader.contents


def _with(results: Results, levels: vasprun.Contents, path: BandPath) -> Results:
    """Return the results with the levels along the path.

    Raises
    ------
    EngineError
        If there are none.
    """
    values, points = levels.electrons.eigenvalues, levels.kpoints
    there = points is not None and points.shape == path.kpts.shape and np.allclose(points, path.kpts, atol=1e-6)
    if values is None or not there or values.shape[1] != len(path.kpts):
        raise EngineError(
            f"vasprun.xml does not have the levels at the {len(path.kpts)} k-points of the path",
            reason=Reason.ENGINE,
            remedy=failures.LOOK,
        )
    found: dict[str, Any] = {
        **results.properties,
        "eigenvalues": values,
        "occupations": levels.electrons.occupations,
        "kpoints": points,
        **kpoints.along(path),
        **kpoints.gap(values, results.properties.get("occupations")),
    }
    found.pop("kpoint_weights", None)
    return replace(results, properties=found)
