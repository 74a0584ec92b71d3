"""Elastic constants of crystals, from the stress under small strains."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import JobError, ParameterError
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.group import Group
from nanoos_lab.lab.lab import default_lab
from nanoos_lab.lab.workflows.cells import crystal, strained
from nanoos_lab.lab.workflows.fits import Fit
from nanoos_lab.lab.workflows.symmetry import MANDEL, invariants, point_group, vector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab

    Array = np.ndarray[Any, Any]


def _mode(row: int, column: int) -> Array:
    """Return the strain tensor for a strain of 1; shear is the engineers', γ = 2 ε_yz."""
    found = np.zeros((3, 3))
    found[row, column] += 0.5
    found[column, row] += 0.5
    return found


#: The strains by name, in the order in which they are taken, as far as a crystal needs them.
MODES = {"xyz"[i] + "xyz"[j]: _mode(i, j) for i, j in ((0, 0), (1, 2), (2, 2), (1, 1), (0, 2), (0, 1))}
#: The strains of each mode, in units of the largest.
_STEPS = (-1.0, -0.5, 0.5, 1.0)
#: What leaves the strain of a cell as it is.
_TASKS = ("static", "relax")
#: In Å; atoms are some ten times as far apart.
_COARSEST = 0.1
#: How well the strains must tell the constants apart, as the least singular value; all six have 0.7.
_TOLD_APART = 0.2
#: Constants are alike by symmetry, or zero, if they differ by less than this fraction of what all are made of: a cell
#: that is symmetric only within `symprec` is turned a little.
_ALIKE = 0.02


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Elasticity(Fit):
    """The elastic constants of a crystal, along the axes in which its structure is given.

    Each constant has its usual name too, from ``c11`` to ``c66``, in GPa.
    """

    #: Stiffness in GPa, shape (6, 6), in Voigt order (xx, yy, zz, yz, xz, xy).
    stiffness: Array = field(repr=False)
    #: Stress without strain in GPa, shape (6,), positive under tension. Far from zero, the structure was not relaxed,
    #: and these are constants under it.
    stress: Array = field(repr=False)
    #: Root mean square in GPa of the stresses that these constants do not explain.
    residual: float
    #: Names of those constants that are not zero, and not as large as one before them, by symmetry.
    names: tuple[str, ...] = field(repr=False)

    def __getattr__(self, name: str) -> float:
        if re.fullmatch("c[1-6][1-6]", name) is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return float(self.stiffness[int(name[1]) - 1, int(name[2]) - 1])

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.names]

    @property
    def constants(self) -> dict[str, float]:
        """The constants in GPa by name, without those that are zero or as large as one before them, by symmetry."""
        return {name: getattr(self, name) for name in self.names}

    @property
    def pressure(self) -> float:
        """Pressure without strain in GPa."""
        return -float(self.stress[:3].mean())

    @property
    def bulk_modulus(self) -> float:
        """Bulk modulus of a polycrystal in GPa, Hill's mean of Voigt's and Reuss's bounds; of a cubic crystal, its own.

        R. Hill, Proc. Phys. Soc. A 65, 349 (1952).
        """
        return sum(self._bulk_moduli()) / 2

    @property
    def shear_modulus(self) -> float:
        """Shear modulus of a polycrystal in GPa, Hill's mean of the bounds of Voigt and Reuss."""
        return sum(self._shear_moduli()) / 2

    @property
    def anisotropy(self) -> float:
        """Universal index of anisotropy; 0 for an isotropic crystal.

        S. I. Ranganathan, M. Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008).
        """
        (bulk, softer_bulk), (shear, softer_shear) = self._bulk_moduli(), self._shear_moduli()
        return 5 * shear / softer_shear + bulk / softer_bulk - 6

    @property
    def stable(self) -> bool:
        """Whether the crystal resists every strain (Born's condition): the stiffness is positive definite."""
        return bool(np.linalg.eigvalsh(self.stiffness).min() > 0)

    def _bulk_moduli(self) -> tuple[float, float]:
        """Return Voigt's and Reuss's bulk modulus."""
        compliance = np.linalg.inv(self.stiffness)
        return float(self.stiffness[:3, :3].sum()) / 9, 1 / float(compliance[:3, :3].sum())

    def _shear_moduli(self) -> tuple[float, float]:
        """Return Voigt's and Reuss's shear modulus."""
        voigt, reuss = (_trace_and_shear(one) for one in (self.stiffness, np.linalg.inv(self.stiffness)))
        return float(voigt[0] + 3 * voigt[1]) / 15, 15 / float(4 * reuss[0] + 3 * reuss[1])

    @property
    def units(self) -> dict[str, str]:
        """Unit of every number that is shown: GPa."""
        return dict.fromkeys(self._shown(), "GPa")

    def _shown(self) -> dict[str, Any]:
        return {**self.constants, "pressure": self.pressure, **super()._shown()}


