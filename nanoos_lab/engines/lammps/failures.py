"""LAMMPS's own error messages, with a class, a plain sentence and a remedy for each known one.

Messages: LAMMPS manual, pages ``Errors_messages`` and ``Errors_details``.
"""

from __future__ import annotations

import re

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.status import Reason

_SMALLER_STEP = "Use a smaller timestep, relax the structure first (task='relax'), or check it for atoms that overlap."

#: Pattern in LAMMPS's text → reason, what it means, remedy.
_KNOWN: tuple[tuple[str, Reason, str, str], ...] = (
    (r"Lost atoms", Reason.ENGINE, "atoms flew apart and left the box", _SMALLER_STEP),
    (
        r"Non-numeric|nan|infinite",
        Reason.ENGINE,
        "the simulation blew up: numbers are no longer finite",
        _SMALLER_STEP,
    ),
    (
        r"[Cc]annot open .*potential file|Cannot open file",
        Reason.INPUT,
        "a file that the input names is missing or cannot be read",
        "Check its name; in a script give files of the working directory.",
    ),
    (
        r"No matching element|missing an entry|incorrect args for pair coeff",
        Reason.INPUT,
        "the potential does not cover the structure",
        "Choose a potential for all elements of the structure.",
    ),
    (
        r"is part of the .* package which is not enabled|Unrecognized \w+ style",
        Reason.INPUT,
        "this build of LAMMPS does not have a style that the input asks for",
        "Use another style, or a LAMMPS that was built with that package.",
    ),
    (
        r"Neighbor list overflow",
        Reason.ENGINE,
        "an atom has too many neighbours",
        "Check the structure for atoms that overlap, or raise neigh_modify one and page.",
    ),
    (
        r"Failed to (re)?allocate",
        Reason.MEMORY,
        "there was not enough memory",
        "Use fewer atoms or a shorter cutoff, or a worker with more memory.",
    ),
    (
        r"rescal\w+ a 0\.0 temperature|Computed temperature for fix",
        Reason.INPUT,
        "the temperature of atoms without velocities cannot be set",
        "Use a larger structure: a single atom has no thermal motion.",
    ),
    (
        r"Out of range atoms|[Aa]toms missing|Bond atom|Angle atom|Too many neighbor bins",
        Reason.ENGINE,
        "atoms moved too far in one step",
        _SMALLER_STEP,
    ),
)


def explain(text: str) -> EngineError:
    """Turn LAMMPS's error text into an EngineError that says what, why, and what to do next."""
    words = clean(text)
    for pattern, reason, meaning, remedy in _KNOWN:
        if re.search(pattern, words):
            return EngineError(f"{meaning}. LAMMPS says: {words}", reason=reason, remedy=remedy)
    return EngineError(
        f"LAMMPS says: {words}",
        reason=Reason.ENGINE,
        remedy="The file log.lammps of the job has the details.",
    )


def not_finite(step: int) -> EngineError:
    """Return the error for numbers that are no longer finite; LAMMPS itself goes on without one."""
    return EngineError(
        f"the simulation blew up: energies are no longer finite numbers at step {step}",
        reason=Reason.ENGINE,
        remedy=_SMALLER_STEP,
    )


def clean(text: str) -> str:
    """Drop source lines and links from LAMMPS's text, and join its lines."""
    text = re.sub(r"\s*\(src/[^)]*\)|\s*For more information see \S+|--+>.*", "", text)
    return " ".join(text.replace("ERROR on proc 0:", "ERROR:").split())
