"""LAMMPS's frame against ASE's Prism, and back again."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nanoos_lab.engines.lammps.box import Box

Array = np.ndarray[Any, Any]

cells = arrays(float, (3, 3), elements=st.floats(-10, 10).map(lambda value: round(value, 3)))
periodicities = st.tuples(st.booleans(), st.booleans(), st.booleans())


def well_shaped(cell: Array) -> bool:
    lengths = np.linalg.norm(cell, axis=1)
    return bool((lengths > 1).all() and abs(np.linalg.det(cell)) > 0.2 * lengths.prod())


@given(cells)
def test_the_frame_is_that_of_ases_prism(cell: Array) -> None:
    assume(well_shaped(cell))
    box, prism = Box.around(Atoms("H", cell=cell, pbc=True)), Prism(cell)
    np.testing.assert_allclose(box.cell, prism.lammps_tilt, atol=1e-9)
    np.testing.assert_allclose(box.rotation, prism.rot_mat, atol=1e-9)


@given(cells, periodicities)
def test_vectors_come_back_as_they_went_in(cell: Array, pbc: tuple[bool, bool, bool]) -> None:
    assume(well_shaped(cell))
    vectors = np.random.default_rng(1).normal(size=(5, 3))
    box = Box.around(Atoms("H5", positions=vectors, cell=cell, pbc=pbc))
    np.testing.assert_allclose(box.outwards(box.inwards(vectors)), vectors, atol=1e-12)
    np.testing.assert_allclose(box.cell_outwards(box.cell), cell, atol=1e-9)
    assert (np.diagonal(box.cell) > 0).all()


@given(cells, periodicities)
def test_directions_that_are_not_periodic_are_at_right_angles_and_hold_all_atoms(
    cell: Array, pbc: tuple[bool, bool, bool]
) -> None:
    """LAMMPS wants no tilt towards a direction that is not periodic (manual, page ``Howto_triclinic``)."""
    assume(well_shaped(cell))
    positions = np.random.default_rng(1).normal(scale=20, size=(5, 3))
    box = Box.around(Atoms("H5", positions=positions, cell=cell, pbc=pbc))
    inside = box.inwards(positions)
    for axis in np.flatnonzero(~np.array(pbc)):
        others = [other for other in range(3) if other != axis]
        np.testing.assert_allclose(box.cell[axis, others], 0, atol=1e-9)
        np.testing.assert_allclose(box.cell[others, axis], 0, atol=1e-9)
        assert (inside[:, axis] > box.origin[axis]).all()
        assert (inside[:, axis] < box.origin[axis] + box.cell[axis, axis]).all()


def test_an_aligned_cell_is_left_exactly_as_it_is() -> None:
    box = Box.around(Atoms("H", cell=[3.1, 4.2, 5.3], pbc=True))
    assert box.aligned
    np.testing.assert_array_equal(box.cell, np.diag([3.1, 4.2, 5.3]))
