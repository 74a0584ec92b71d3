"""Parameters of GPAW, and what it asks of a structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import Field, StringConstraints, model_validator

from nanoos_lab.core.errors import ParameterError, StructureError
from nanoos_lab.core.parameters import field
from nanoos_lab.engines.ase.parameters import Calculated

if TYPE_CHECKING:
    from nanoos_lab.core.structures import Structure

Count = Annotated[int, Field(ge=1, le=1000)]


class GpawParameters(Calculated):
    """Functional, basis, wave vectors and electrons."""

    xc: Annotated[str, StringConstraints(min_length=1)] = field(
        doc="exchange and correlation as GPAW names it, such as 'PBE', 'LDA', 'RPBE' or 'PBEsol'"
    )
    ecut: float = field(350.0, unit="eV", ge=50, le=5000, doc="cut-off of the plane waves")
    kpoints: tuple[Count, Count, Count] | None = field(
        None, doc="wave vectors along the three cell vectors, around Γ; by `kpoint_density` unless given"
    )
    kpoint_density: float = field(
        3.5, unit="Å", gt=0, le=100, doc="wave vectors per length of reciprocal space, along periodic directions"
    )
    smearing: float = field(0.1, unit="eV", ge=0, le=5, doc="width of the Fermi-Dirac distribution; 0 for none")
    spin: bool | None = field(None, doc="whether the two spins differ; only with initial magnetic moments unless given")
    charge: float = field(0.0, unit="e", ge=-100, le=100, doc="total charge")
    scf_iterations: int = field(333, ge=1, le=10_000, doc="most iterations to self-consistency")
    mixing: float | None = field(
        None, gt=0, le=1, doc="how much of the new density an iteration takes over; GPAW's choice unless given"
    )

    @property
    def label(self) -> str:
        """Program and functional."""
        return f"GPAW {self.xc}"

    @model_validator(mode="after")
    def _wave_vectors_are_given_once(self) -> Self:
        if self.kpoints is not None and "kpoint_density" in self.model_fields_set:
            density = type(self).model_fields["kpoint_density"].default
            if self.kpoint_density != density:
                raise ParameterError("kpoint_density", self.kpoint_density, "only without kpoints")
        return self

    def keywords(self) -> dict[str, Any]:
        """Return the arguments of `gpaw.GPAW`."""
        found: dict[str, Any] = {
            "mode": {"name": "pw", "ecut": self.ecut},
            "xc": self.xc,
            "kpts": {"density": self.kpoint_density, "gamma": True}
            if self.kpoints is None
            else {"size": self.kpoints, "gamma": True},
            "occupations": {"name": "fermi-dirac", "width": self.smearing},
            "charge": self.charge,
            "maxiter": self.scf_iterations,
        }
        if not self.keeps_symmetry:
            # GPAW looks for it once, and refuses positions that break it.
            found["symmetry"] = {"point_group": False}
        if self.spin is not None:
            found["spinpol"] = self.spin
        if self.mixing is not None:
            found["mixer"] = {"beta": self.mixing}
        return found


def check_structure(structure: Structure, given: GpawParameters) -> None:
    """Raise an InputError if GPAW could not run a structure."""
    cell = structure.arrays()["cell"]
    if abs(float(np.linalg.det(cell))) < 1e-8:
        raise StructureError("GPAW needs a cell with a volume: atoms.center(vacuum=4) makes one around a molecule")
    for axis, (periodic, number) in enumerate(zip(structure.pbc, given.kpoints or (1, 1, 1), strict=True)):
        if number > 1 and not periodic:
            raise ParameterError(
                "kpoints",
                list(given.kpoints or ()),
                f"the structure is not periodic along axis {axis}, so there it is 1",
            )
