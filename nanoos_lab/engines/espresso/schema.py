"""Results from the file that pw.x writes at its end, ``data-file-schema.xml``: all digits, in Hartree's units.

Format: https://www.quantum-espresso.org/ns/qes/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from ase import Atoms, units

if TYPE_CHECKING:
    from pathlib import Path

    Array = np.ndarray[Any, Any]

_ENERGIES = {"etot": "energy", "demet": "smearing_energy"}


def read(path: Path) -> dict[str, Any]:
    """Return the properties in a file, by ASE's names where there is one; {} if it cannot be read.

    ``energy``, ``free_energy``, ``smearing_energy`` (−TS), ``fermi_level``, ``highest_occupied``,
    ``lowest_unoccupied`` in eV; ``fermi_levels`` in eV, of the spins up and down, where the total moment is fixed;
    ``forces`` in eV/Å, shape (atoms, 3); ``stress`` in eV/Å³, Voigt, ASE's sign; ``magmom``,
    ``absolute_magnetization`` in Bohr magnetons, the first not where spins may point anywhere; ``eigenvalues`` in eV
    and ``occupations``, shape (spins, k-points, bands); ``kpoints`` in units of the reciprocal vectors, shape
    (k-points, 3), and ``kpoint_weights``, whose sum is 1.
    """
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 - written by the program that we have run
    except (OSError, ElementTree.ParseError):
        return {}
    output = root.find("output")
    if output is None:
        return {}
    found = {**_energies(output), **_levels(output), **_magnetization(output), **_arrays(output), **_bands(output)}
    scf = output.findtext("convergence_info/scf_conv/convergence_achieved", "")
    return {**found, "scf_converged": scf == "true"} if scf else found


def structure(path: Path) -> Atoms | None:
    """Return cell and positions at the end, with pw.x's digits; None if they cannot be read.

    Symbols are the labels of the species in the input.
    """
    try:
        root = ElementTree.parse(path).getroot()  # noqa: S314 - written by the program that we have run
    except (OSError, ElementTree.ParseError):
        return None
    place = root.find("output/atomic_structure")
    if place is None:
        return None
    cell = np.array([_numbers(place.findtext(f"cell/a{axis}")) for axis in (1, 2, 3)]) * units.Bohr
    positions = np.array([_numbers(atom.text) for atom in place.iterfind("atomic_positions/atom")]) * units.Bohr
    return Atoms(positions=positions, numbers=np.zeros(len(positions), dtype=int), cell=cell, pbc=True)


def _energies(output: ElementTree.Element) -> dict[str, float]:
    found = {name: _value(output, f"total_energy/{tag}") for tag, name in _ENERGIES.items()}
    energies = {name: value * units.Hartree for name, value in found.items() if value is not None}
    return {**energies, "free_energy": energies["energy"]} if "energy" in energies else energies


def _levels(output: ElementTree.Element) -> dict[str, Any]:
    places = {
        "fermi_level": "band_structure/fermi_energy",
        "highest_occupied": "band_structure/highestOccupiedLevel",
        "lowest_unoccupied": "band_structure/lowestUnoccupiedLevel",
    }
    found = {name: _value(output, place) for name, place in places.items()}
    levels: dict[str, Any] = {name: value * units.Hartree for name, value in found.items() if value is not None}
    if (both := output.findtext("band_structure/two_fermi_energies")) is not None:
        levels["fermi_levels"] = _numbers(both) * units.Hartree
    return levels


def _magnetization(output: ElementTree.Element) -> dict[str, float]:
    if output.findtext("magnetization/lsda") != "true":
        # Of spins that may point anywhere it has no total that is a vector.
        total = _value(output, "magnetization/absolute")
        moments = output.findtext("magnetization/do_magnetization") == "true"
        return {"absolute_magnetization": total} if moments and total is not None else {}
    found = {
        "magmom": _value(output, "magnetization/total"),
        "absolute_magnetization": _value(output, "magnetization/absolute"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _arrays(output: ElementTree.Element) -> dict[str, Array]:
    found = {}
    if (text := output.findtext("forces")) is not None:
        found["forces"] = _numbers(text).reshape(-1, 3) * units.Hartree / units.Bohr
    if (text := output.findtext("stress")) is not None:
        rows = _numbers(text).reshape(3, 3) * units.Hartree / units.Bohr**3
        # pw.x's is positive under compression.
        found["stress"] = -np.array([rows[0, 0], rows[1, 1], rows[2, 2], rows[1, 2], rows[0, 2], rows[0, 1]])
    return found


def _bands(output: ElementTree.Element) -> dict[str, Array]:
    points = output.findall("band_structure/ks_energies")
    alat = output.find("atomic_structure")
    if not points or alat is None:
        return {}
    spins = 2 if output.findtext("band_structure/lsda") == "true" else 1
    cell = np.array([_numbers(alat.findtext(f"cell/a{axis}")) for axis in (1, 2, 3)])
    vectors = np.array([_numbers(point.findtext("k_point")) for point in points])
    weights = np.array([float(point.find("k_point").get("weight", 0)) for point in points])  # type: ignore[union-attr]
    return {
        # k·a / 2π, with k in units of 2π/alat and a in Bohr.
        "kpoints": vectors @ cell.T / float(alat.get("alat", 1)),
        "kpoint_weights": weights / weights.sum(),
        "eigenvalues": _per_spin(points, "eigenvalues", spins) * units.Hartree,
        "occupations": _per_spin(points, "occupations", spins),
    }


def _per_spin(points: list[ElementTree.Element], tag: str, spins: int) -> Array:
    """Return values of shape (spins, k-points, bands); of two spins a k-point has one after the other."""
    rows = np.array([_numbers(point.findtext(tag)) for point in points])
    return rows.reshape(len(points), spins, -1).swapaxes(0, 1).copy()


def _value(output: ElementTree.Element, place: str) -> float | None:
    text = output.findtext(place)
    return None if text is None else float(text)


def _numbers(text: str | None) -> Array:
    return np.array((text or "").split(), dtype=float)
