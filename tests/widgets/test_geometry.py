"""Structures are turned into the frame in which NGL draws cells, and nothing else happens to them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from nanoos_lab.widgets.geometry import Placement


def distances(positions: np.ndarray) -> np.ndarray:
    return np.linalg.norm(positions[:, None] - positions[None], axis=-1)


def a_left_handed_crystal() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (2, 1, 1)
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    return atoms


@pytest.mark.parametrize("atoms", [bulk("Cu") * (2, 2, 2), bulk("Ti") * (2, 1, 1), a_left_handed_crystal()], ids=str)
def test_atoms_keep_their_place_in_the_cell_that_is_drawn(atoms: Atoms) -> None:
    placement = Placement.of(atoms.cell.array)
    drawn = placement.place(atoms.positions)
    assert placement.cell is not None
    box = Atoms(cell=placement.cell, pbc=True).cell
    inside = np.linalg.solve(box.array.T, drawn.T).T
    assert np.sort(inside.ravel()) == pytest.approx(np.sort(atoms.get_scaled_positions(wrap=False).ravel()), abs=1e-5)
    assert distances(drawn) == pytest.approx(distances(atoms.positions), abs=1e-4)
    assert np.linalg.det(placement.rotation) == pytest.approx(1.0), "a mirror would change the hand of a molecule"


def test_a_molecule_is_left_as_it_is() -> None:
    atoms = molecule("H2O")
    placement = Placement.of(atoms.cell.array)
    assert placement.cell is None
    assert placement.place(atoms.positions) == pytest.approx(atoms.positions, abs=1e-6)
