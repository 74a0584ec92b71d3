"""Supercells of a crystal with a displaced atom, and what follows from the forces in them; the algebra is phonopy's.

The frozen-phonon method of K. Parlinski, Z. Q. Li, Y. Kawazoe, Phys. Rev. Lett. 78, 4063 (1997), with as few
displacements as the symmetry allows, by phonopy (A. Togo, J. Phys. Soc. Jpn. 92, 012001, 2023).
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import InputError, ParameterError, StructureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from phonopy import Phonopy

    Array = np.ndarray[Any, Any]

CITATION = "A. Togo, J. Phys. Soc. Jpn. 92, 012001 (2023)"
#: What to say where phonopy is not installed.
NO_PHONOPY = "phonons need phonopy: pip install 'nanoos-lab[phonons]'"
#: What atoms of a supercell have in common with those of the cell that it repeats.
PER_ATOM = ("masses", "tags", "initial_magmoms", "initial_charges")


def missing() -> str:
    """Say what is missing here; empty if nothing is."""
    return "" if find_spec("phonopy") else NO_PHONOPY


def matrix_of(supercell: Any) -> Array:
    """Return how often a cell is repeated as a matrix of integers, shape (3, 3).

    Raises
    ------
    ParameterError
        If it is no integer ≥ 1, and no three of them, and no matrix of a positive determinant.
    """
    try:
        found = np.asarray(supercell)
    except ValueError:
        found = np.empty(0)
    whole = found.dtype.kind in "iu"
    if whole and found.shape == ():
        found = np.eye(3, dtype=int) * int(found)
    elif whole and found.shape == (3,):
        found = np.diag(found)
    if not whole or found.shape != (3, 3) or round(float(np.linalg.det(found))) < 1:
        raise ParameterError("supercell", supercell, "an integer ≥ 1, three of them, or a matrix of them")
    return found


def check(atoms: Atoms) -> None:
    """Raise unless a structure is a crystal whose symmetry phonopy can find.

    Raises
    ------
    StructureError
        If it is not periodic, or has isotopes: to that symmetry, atoms of one element are the same.
    """
    if not atoms.pbc.all():
        raise StructureError(f"a crystal, periodic in all directions, is needed; pbc is {atoms.pbc.tolist()}")
    for number in np.unique(atoms.numbers):
        masses = np.unique(atoms.get_masses()[atoms.numbers == number])
        if len(masses) > 1:
            symbol = atoms.symbols[int(np.argmax(atoms.numbers == number))]
            listed = ", ".join(f"{mass:g}" for mass in masses)
            raise StructureError(f"all atoms of an element must have one mass; those of {symbol} have {listed} u")


def displaced(atoms: Atoms, matrix: Array, distance: float) -> Phonopy:
    """Return phonopy's view of a crystal, with its displacements.

    Parameters
    ----------
    atoms
        The crystal.
    matrix
        How often it is repeated, shape (3, 3).
    distance
        How far an atom is displaced, in Å.

    Raises
    ------
    InputError
        If phonopy is not here.
    """
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
        from phonopy.structure.cells import guess_primitive_matrix
    except ImportError as error:
        raise InputError(f"{NO_PHONOPY} ({error})") from error
    cell = PhonopyAtoms(
        numbers=atoms.numbers,
        scaled_positions=atoms.get_scaled_positions(),
        cell=atoms.cell.array,
        masses=atoms.get_masses(),
        # Atoms that differ only in their moment are not equivalent: an antiferromagnet has a larger primitive cell.
        magnetic_moments=atoms.arrays.get("initial_magmoms"),
    )
    with warnings.catch_warnings():
        # Of just that larger cell it warns, too.
        warnings.filterwarnings("ignore", "The input unit cell has a magnetic ordering", UserWarning)
        primitive = guess_primitive_matrix(cell)
    found = Phonopy(cell, supercell_matrix=matrix, primitive_matrix=primitive)
    found.generate_displacements(distance=distance)
    return found


def supercells(dataset: Phonopy, atoms: Atoms) -> list[Atoms]:
    """Return the supercell that is not displaced, then those that are, with what the atoms of the crystal have."""
    return [
        _supercell(cell, dataset, atoms) for cell in (dataset.supercell, *(dataset.supercells_with_displacements or []))
    ]


def solved(dataset: Phonopy, forces: Sequence[Array] | Array) -> Phonopy:
    """Return phonopy's view of a crystal, with its force constants.

    Forces of the supercell that is not displaced are taken off, and the force constants are made to obey Newton's
    third law and invariance under translation.

    Parameters
    ----------
    dataset
        With its displacements.
    forces
        Forces in eV/Å in the supercells in the order of `supercells`, shape (displacements + 1, atoms, 3).
    """
    still, *others = forces
    found = dataset.replicate()
    found.dataset = dataset.dataset
    found.forces = np.array(others) - np.asarray(still)
    found.produce_force_constants(show_drift=False)
    found.symmetrize_force_constants(show_drift=False)
    return found


def frequencies(solution: Phonopy, wave_vectors: Sequence[Sequence[float]] | Array) -> Array:
    """Return frequencies in THz, shape (points, branches); wave vectors in the primitive cell's reciprocal vectors."""
    return np.array(solution.run_qpoints(np.asarray(wave_vectors, dtype=float)).frequencies)


def plain(cell: Any) -> Atoms:
    """Return a cell of phonopy's as `ase.Atoms`."""
    from ase import Atoms

    return Atoms(numbers=cell.numbers, positions=cell.positions, cell=cell.cell, pbc=True)


def _supercell(cell: Any, dataset: Phonopy, atoms: Atoms) -> Atoms:
    """Return a supercell with what the atoms of the crystal have besides positions."""
    found = plain(cell)
    first = {image: original for original, image in enumerate(dataset.supercell.u2s_map)}
    origin = [first[image] for image in dataset.supercell.s2u_map]
    for name in PER_ATOM:
        if name in atoms.arrays:
            found.set_array(name, atoms.arrays[name][origin])
    return found
