"""Phonons of a crystal, from the forces in supercells with a displaced atom; symmetry and algebra are phonopy's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nanoos_lab.core.errors import InputError, ParameterError
from nanoos_lab.engines import displacements
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.group import Group
from nanoos_lab.lab.lab import default_lab
from nanoos_lab.lab.reproduce import as_run
from nanoos_lab.lab.workflows.cells import crystal
from nanoos_lab.lab.workflows.fits import Fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from ase import Atoms
    from phonopy import Phonopy

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab

    Array = np.ndarray[Any, Any]

#: Mesh of wave vectors unless another one is asked for.
MESH = (20, 20, 20)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LatticeDynamics(Fit):
    """Harmonic lattice dynamics of a crystal.

    Frequencies are in THz, not angular; an imaginary one, where the crystal is not stable, is a negative number. Wave
    vectors are in the reciprocal vectors of the primitive cell. What counts per cell counts per primitive cell.
    """

    _own_units: ClassVar = {"residual_force": "eV/Å"}

    #: The phonopy object behind all this, with its force constants.
    phonopy: Phonopy = field(repr=False)
    #: The primitive cell.
    primitive: Atoms
    #: Wave vectors along the three reciprocal vectors, for `dos` and `thermal`.
    mesh: tuple[int, int, int]
    #: Largest force in eV/Å on an atom that is not displaced; taken off the others. Far from zero, the structure was
    #: not relaxed.
    residual_force: float

    @property
    def force_constants(self) -> Array:
        """Force constants in eV/Å², shape (atoms of the supercell, atoms of the supercell, 3, 3)."""
        return np.array(self.phonopy.force_constants)

    @property
    def gamma(self) -> Array:
        """Frequencies at Γ in THz, from the lowest up, shape (3 atoms of the primitive cell,)."""
        found: Array = self.frequencies([(0.0, 0.0, 0.0)])[0]
        return found

    @property
    def stable(self) -> bool:
        """Whether no frequency on the mesh is imaginary, by more than 0.05 THz."""
        return bool(np.min(self._on_mesh().frequencies) > -0.05)

    def frequencies(self, wave_vectors: Sequence[Sequence[float]] | Array) -> Array:
        """Return frequencies in THz.

        Parameters
        ----------
        wave_vectors : array_like, shape (points, 3)
            In the reciprocal vectors of the primitive cell.

        Returns
        -------
        numpy.ndarray, shape (points, 3 atoms of the primitive cell)
        """
        return displacements.frequencies(self.phonopy, wave_vectors)

    def bands(self, path: str | None = None, *, points: int = 100) -> pd.DataFrame:
        """Return frequencies along a path through the Brillouin zone.

        Parameters
        ----------
        path
            Its special points as ASE writes them, such as "GXWKGL"; the usual one of the lattice unless given.
        points
            How many wave vectors.

        Returns
        -------
        pandas.DataFrame
            A row per wave vector: `distance` along the path in 1/Å, factor 2π included, `label` of a special point
            or "", the wave vector as `q1`, `q2`, `q3`, and `branch_1` … in THz.
        """
        import pandas as pd

        found = self.primitive.cell.bandpath(path, npoints=points)
        distances, special, names = found.get_linear_kpoint_axis()
        labels = [""] * len(distances)
        for place, name in zip(special, names, strict=True):
            labels[int(np.argmin(np.abs(distances - place)))] = name
        frequencies = self.frequencies(found.kpts)
        branches = {f"branch_{number + 1}": frequencies[:, number] for number in range(frequencies.shape[1])}
        vectors = {f"q{axis + 1}": found.kpts[:, axis] for axis in range(3)}
        table = pd.DataFrame({"distance": distances, "label": labels, **vectors, **branches})
        table.attrs["units"] = {"distance": "1/Å", "label": "", **dict.fromkeys(vectors, "1")} | dict.fromkeys(
            branches, "THz"
        )
        return table

    def dos(self) -> pd.DataFrame:
        """Return the density of states by the tetrahedron method, in states per THz and cell, by `frequency` in THz."""
        import pandas as pd

        self._on_mesh()
        found = self.phonopy.run_total_dos()
        index = pd.Index(found.frequency_points, name="frequency")
        table = pd.DataFrame({"dos": np.array(found.dos)}, index=index)
        table.attrs["units"] = {"frequency": "THz", "dos": "1/THz"}
        return table

    def thermal(self, temperatures: Sequence[float] | Array | None = None) -> pd.DataFrame:
        """Return what the vibrations add to free energy, entropy and heat capacity of a cell, at constant volume.

        Modes of imaginary frequency, and the three of Γ that move the whole crystal, are left out.

        Parameters
        ----------
        temperatures
            In K; from 0 to 1000 K in steps of 10 K unless given.

        Returns
        -------
        pandas.DataFrame
            `free_energy` in eV, `entropy` and `heat_capacity` in eV/K, by `temperature` in K.
        """
        import pandas as pd
        from ase import units

        self._on_mesh()
        wanted = np.arange(0.0, 1001.0, 10.0) if temperatures is None else np.asarray(temperatures, dtype=float)
        found = self.phonopy.run_thermal_properties(temperatures=wanted, exclude_gamma_acoustic=True)
        kelvin, energy, entropy, capacity = np.asarray(found.thermal_properties)
        joule = units.J / units.mol
        table = pd.DataFrame(
            {
                "free_energy": np.array(energy) * 1000 * joule,
                "entropy": np.array(entropy) * joule,
                "heat_capacity": np.array(capacity) * joule,
            },
            index=pd.Index(kelvin, name="temperature"),
        )
        table.attrs["units"] = {"temperature": "K", "free_energy": "eV", "entropy": "eV/K", "heat_capacity": "eV/K"}
        return table

    def _on_mesh(self) -> Any:
        """Compute the frequencies on the mesh, which has Γ in it, so that it keeps the symmetry of any lattice."""
        return self.phonopy.run_mesh(self.mesh, is_gamma_center=True)


class Phonons(Group):
    """The supercells; ``fit()`` is what follows from the forces in them.

    The first is not displaced. Its `results` have the `displaced` atom, −1 for none, and the `displacement` in Å.
    """

    #: The displacements, as phonopy knows them.
    dataset: Phonopy
    #: Wave vectors along the three reciprocal vectors.
    mesh: tuple[int, int, int] = MESH

    def fit(self) -> LatticeDynamics:
        """Return the lattice dynamics that the forces tell of.

        Forces of the supercell that is not displaced are taken off, and the force constants are made to obey Newton's
        third law and invariance under translation.

        Raises
        ------
        JobError
            If a job has not succeeded.
        """
        self.succeeded()
        forces = [np.asarray(job.results["forces"]) for job in self]
        return _fitted(self.dataset, displacements.moves_of(self.dataset), forces, self.mesh)


def phonons(
    structure: Atoms | Job,
    *,
    engine: str,
    supercell: int | Sequence[int] | Sequence[Sequence[int]] = 2,
    mesh: int | Sequence[int] = MESH,
    distance: float = 0.01,
    lab: Lab | None = None,
    **options: Any,
) -> Phonons:
    """Submit supercells of a crystal with a displaced atom; ``group.wait().fit()`` gives its phonons.

    The frozen-phonon method of K. Parlinski, Z. Q. Li, Y. Kawazoe, Phys. Rev. Lett. 78, 4063 (1997), with as few
    displacements as the symmetry allows, by phonopy (A. Togo, J. Phys. Soc. Jpn. 92, 012001, 2023).

    Parameters
    ----------
    structure
        A relaxed crystal; or a job that has succeeded, whose final structure is meant.
    engine
        What computes the forces, as task "static".
    supercell
        How often the cell is repeated: one number, one for each cell vector, or a matrix whose rows are the vectors of
        the supercell, as in `ase.build.make_supercell`. Forces must vanish over half its width.
    mesh
        Wave vectors along the three reciprocal vectors of the primitive cell, for density of states and heat.
    distance
        How far an atom is displaced, in Å.
    lab
        Where to; the default lab unless given.
    **options
        What else `Lab.submit` takes.

    Raises
    ------
    InputError
        If a job cannot be carried out, or phonopy is not here; nothing was stored or queued.
    """
    if isinstance(distance, bool) or not isinstance(distance, (int, float)) or not 0 < distance < 1:
        raise ParameterError("distance", distance, "a number between 0 and 1 Å")
    matrix = displacements.matrix_of(supercell)
    points = _mesh(mesh)
    atoms = crystal(structure)
    displacements.check(atoms)
    dataset = displacements.displaced(atoms, matrix, float(distance))
    lab = lab or default_lab()
    head = options.pop("name", None) or f"{atoms.get_chemical_formula()} phonons"
    cells = displacements.supercells(dataset, atoms)
    moves = [(-1, np.zeros(3)), *((int(number), np.array(move)) for number, *move in dataset.displacements)]
    drafts = [
        Draft(cell, engine=engine, task="static", name=f"{head} {number}", **options)
        for number, cell in enumerate(cells)
    ]
    columns: dict[str, list[Any]] = {
        "displaced": [number for number, _ in moves],
        "displacement": [float(np.linalg.norm(move)) for _, move in moves],
    }
    group = Phonons(lab, lab.submit_many(drafts).ids, columns, {"displaced": "", "displacement": "Å"})
    group.dataset, group.mesh = dataset, points
    return group


def lattice_dynamics(job: Job, *, mesh: int | Sequence[int] = MESH) -> LatticeDynamics:
    """Return the lattice dynamics of a crystal from a job of the task "phonons".

    Parameters
    ----------
    job
        It has succeeded.
    mesh
        Wave vectors along the three reciprocal vectors of the primitive cell, for density of states and heat.

    Raises
    ------
    InputError
        If it is a job of another task, or phonopy is not here.
    JobError
        If it has not succeeded.
    """
    points = _mesh(mesh)
    if job.request.task != "phonons":
        raise InputError(f"job {job.id} is of task {job.request.task!r}; lattice dynamics need one of task 'phonons'")
    forces = np.asarray(job.results["supercell_forces"])
    request = as_run(job)
    if request.structure is None:
        raise InputError(f"the structure of job {job.id} is not known any more")
    given = request.parameters
    matrix = displacements.matrix_of(given["supercell"])
    dataset = displacements.repeated(request.structure.atoms(), matrix)
    here, there = dataset.supercell.positions, np.asarray(job.results["supercell_positions"])
    if here.shape != there.shape or not np.allclose(here, there, atol=1e-6):
        raise InputError(f"this phonopy repeats cells in another order than that with which job {job.id} has run")
    moves = np.asarray(job.results["displaced_atoms"]), np.asarray(job.results["displacements"])
    return _fitted(dataset, moves, forces, points)


def _fitted(
    dataset: Phonopy, moves: tuple[Array, Array], forces: Sequence[Array] | Array, mesh: tuple[int, int, int]
) -> LatticeDynamics:
    found = displacements.solved(dataset, moves, forces, full=True)
    return LatticeDynamics(
        phonopy=found,
        primitive=displacements.plain(found.primitive),
        mesh=mesh,
        residual_force=float(np.linalg.norm(forces[0], axis=1).max()),
    )


def _mesh(mesh: Any) -> tuple[int, int, int]:
    found = np.asarray(mesh)
    if found.dtype.kind not in "iu" or found.shape not in ((), (3,)) or (found < 1).any():
        raise ParameterError("mesh", mesh, "an integer ≥ 1, or three of them")
    first, second, third = np.broadcast_to(found, 3).tolist()
    return first, second, third
