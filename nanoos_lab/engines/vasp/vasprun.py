"""vasprun.xml, read piece by piece; a file that is cut off gives what is whole in it.

Sign and order of the stress are ASE's: positive under tension; xx, yy, zz, yz, xz, xy.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree

import numpy as np

from nanoos_lab.engines.numbers import numbers
from nanoos_lab.engines.vasp.outcar import KBAR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from xml.etree.ElementTree import Element

Array = np.ndarray[Any, Any]

_PIECE = 1 << 16
#: Tables of states resolved by atom: large, and of no use here.
_UNWANTED = ("projected", "partial")
#: Row and column of the components of the stress in ASE's order.
_VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Calculation:
    """One ionic step. Atoms are in VASP's order; what is not there is None."""

    #: Energy extrapolated to no smearing, and free energy, in eV.
    energy: float
    free_energy: float
    #: Cell vectors as rows in Å, shape (3, 3), and positions in units of them, shape (atoms, 3).
    cell: Array
    scaled: Array
    #: In eV/Å, shape (atoms, 3).
    forces: Array | None
    #: In eV/Å³, Voigt order, shape (6,).
    stress: Array | None
    #: SCF iterations.
    scf_iterations: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Electrons:
    """The electronic structure after the last ionic step."""

    #: Eigenvalues in eV and occupations from 0 to 1, shape (spins, k-points, bands).
    eigenvalues: Array | None = None
    occupations: Array | None = None
    #: Fermi level in eV.
    fermi_level: float | None = None
    #: Energies in eV, shape (points,); density of states in 1/eV and its integral, shape (spins, points). The result
    #: ``dos_integral`` is the sum of the latter over both spins, shape (points,).
    dos_energies: Array | None = None
    dos: Array | None = None
    dos_integral: Array | None = None


@dataclass(kw_only=True)
class Contents:
    """What is in the file besides the ionic steps, as far as it was read."""

    #: k-points in units of the reciprocal vectors, shape (k-points, 3), and their weights, which add up to 1.
    kpoints: Array | None = None
    weights: Array | None = None
    #: Of the last ionic step.
    electrons: Electrons = field(default_factory=Electrons)
    #: Number of ionic steps.
    steps: int = 0


class Reader:
    """Reads pieces of the file one after the other; forgets each ionic step once it is returned."""

    def __init__(self) -> None:
        self.contents = Contents()
        self._parser: ElementTree.XMLPullParser[Any] = ElementTree.XMLPullParser(("start", "end"))
        self._open: list[Element] = []
        self._unwanted = 0
        self._broken = False

    def feed(self, data: bytes) -> list[Calculation]:
        """Read a piece; return the ionic steps that end in it."""
        found: list[Calculation] = []
        if self._broken:
            return found
        # What came before the fault is good; a broken encoding is a LookupError.
        with suppress(ElementTree.ParseError, LookupError):
            self._parser.feed(data)
        try:
            for event, element in cast("Iterator[tuple[str, Element]]", self._parser.read_events()):
                if event == "start":
                    self._open.append(element)
                    self._unwanted += element.tag in _UNWANTED
                    continue
                self._open.pop()
                self._unwanted -= element.tag in _UNWANTED
                calculation = self._end(element)
                if calculation is not None:
                    found.append(calculation)
        except (ElementTree.ParseError, ValueError, LookupError):
            # No XML any more, or tables with holes.
            self._broken = True
        return found

    def _end(self, element: Element) -> Calculation | None:
        depth = len(self._open)
        if depth != 1:
            if self._unwanted:
                # They are most of the file, so they are not kept until they end.
                self._open[-1].remove(element)
            return None
        found = None
        if element.tag == "calculation":
            found = _calculation(element)
            if found is not None:
                self.contents.steps += 1
                self.contents.electrons = _electrons(element)
        elif element.tag == "kpoints":
            self.contents.kpoints = _array(element, "varray[@name='kpointlist']")
            weights = _array(element, "varray[@name='weights']")
            self.contents.weights = None if weights is None else weights.ravel()
        # What is done is done: the tree would otherwise grow with the file.
        element.clear()
        self._open[0].remove(element)
        return found


def read(path: Path, reader: Reader | None = None) -> Iterator[Calculation]:
    """Yield the ionic steps of a file."""
    reader = reader or Reader()
    with path.open("rb") as file:
        while data := file.read(_PIECE):
            yield from reader.feed(data)


def _calculation(element: Element) -> Calculation | None:
    scf = element.findall("scstep")
    free = _number(element, "energy/i[@name='e_fr_energy']")
    cell = _array(element, "structure/crystal/varray[@name='basis']")
    scaled = _array(element, "structure/varray[@name='positions']")
    if free is None or cell is None or scaled is None or not scf:
        return None
    # The other energies at the end of a step are wrong in VASP 5, and those of its last SCF iteration lack
    # corrections for dispersion: only their difference can be used.
    last_free = _number(scf[-1], "energy/i[@name='e_fr_energy']")
    last_zero = _number(scf[-1], "energy/i[@name='e_0_energy']")
    energy = free if last_free is None or last_zero is None else free + (last_zero - last_free)
    stress = _array(element, "varray[@name='stress']")
    return Calculation(
        energy=energy,
        free_energy=free,
        cell=cell,
        scaled=scaled,
        forces=_array(element, "varray[@name='forces']"),
        stress=None if stress is None else -stress[_VOIGT] * KBAR,
        scf_iterations=len(scf),
    )


def _electrons(element: Element) -> Electrons:
    bands = _by_spin(element.find("eigenvalues/array/set"), 2, lambda spin: np.array([_rows(point) for point in spin]))
    dos = _by_spin(element.find("dos/total/array/set"), 3, _rows)
    return Electrons(
        eigenvalues=None if bands is None else bands[..., 0],
        occupations=None if bands is None else bands[..., 1],
        fermi_level=_number(element, "dos/i[@name='efermi']"),
        dos_energies=None if dos is None else dos[0, :, 0],
        dos=None if dos is None else dos[:, :, 1],
        dos_integral=None if dos is None else dos[:, :, 2],
    )


def _by_spin(element: Element | None, columns: int, take: Any) -> Array | None:
    if element is None or not len(element):
        return None
    try:
        found = np.array([take(spin) for spin in element])
    except ValueError:
        # A table with holes.
        return None
    return found if found.size and found.dtype == float and found.shape[-1] >= columns else None


def _rows(element: Element) -> Array:
    return np.array([numbers(row.text or "") for row in element])


def _array(element: Element, path: str) -> Array | None:
    found = element.find(path)
    return _rows(found) if found is not None and len(found) else None


def _number(element: Element, path: str) -> float | None:
    found = element.find(path)
    values = numbers(found.text or "") if found is not None else []
    return values[0] if values else None
