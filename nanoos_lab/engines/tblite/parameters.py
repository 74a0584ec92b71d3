"""Parameters of extended tight binding, and what it asks of a structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from nanoos_lab.core.errors import ParameterError, StructureError
from nanoos_lab.core.parameters import field
from nanoos_lab.engines.ase.parameters import Calculated

if TYPE_CHECKING:
    from nanoos_lab.core.structures import Structure

#: The heaviest element with parameters: radon.
HEAVIEST = 86
#: Lanthanides, whose f electrons are part of the core: three electrons are left, whatever their number.
LANTHANIDES = range(57, 72)
MIXER_DAMPING = 0.4
ITERATIONS = 250


class XtbParameters(Calculated):
    """The Hamiltonian, the electrons, and how they become self-consistent."""

    method: Literal["GFN2-xTB", "GFN1-xTB", "IPEA1-xTB"] = field(doc="parameters of the tight-binding Hamiltonian")
    charge: int | None = field(
        None, unit="e", ge=-1000, le=1000, doc="total charge; the sum of the structure's initial charges unless given"
    )
    multiplicity: int | None = field(
        None,
        ge=1,
        le=1000,
        doc="number of unpaired electrons + 1; from the structure's initial magnetic moments unless given, and without "
        "them as few as there can be",
    )
    electronic_temperature: float = field(300.0, unit="K", ge=0, le=1e5, doc="temperature of the electrons")
    accuracy: float = field(1.0, gt=0, le=1000, doc="a factor on all thresholds: smaller is stricter")
    scf_iterations: int = field(ITERATIONS, ge=1, le=100_000, doc="most iterations to self-consistency")
    mixer_damping: float = field(
        MIXER_DAMPING, gt=0, le=1, doc="how much of the new charges an iteration takes over: less is slower and safer"
    )

    @property
    def label(self) -> str:
        """The method."""
        return self.method


def check_elements(structure: Structure, given: XtbParameters) -> None:
    """Raise a StructureError if an element of the structure has no parameters."""
    numbers = structure.arrays()["numbers"]
    heavy = sorted(set(numbers[(numbers > HEAVIEST) | (numbers < 1)].tolist()))
    if heavy:
        names = ", ".join(f"number {number}" for number in heavy)
        raise StructureError(f"{given.method} has parameters for hydrogen to radon, not for element {names}")


def check_periodicity(structure: Structure) -> None:
    """Raise a StructureError unless the structure is a molecule or periodic in all directions."""
    if any(structure.pbc) and not all(structure.pbc):
        raise StructureError(
            f"tblite knows molecules and crystals: pbc must be all False or all True, not {list(structure.pbc)}; for a "
            "slab or a wire set pbc=True with enough vacuum"
        )


def charge_of(structure: Structure, given: XtbParameters) -> int:
    """Return the total charge in e.

    Raises
    ------
    StructureError
        If it is that of the structure's initial charges, and they do not add up to a whole number.
    """
    if given.charge is not None:
        return given.charge
    total = float(np.sum(structure.arrays().get("initial_charges", 0.0)))
    if abs(total - round(total)) > 1e-3:
        raise StructureError(
            f"initial charges of the structure add up to {total:g} e, not to a whole number: pass charge="
        )
    return round(total)


def electrons_of(structure: Structure, given: XtbParameters) -> int:
    """Return the number of electrons outside of closed shells, up to an even number."""
    numbers = structure.arrays()["numbers"]
    valence = np.where(np.isin(numbers, LANTHANIDES), 3, numbers)
    return int(valence.sum()) - charge_of(structure, given)


def check_electrons(structure: Structure, given: XtbParameters) -> None:
    """Raise an InputError if there cannot be as many unpaired electrons as are asked for."""
    odd = electrons_of(structure, given) % 2
    many = "an odd" if odd else "an even"
    if given.multiplicity is not None and (given.multiplicity - 1) % 2 != odd:
        fitting = "an even number, such as 2" if odd else "an odd number, such as 1"
        charge = charge_of(structure, given)
        raise ParameterError(
            "multiplicity",
            given.multiplicity,
            f"{structure.formula} with charge {charge:+d} has {many} number of electrons, so it must be {fitting}",
        )
    moments = structure.arrays().get("initial_magmoms")
    unpaired = 0 if moments is None else int(np.round(moments.sum()))
    if given.multiplicity is None and unpaired and (unpaired < 0 or unpaired % 2 != odd):
        raise StructureError(
            f"initial magnetic moments of the structure add up to {unpaired} unpaired electrons, but there is {many} "
            "number of electrons: pass multiplicity=, or take the moments off"
        )
