"""Elastic constants of cubic crystals, from the stress under small strains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nanoos_lab.core.errors import ParameterError, StructureError
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.group import Group
from nanoos_lab.lab.lab import default_lab
from nanoos_lab.lab.workflows.cells import crystal, has_cubic_axes, strained
from nanoos_lab.lab.workflows.fits import Fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab

    Array = np.ndarray[Any, Any]

#: The strains by name: where a strain of 1 stands in the tensor. Shear is the engineers' γ = 2 ε_yz.
MODES = {
    "uniaxial": np.diag([1.0, 0.0, 0.0]),
    "shear": np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.5, 0.0]]),
}
#: The strains of each mode, in units of the largest.
_STEPS = (-1.0, -0.5, 0.5, 1.0)
#: What each mode adds to the six stresses (Voigt order), for C11, C12, C44 and a stress that is there without strain.
_LAWS = {
    "uniaxial": np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]),
    "shear": np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]),
}
_UNSTRAINED = np.array([[0, 0, 0, 1]] * 3 + [[0, 0, 0, 0]] * 3)


@dataclass(frozen=True, kw_only=True, repr=False)
class CubicElasticity(Fit):
    """The elastic constants of a cubic crystal; ``.units`` has the units."""

    _own_units: ClassVar = dict.fromkeys(("c11", "c12", "c44", "residual"), "GPa")

    #: Stiffness in GPa along an axis of the cube, under strain along the same axis.
    c11: float
    #: In GPa, under strain along another axis.
    c12: float
    #: In GPa, under shear.
    c44: float
    #: Pressure without strain in GPa. Far from zero, the structure was not relaxed, and these are constants under it.
    pressure: float
    #: Root mean square in GPa of the stresses that these constants do not explain.
    residual: float

    @property
    def bulk_modulus(self) -> float:
        """Bulk modulus (C11 + 2 C12) / 3 in GPa."""
        return (self.c11 + 2 * self.c12) / 3

    @property
    def anisotropy(self) -> float:
        """Zener's ratio 2 C44 / (C11 − C12); 1 for an isotropic crystal."""
        return 2 * self.c44 / (self.c11 - self.c12)

    @property
    def stable(self) -> bool:
        """Whether the crystal resists every strain (Born's conditions)."""
        return self.c11 > abs(self.c12) and self.c11 + 2 * self.c12 > 0 and self.c44 > 0


class ElasticConstants(Group):
    """The jobs under strain; ``fit()`` is what follows from them.

    Its `results` have the `mode` and the `strain` of every job.
    """

    def fit(self) -> CubicElasticity:
        """Return the constants that explain the stresses best.

        Raises
        ------
        JobError
            If a job has not succeeded.
        """
        from ase import units

        self.succeeded()
        stresses = np.array([job.results["stress"] for job in self]) / units.GPa
        return fit_cubic(self.columns["mode"], self.columns["strain"], stresses)


def fit_cubic(modes: Sequence[str], strains: Sequence[float], stresses: Array) -> CubicElasticity:
    """Fit the constants of a cubic crystal to stresses by least squares.

    Parameters
    ----------
    modes
        Names of the strains, of `MODES`.
    strains
        Their sizes.
    stresses : numpy.ndarray, shape (strains, 6)
        In GPa, in Voigt order (xx, yy, zz, yz, xz, xy), positive under tension.
    """
    laws = [_LAWS[mode] * strain + _UNSTRAINED for mode, strain in zip(modes, strains, strict=True)]
    matrix, measured = np.concatenate(laws), np.asarray(stresses, dtype=float).ravel()
    found, *_ = np.linalg.lstsq(matrix, measured)
    residual = float(np.sqrt(np.mean((matrix @ found - measured) ** 2)))
    c11, c12, c44, stress = (float(value) for value in found)
    return CubicElasticity(c11=c11, c12=c12, c44=c44, pressure=-stress, residual=residual)


def elastic_constants(
    structure: Atoms | Job,
    *,
    engine: str,
    task: str = "static",
    strain: float = 0.005,
    lab: Lab | None = None,
    **options: Any,
) -> ElasticConstants:
    """Submit a cubic crystal under small strains; ``group.wait().fit()`` gives C11, C12 and C44.

    The stresses under a strain along x and under a shear of the yz plane, each of four sizes of both signs, are fitted
    to Hooke's law by least squares, as by Y. Le Page and P. Saxe, Phys. Rev. B 65, 104104 (2002).

    Parameters
    ----------
    structure
        A relaxed cubic crystal, its fourfold axes along x, y and z; or a job that has succeeded, whose final structure
        is meant.
    engine
        What computes the stresses.
    task
        "static", or "relax" for a crystal whose atoms move against each other under strain, such as silicon.
    strain
        Largest strain, as a fraction.
    lab
        Where to; the default lab unless given.
    **options
        What else `Lab.submit` takes.

    Raises
    ------
    InputError
        If a job cannot be carried out; nothing was stored or queued.
    StructureError
        If the lattice is not cubic, or its axes are not along x, y and z.
    """
    if not 0 < strain < 0.1:
        raise ParameterError("strain", strain, "a number between 0 and 0.1")
    atoms = crystal(structure)
    if not has_cubic_axes(atoms.cell):
        raise StructureError("the lattice must be cubic, with its axes along x, y and z; the cell is not")
    lab = lab or default_lab()
    points = [(mode, step * strain) for mode in MODES for step in _STEPS]
    head = options.pop("name", None) or f"{atoms.get_chemical_formula()} elastic constants"
    drafts = [
        Draft(strained(atoms, MODES[mode] * size), engine=engine, task=task, name=f"{head} {mode} {size:g}", **options)
        for mode, size in points
    ]
    columns: dict[str, list[Any]] = {"mode": [mode for mode, _ in points], "strain": [size for _, size in points]}
    return ElasticConstants(lab, lab.submit_many(drafts).ids, columns, {"strain": "1"})
