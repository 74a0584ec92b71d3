"""What VASP says on its standard output and writes into OSZICAR: SCF iterations and ionic steps; pure, line by line."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from nanoos_lab.engines.numbers import number, numbers

_SCF = re.compile(r"^\s*([A-Z]{2,4}):\s*(\d+)\s+(\S.*)$")
_IONIC = re.compile(r"^\s*(\d+)\s+(?:T=|F=)")
_VALUE = re.compile(r"\b(T|E|F|E0|d E|EK)\s*=\s*([-+.\dEe*]+)")
_MAG = re.compile(r"mag=\s*(.+)$")
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


@dataclass(frozen=True, kw_only=True)
class Ionic:
    """The line at the end of an ionic step."""

    #: Number of the step, from 1.
    number: int
    #: Free energy, and energy extrapolated to no smearing, in eV.
    free_energy: float
    energy: float
    #: Temperature in K and kinetic energy in eV, in molecular dynamics.
    temperature: float | None = None
    kinetic_energy: float | None = None
    #: Magnetic moment of the cell in μB: one component, or three.
    magnetization: tuple[float, ...] = ()


def scf(line: str) -> Scf | None:
    """Read a line about an SCF iteration; None for any other."""
    found = _SCF.match(line)
    if found is None:
        return None
    values = numbers(found[3])
    if len(values) < 3:
        return None
    return Scf(algorithm=found[1], number=int(found[2]), energy=values[0], change=values[1], band_change=values[2])


def ionic(line: str) -> Ionic | None:
    """Read the line at the end of an ionic step; None for any other, and for one that is cut off."""
    found = _IONIC.match(line)
    if found is None:
        return None
    values = {name: number(text) for name, text in _VALUE.findall(line) if re.search(r"\d|\*", text)}
    if "F" not in values or "E0" not in values:
        return None
    mag = _MAG.search(line)
    return Ionic(
        number=int(found[1]),
        free_energy=values["F"],
        energy=values["E0"],
        temperature=values.get("T"),
        kinetic_energy=values.get("EK"),
        magnetization=tuple(numbers(mag[1])) if mag else (),
    )


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
