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
#: How to get what may be missing.
INSTALL = "pip install 'nanoos-lab[phonons]'"
#: What to say where phonopy is not installed.
NO_PHONOPY = f"phonopy is missing: {INSTALL}"
#: What atoms of a supercell have in common with those of the cell that it repeats.
PER_ATOM = ("masses", "tags", "initial_magmoms", "initial_charges")


def missing() -> str:
    """Say what is missing here; empty if nothing is."""
    return "" if find_spec("phonopy") else NO_PHONOPY


def matrix_of(supercell: Any) -> Array:
    """Return how often a cell is repeated as a matrix of integers, shape (3, 3).

    Its rows are the vectors of the supercell in those of the cell, as in `ase.build.make_supercell`.

    Raises
    ------
    ParameterError
        If it is no integer ≥ 1, and no three of them, and no matrix of a positive determinant.
    """
    try:
        found = np.asarray(supercell)
    except ValueError:
        found = np.empty(0)
    whole = found.dtype.kind in "iu" and not any(
        isinstance(each, (bool, np.bool_)) for each in np.ravel(np.array(supercell, object))
    )
    if whole and found.shape in ((), (3,)):
        whole = bool((found >= 1).all())
        found = np.diag(np.broadcast_to(found, 3))
    if not whole or found.shape != (3, 3) or round(float(np.linalg.det(found))) < 1:
        raise ParameterError("supercell", supercell, "an integer ≥ 1, three of them, or a matrix of them")
    return found


def check(atoms: Atoms) -> None:
    """Raise unless a structure is a crystal whose symmetry phonopy can find.

    Raises
    ------
    StructureError
        If it is not periodic, or left-handed, or has isotopes: to that symmetry, atoms of one element are the same.
    """
    if not atoms.pbc.all():
        raise StructureError(f"a crystal, periodic in all directions, is needed; pbc is {atoms.pbc.tolist()}")
    if np.linalg.det(atoms.cell.array) <= 0:
        raise StructureError("the cell vectors are left-handed: exchange two of them, or the sign of all three")
    for number in np.unique(atoms.numbers):
        masses = np.unique(atoms.get_masses()[atoms.numbers == number])
        if len(masses) > 1:
            symbol = atoms.symbols[int(np.argmax(atoms.numbers == number))]
            listed = ", ".join(f"{mass:g}" for mass in masses)
            raise StructureError(f"all atoms of an element must have one mass; those of {symbol} have {listed} u")


def repeated(atoms: Atoms, matrix: Array) -> Phonopy:
    """Return phonopy's view of a crystal and its supercell, without displacements.

    Parameters
    ----------
    atoms
        The crystal.
    matrix
        As `matrix_of` returns it.

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
    # Its columns are the vectors.
    return Phonopy(cell, supercell_matrix=matrix.T, primitive_matrix=primitive)


def displaced(atoms: Atoms, matrix: Array, distance: float) -> Phonopy:
    """Return the same with displacements by a distance in Å."""
    found = repeated(atoms, matrix)
    found.generate_displacements(distance=distance)
    return found


def moves_of(dataset: Phonopy) -> tuple[Array, Array]:
    """Return which atom of the supercell each displacement moves, and by which vector in Å."""
    moves = dataset.displacements
    atoms = np.array([int(number) for number, *_ in moves], dtype=int)
    return atoms, np.array([vector for _, *vector in moves], dtype=float).reshape(len(moves), 3)


def supercells(dataset: Phonopy, atoms: Atoms) -> list[Atoms]:
    """Return the supercell that is not displaced, then those that are, with what the atoms of the crystal have."""
    return [
        _supercell(cell, dataset, atoms) for cell in (dataset.supercell, *(dataset.supercells_with_displacements or []))
    ]


def solved(dataset: Phonopy, moves: tuple[Array, Array], forces: Sequence[Array] | Array, *, full: bool) -> Phonopy:
    """Return phonopy's view of a crystal, with its force constants.

    Forces of the supercell that is not displaced are taken off, and the force constants are made to obey Newton's
    third law and invariance under translation.

    Parameters
    ----------
    dataset
        The crystal and its supercell.
    moves
        The displacements, as `moves_of` returns them.
    forces
        Forces in eV/Å in the supercells in the order of `supercells`, shape (displacements + 1, atoms, 3).
    full
        Whether force constants are wanted for all pairs of atoms, which is a square of their number, or for the atoms
        of the primitive cell with all others.

    Raises
    ------
    InputError
        If the forces are not those of these displacements.
    """
    atoms, vectors = moves
    shape = (len(atoms) + 1, len(dataset.supercell), 3)
    if np.shape(forces) != shape:
        raise InputError(f"forces of shape {np.shape(forces)} are not those of these displacements, {shape}")
    still, *others = forces
    found = dataset.replicate()
    found.dataset = {
        "natom": shape[1],
        "first_atoms": [
            {"number": int(number), "displacement": vector} for number, vector in zip(atoms, vectors, strict=True)
        ],
    }
    found.forces = np.array(others) - np.asarray(still)
    found.produce_force_constants(calculate_full_force_constants=full, show_drift=False)
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