def _trace_and_shear(matrix: Array) -> tuple[float, float]:
    """Return what the mean shear of a matrix in Voigt order is made of."""
    diagonal = np.diag(matrix)
    return diagonal[:3].sum() - matrix[0, 1] - matrix[1, 2] - matrix[0, 2], diagonal[3:].sum()


class ElasticConstants(Group):
    """The jobs under strain; ``fit()`` is what follows from them.

    Its `results` have the `mode` and the `strain` of every job.

    Parameters
    ----------
    lab, ids, columns
        As those of `Group`.
    rotations : numpy.ndarray, shape (rotations, 3, 3)
        The crystal's point group.
    """

    def __init__(self, lab: Lab, ids: Sequence[str], columns: Mapping[str, Sequence[Any]], *, rotations: Array) -> None:
        super().__init__(lab, ids, columns, {"strain": "1"})
        self.rotations = rotations

    def fit(self) -> Elasticity:
        """Return the constants that the symmetry allows and that explain the stresses best.

        Raises
        ------
        JobError
            If a job has not succeeded, or its stress is not finite.
        UnknownResultError
            If what the engine computes has no stress.
        """
        from ase import units

        self.succeeded()
        stresses = np.array([job.results["stress"] for job in self]) / units.GPa
        for job, stress in zip(self, stresses, strict=True):
            if not np.isfinite(stress).all():
                raise JobError(f"the stress of {job.id} is not finite: {stress.tolist()} GPa", job_id=job.id)
        return fit(self.columns["mode"], self.columns["strain"], stresses, self.rotations)


def fit(modes: Sequence[str], strains: Sequence[float], stresses: Array, rotations: Array) -> Elasticity:
    """Fit elastic constants to stresses by least squares.

    Parameters
    ----------
    modes
        Names of the strains, of `MODES`.
    strains
        Their sizes.
    stresses : numpy.ndarray, shape (strains, 6)
        In GPa, in Voigt order (xx, yy, zz, yz, xz, xy), positive under tension.
    rotations : numpy.ndarray, shape (rotations, 3, 3)
        The crystal's point group.
    """
    allowed, unstrained = invariants(rotations)
    measured = (np.asarray(stresses, dtype=float) * MANDEL).ravel()
    parts = [_responses(allowed, mode) * size for mode, size in zip(modes, strains, strict=True)]
    matrix = np.hstack([np.concatenate(parts), np.tile(unstrained.T, (len(parts), 1))])
    found, *_ = np.linalg.lstsq(matrix, measured)
    unexplained = (matrix @ found - measured).reshape(-1, 6) / MANDEL
    return Elasticity(
        stiffness=np.einsum("c,cij->ij", found[: len(allowed)], allowed) / np.outer(MANDEL, MANDEL),
        stress=found[len(allowed) :] @ unstrained / MANDEL,
        residual=float(np.sqrt(np.mean(unexplained**2))),
        names=_independent(allowed),
    )


