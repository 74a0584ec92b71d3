"""How LAMMPS fails: a table of its own words, with a class, a plain sentence, a remedy and perhaps a correction each.

Messages: LAMMPS manual, pages ``Errors_messages`` and ``Errors_details``.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.record import Correction
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import blowup
from nanoos_lab.engines.signatures import Scanner, Signature

if TYPE_CHECKING:
    from collections.abc import Mapping

_MORE_STEPS = "Start again from the last frame of the trajectory, with more steps or a larger fmax."
_NOTHING: Mapping[str, Any] = MappingProxyType({})

#: Most neighbours at which corrections end.
_MOST = 128_000
#: Room for the neighbours of an atom that LAMMPS has unless told otherwise (manual, page ``neigh_modify``).
NEIGHBORS = 2000


def more_room(parameters: Mapping[str, Any]) -> Correction | None:
    """Double the room for neighbours."""
    before = parameters.get("neighbors", NEIGHBORS)
    if "potential" not in parameters or 2 * before > _MOST:
        return None
    why = f"an atom has more neighbours than there was room for, so the room is doubled from {before} to {2 * before}"
    return Correction(changes={"neighbors": 2 * before}, why=why)


def more_steps(parameters: Mapping[str, Any]) -> Correction | None:
    """Double the steps of a relaxation that has come to the last one; it goes on from there."""
    before = parameters.get("steps")
    if not before or "fmax" not in parameters:
        return None
    why = f"the relaxation has not converged in {before} steps, so it goes on to {2 * before}"
    return Correction(changes={"steps": 2 * before}, why=why)


def other_optimizer(parameters: Mapping[str, Any]) -> Correction | None:
    """Take steepest descent after conjugate gradients: for a line search that finds nothing lower."""
    if "fmax" not in parameters or parameters.get("optimizer", "cg") != "cg":
        return None
    why = "conjugate gradients found no lower energy, so steepest descent goes on from there"
    return Correction(changes={"optimizer": "sd"}, why=why)


#: What LAMMPS says, the most telling first.
TABLE: tuple[Signature, ...] = (
    Signature(
        name="lost atoms",
        pattern=r"Lost atoms",
        reason=Reason.ENGINE,
        meaning="atoms flew apart and left the box",
        remedy=blowup.REMEDY,
        correct=blowup.calmer,
    ),
    Signature(
        name="not finite",
        pattern=r"Non-numeric|(?i:\bnan\b)|\b[Ii]nf(inite)?\b",
        reason=Reason.ENGINE,
        meaning="the simulation blew up: numbers are no longer finite",
        remedy=blowup.REMEDY,
        correct=blowup.calmer,
    ),
    Signature(
        name="no file",
        pattern=r"[Cc]annot open .*potential file|Cannot open file|[Cc]annot open \S+ file",
        reason=Reason.INPUT,
        meaning="a file that the input names is missing or cannot be read",
        remedy="Check its name; in a script give files of the working directory.",
    ),
    Signature(
        name="not covered",
        pattern=r"No matching element|missing an entry|[Ii]ncorrect args for pair coeff|pair coeffs are not set",
        reason=Reason.INPUT,
        meaning="the potential does not cover the structure",
        remedy="Choose a potential for all elements of the structure.",
    ),
    Signature(
        name="unknown style",
        pattern=r"is part of the .* package which is not enabled|Unrecognized \w+ style",
        reason=Reason.INPUT,
        meaning="this build of LAMMPS does not have a style that the input asks for",
        remedy="Use another style, or a LAMMPS that was built with that package.",
    ),
    Signature(
        name="neighbour overflow",
        pattern=r"Neighbor list overflow",
        reason=Reason.ENGINE,
        meaning="an atom has too many neighbours",
        remedy="Check the structure for atoms that overlap, or raise neighbors; in a script neigh_modify one and page.",
        correct=more_room,
    ),
    Signature(
        name="no memory",
        pattern=r"Failed to (re)?allocate|std::bad_alloc",
        reason=Reason.MEMORY,
        meaning="there was not enough memory",
        remedy="Use fewer atoms or a shorter cutoff, or a worker with more memory.",
    ),
    Signature(
        name="no temperature",
        pattern=r"rescal\w+ a 0\.0 temperature|Computed temperature for fix|Computed current temperature .* is 0",
        reason=Reason.INPUT,
        meaning="the temperature of atoms without velocities cannot be set",
        remedy="Use a larger structure: a single atom has no thermal motion.",
    ),
    Signature(
        name="moved too far",
        pattern=r"Out of range atoms|[Aa]toms? .*missing|Too many neighbor bins|bondchk failed",
        reason=Reason.ENGINE,
        meaning="atoms moved too far in one step",
        remedy=blowup.REMEDY,
        correct=blowup.calmer,
    ),
    Signature(
        name="out of steps",
        pattern=r"Stopping criterion = max (iterations|force evaluations)",
        reason=Reason.CONVERGENCE,
        meaning="the relaxation did not converge",
        remedy=_MORE_STEPS,
        correct=more_steps,
    ),
    Signature(
        name="no way down",
        pattern=r"Stopping criterion = (linesearch alpha is zero|quadratic factors are zero|search direction is not|"
        r"trust region too small|HFTN minimizer error)",
        reason=Reason.CONVERGENCE,
        meaning="the relaxation did not converge: its minimiser found no lower energy",
        remedy="Try another optimizer, or a larger fmax.",
        correct=other_optimizer,
    ),
)


def explain(text: str, parameters: Mapping[str, Any] = _NOTHING) -> EngineError:
    """Turn LAMMPS's error text into an EngineError that says what, why, and what to do next.

    Parameters
    ----------
    text
        What LAMMPS says; one or more lines.
    parameters
        Those of the task, from which a correction is made.
    """
    words = clean(text)
    sign = Scanner(TABLE).feed(words)
    if sign is not None:
        return sign.error("LAMMPS", parameters)
    return EngineError(
        f"LAMMPS says: {words}",
        reason=Reason.ENGINE,
        remedy="The file log.lammps of the job has the details.",
    )


def not_converged(fmax: float, step: int, parameters: Mapping[str, Any]) -> EngineError:
    """Return the error for a relaxation that has ended with too large forces, in eV/Å."""
    out_of_steps = step >= parameters["steps"]
    return EngineError(
        f"the relaxation did not converge: fmax is {fmax:.4g} eV/Å after {step} steps, not {parameters['fmax']:g} eV/Å",
        reason=Reason.CONVERGENCE,
        remedy=_MORE_STEPS,
        correction=(more_steps if out_of_steps else other_optimizer)(parameters),
    )


def clean(text: str) -> str:
    """Drop source lines and links from LAMMPS's text, and join its lines."""
    text = re.sub(r"\s*\(src/[^)]*\)|\s*For more information see \S+|--+>.*", "", text)
    return " ".join(re.sub(r"ERROR on proc \d+:", "ERROR:", text).split())
