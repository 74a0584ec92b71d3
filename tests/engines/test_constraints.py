"""Constraints of ASE as programs know them, which fix coordinates along the axes or along the cell vectors."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian, FixScaled

from nanoos_lab.core.errors import StructureError
from nanoos_lab.engines import constraints

KINDS = {"axes": (FixCartesian, FixScaled), "cell": (FixScaled, FixCartesian)}


@pytest.mark.parametrize("along", ["axes", "cell"])
def test_where_the_cell_vectors_are_the_axes_both_kinds_say_the_same(along) -> None:
    atoms = bulk("Si", cubic=True)
    atoms.set_constraint(
        [FixAtoms([0]), FixCartesian([1, 2], (True, False, False)), FixScaled([2], (False, False, True))]
    )
    free = constraints.movable(atoms, along=along, program="it")
    assert free.tolist()[:4] == [[False] * 3, [False, True, True], [False, True, False], [True] * 3]


@pytest.mark.parametrize("along", ["axes", "cell"])
def test_elsewhere_the_other_kind_is_kept_only_if_it_fixes_the_whole_atom(along) -> None:
    atoms = bulk("Si")
    own, other = KINDS[along]
    atoms.set_constraint([own([0], (True, False, False)), other([1], (True, True, True))])
    free = constraints.movable(atoms, along=along, program="it")
    np.testing.assert_array_equal(free, [[False, True, True], [False] * 3])
    atoms.set_constraint(other([1], (True, False, False)))
    with pytest.raises(StructureError, match=rf"those of {other.__name__} in this cell.*use {own.__name__}"):
        constraints.movable(atoms, along=along, program="it")


def test_a_constraint_that_no_program_can_keep_is_refused() -> None:
    atoms = bulk("Si")
    atoms.set_constraint(FixBondLengths([[0, 1]]))
    with pytest.raises(StructureError, match=r"FixBondLengths cannot be kept by pw\.x"):
        constraints.movable(atoms, along="axes", program="pw.x")