def _independent(allowed: Array) -> tuple[str, ...]:
    """Return the names of constants that are neither zero nor as large as one before them in what symmetry allows."""
    found: dict[str, Array] = {}
    for i, j in zip(*np.triu_indices(6), strict=True):
        one = allowed[:, i, j] / (MANDEL[i] * MANDEL[j])
        before = [np.zeros_like(one), *found.values()]
        if all(min(np.linalg.norm(one - other), np.linalg.norm(one + other)) > _ALIKE for other in before):
            found[f"c{i + 1}{j + 1}"] = one
    return tuple(found)


def needed(rotations: Array) -> list[str]:
    """Return the names of the strains that tell a crystal's constants apart: two for a cubic one along its axes.

    Parameters
    ----------
    rotations : numpy.ndarray, shape (rotations, 3, 3)
        The crystal's point group.
    """
    allowed, _ = invariants(rotations)
    chosen: list[str] = []
    known = 0
    for mode in MODES:
        responses = np.concatenate([_responses(allowed, each) for each in (*chosen, mode)])
        if (rank := int(np.linalg.matrix_rank(responses, tol=_TOLD_APART))) > known:
            chosen, known = [*chosen, mode], rank
    return chosen


def _responses(allowed: Array, mode: str) -> Array:
    """Return the stress, in Mandel's components, that each constant adds under a strain of 1; shape (6, constants)."""
    return np.asarray(np.einsum("cij,j->ic", allowed, vector(MODES[mode])))


def elastic_constants(
    structure: Atoms | Job,
    *,
    engine: str,
    task: str = "static",
    strain: float = 0.005,
    symprec: float | None = 0.01,
    lab: Lab | None = None,
    **options: Any,
) -> ElasticConstants:
    """Submit a crystal under small strains; ``group.wait().fit()`` gives its elastic constants.

    The stresses under up to six strains, each of four sizes of both signs, are fitted to Hooke's law by least squares,
    as by Y. Le Page and P. Saxe, Phys. Rev. B 65, 104104 (2002). Only as many are computed as the symmetry of the
    crystal asks for: 8 jobs for a cubic one along its axes, 12 for a hexagonal one, 24 for one without symmetry.

    Parameters
    ----------
    structure
        A relaxed crystal; or a job that has succeeded, whose final structure is meant.
    engine
        What computes the stresses.
    task
        "static", or "relax" for a crystal whose atoms move against each other under strain, such as silicon.
    strain
        Largest strain, as a fraction.
    symprec
        How far an atom may be from where symmetry has it, in Å. None takes no symmetry for granted, as where atoms of
        one element differ by more than their initial magnetic moments and charges, such as by types in a data file of
        LAMMPS, or where moments keep to directions in the crystal.
    lab
        Where to; the default lab unless given.
    **options
        What else `Lab.submit` takes.

    Raises
    ------
    InputError
        If a job cannot be carried out; nothing was stored or queued.
    JobError
        If the structure is that of a job which has not succeeded.
    """
    if not 0 < strain < 0.1:
        raise ParameterError("strain", strain, "a number between 0 and 0.1")
    if symprec is not None and not 0 < symprec <= _COARSEST:
        raise ParameterError("symprec", symprec, f"a number > 0 and ≤ {_COARSEST} Å, or None")
    if task not in _TASKS:
        raise ParameterError("task", task, f"one of {', '.join(map(repr, _TASKS))}")
    if options.get("cell", "fixed") != "fixed":
        raise ParameterError("cell", options["cell"], "'fixed': in a cell that relaxes, no strain is left")
    atoms = crystal(structure)
    lab = lab or default_lab()
    rotations = point_group(atoms, symprec)
    points = [(mode, step * strain) for mode in needed(rotations) for step in _STEPS]
    head = options.pop("name", None) or f"{atoms.get_chemical_formula()} elastic constants"
    drafts = [
        Draft(strained(atoms, MODES[mode] * size), engine=engine, task=task, name=f"{head} {mode} {size:g}", **options)
        for mode, size in points
    ]
    columns: dict[str, list[Any]] = {"mode": [mode for mode, _ in points], "strain": [size for _, size in points]}
    return ElasticConstants(lab, lab.submit_many(drafts).ids, columns, rotations=rotations)
