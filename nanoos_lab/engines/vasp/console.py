"""What VASP says on its standard output: SCF iterations, ranks, its version; pure, line by line."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from nanoos_lab.engines.numbers import numbers

_SCF = re.compile(r"^\s*([A-Z]{2,4}):\s*(\d+)\s+(\S.*)$")
#: VASP before and after 6.3.
_RANKS = re.compile(r"^\s*running (?:on)?\s*(\d+)\s+(?:total cores|mpi-ranks)")
_VERSION = re.compile(r"^\s*vasp\.(\S+)")


@dataclass(frozen=True, kw_only=True)
class Scf:
    """One SCF iteration."""

    #: Name of the algorithm, such as DAV, RMM or CG.
    algorithm: str
    #: Number of the iteration, from 1.
    number: int
    #: Free energy in eV.
    energy: float
    #: Its change, and that of the band energy, in eV.
    change: float
    band_change: float


def scf(line: str) -> Scf | None:
    """Read a line about an SCF iteration; None for any other."""
    found = _SCF.match(line)
    if found is None:
        return None
    values = numbers(found[3])
    if len(values) < 3:
        return None
    return Scf(algorithm=found[1], number=int(found[2]), energy=values[0], change=values[1], band_change=values[2])


def ranks(line: str) -> int | None:
    """Return the number of MPI ranks that VASP says it runs with; None if the line is about something else."""
    found = _RANKS.match(line)
    return int(found[1]) if found else None


def version(line: str) -> str | None:
    """Return VASP's version; None if the line is about something else."""
    found = _VERSION.match(line)
    return found[1] if found else None


def converged(last: Scf | None, nelm: int | None, ediff: float | None) -> bool:
    """Whether an SCF cycle that has ended has converged: before its last iteration, or with small changes in it."""
    if last is None or nelm is None or last.number < nelm:
        return True
    small = math.inf if ediff is None else ediff
    return abs(last.change) < small and abs(last.band_change) < small
