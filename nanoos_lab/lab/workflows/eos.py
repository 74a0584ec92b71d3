"""Equation of state: the energy of a crystal by its volume."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nanoos_lab.core.choices import one_of
from nanoos_lab.core.errors import InputError, ParameterError
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.group import Group
from nanoos_lab.lab.lab import default_lab
from nanoos_lab.lab.workflows.cells import crystal, lattice_constant, strained
from nanoos_lab.lab.workflows.fits import Fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab

    Array = np.ndarray[Any, Any]

#: The forms of `ase.eos` that have the same four parameters.
FORMS = ("birch", "birchmurnaghan", "murnaghan", "pouriertarantola", "vinet")
#: The forms have four parameters.
_FEWEST = 5


@dataclass(frozen=True, kw_only=True, repr=False)
class EquationOfStateFit(Fit):
    """The minimum of the energy by the volume; ``.units`` has the units."""

    _own_units: ClassVar = {"bulk_modulus_derivative": "1"}

    #: Volume of least energy in Å³, of the whole cell.
    volume: float
    #: Least energy in eV, of the whole cell.
    energy: float
    #: Bulk modulus there in GPa.
    bulk_modulus: float
    #: Pressure derivative of the bulk modulus there.
    bulk_modulus_derivative: float
    #: Edge of the conventional cube in Å; None unless the lattice is cubic. A supercell's is that of the supercell.
    lattice_constant: float | None
    #: Form of the curve, by its name in `ase.eos`.
    form: str

    def energies(self, volumes: Array | Sequence[float]) -> Array:
        """Return the energies in eV of the fitted curve.

        Parameters
        ----------
        volumes : array_like, shape (points,)
            Volumes in Å³.
        """
        from ase import eos, units

        curve = getattr(eos, self.form)
        modulus = self.bulk_modulus * units.GPa
        return np.asarray(
            curve(np.asarray(volumes), self.energy, modulus, self.bulk_modulus_derivative, self.volume), dtype=float
        )


class EquationOfState(Group):
    """The jobs of an equation of state; ``fit()`` is what follows from them.

    Its `results` have the `volume` in Å³ and the `energy` in eV of every job.
    """

    #: Edge of the conventional cube in Å and volume in Å³ of the structure that was given; None unless it is cubic.
    reference: tuple[float, float] | None = None

    def fit(self, form: str = "birchmurnaghan") -> EquationOfStateFit:
        """Return volume, energy and bulk modulus at the minimum, with `ase.eos.EquationOfState`.

        Parameters
        ----------
        form
            "birchmurnaghan", "murnaghan", "birch", "vinet" or "pouriertarantola".

        Raises
        ------
        JobError
            If a job has not succeeded.
        InputError
            If the energies have no minimum between the volumes, or the form is unknown.
        """
        energies = [float(record.scalars["energy"]) for record in self.succeeded()]
        return fit(self.columns["volume"], energies, form=form, reference=self.reference)


def fit(
    volumes: Sequence[float],
    energies: Sequence[float],
    *,
    form: str = "birchmurnaghan",
    reference: tuple[float, float] | None = None,
) -> EquationOfStateFit:
    """Fit energies by volumes.

    Parameters
    ----------
    volumes, energies
        In Å³ and eV, at least five.
    form
        One of `FORMS`.
    reference
        Lattice constant in Å at some volume in Å³, for a cubic lattice.

    Raises
    ------
    InputError
        If the energies have no minimum between the volumes, or the form is unknown.
    """
    from ase import eos, units

    curve = eos.EquationOfState(volumes, energies, eos=one_of("form", form, FORMS))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            volume, energy, modulus = curve.fit(warn=False)
    except (RuntimeError, ValueError, Warning):
        volume = energy = modulus = math.nan
    if not min(volumes) < volume < max(volumes):
        raise InputError(
            f"the energies have no minimum between {min(volumes):.6g} and {max(volumes):.6g} Å³: start from a "
            "structure nearer to its equilibrium volume, or widen span="
        )
    return EquationOfStateFit(
        volume=float(volume),
        energy=float(energy),
        bulk_modulus=float(modulus) / units.GPa,
        bulk_modulus_derivative=float(curve.eos_parameters[2]),
        lattice_constant=reference[0] * float(volume / reference[1]) ** (1 / 3) if reference else None,
        form=form,
    )


def equation_of_state(
    structure: Atoms | Job,
    *,
    engine: str,
    task: str = "static",
    span: float = 0.06,
    points: int = 9,
    lab: Lab | None = None,
    **options: Any,
) -> EquationOfState:
    """Submit a crystal at several volumes; ``group.wait().fit()`` gives its bulk modulus.

    The cell is stretched equally in all directions, so that its shape stays as it is.

    Parameters
    ----------
    structure
        A crystal near its equilibrium volume; or a job that has succeeded, whose final structure is meant.
    engine
        What computes the energies.
    task
        "static", or "relax" for a crystal whose atoms move when its volume changes.
    span
        Largest change of the volume, as a fraction of it, up and down.
    points
        How many volumes, at least 5.
    lab
        Where to; the default lab unless given.
    **options
        What else `Lab.submit` takes.

    Raises
    ------
    InputError
        If a job cannot be carried out; nothing was stored or queued.
    """
    if isinstance(points, bool) or not isinstance(points, int) or points < _FEWEST:
        raise ParameterError("points", points, f"an integer ≥ {_FEWEST}")
    if not 0 < span < 1:
        raise ParameterError("span", span, "a number between 0 and 1")
    atoms = crystal(structure)
    lab = lab or default_lab()
    cells = [strained(atoms, ((1 + change) ** (1 / 3) - 1) * np.eye(3)) for change in np.linspace(-span, span, points)]
    volumes = [float(cell.get_volume()) for cell in cells]
    head = options.pop("name", None) or f"{atoms.get_chemical_formula()} equation of state"
    drafts = [
        Draft(cell, engine=engine, task=task, name=f"{head} V={volume:.6g} Å³", **options)
        for cell, volume in zip(cells, volumes, strict=True)
    ]
    group = EquationOfState(lab, lab.submit_many(drafts).ids, {"volume": volumes}, {"volume": "Å³"})
    edge = lattice_constant(atoms.cell)
    group.reference = None if edge is None else (edge, float(atoms.get_volume()))
    return group
