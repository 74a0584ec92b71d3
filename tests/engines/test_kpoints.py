"""Meshes of k-points and paths through the Brillouin zone, which engines have in common."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.engines import kpoints


def test_a_mesh_is_dense_enough_where_the_structure_is_periodic() -> None:
    # 2π / 3 Å / 0.5 Å⁻¹ = 4.19, so five.
    assert kpoints.mesh(np.diag([3.0, 4.0, 20.0]), (True, True, False), 0.5) == (5, 4, 1)
    # A multiple of the spacing, save for rounding.
    assert kpoints.mesh(np.diag([2 * np.pi / 0.3] * 3), (True, True, True), 0.1) == (3, 3, 3)


def test_lengths_along_a_path_have_the_factor_2_pi() -> None:
    path = kpoints.band_path(Atoms("Si", cell=[4.0, 4.0, 4.0], pbc=True), "GX", 5)
    found = kpoints.along(path)
    np.testing.assert_allclose(found["distances"], np.linspace(0, np.pi / 4, 5))
    np.testing.assert_allclose(found["special_distances"], [0, np.pi / 4])
    assert (found["path"], found["special_labels"]) == ("GX", "G,X")


def test_points_that_a_lattice_does_not_have_are_answered_with_those_that_it_has() -> None:
    with pytest.raises(ParameterError, match="special points of the lattice, G, K, L, U, W, X") as caught:
        kpoints.band_path(bulk("Si"), "GM", 20)
    assert caught.value.field == "path"


@pytest.mark.parametrize(
    ("occupied", "expected"),
    [
        ([[[1, 1, 0]], [[1, 1, 0]]], {"band_gap": 1.0}),
        # Up to the second level of one spin and the first of the other.
        ([[[1, 1, 0]], [[1, 0, 0]]], {}),
        ([[[1, 0.5, 0]], [[1, 0.5, 0]]], {}),
        ([[[1, 1, 1]], [[1, 1, 1]]], {}),
    ],
)
def test_a_gap_is_above_what_both_spins_have_full(occupied, expected) -> None:
    levels = np.array([[[0.0, 1.0, 2.0], [0.1, 0.9, 2.1]]] * 2)
    assert kpoints.gap(levels, np.array(occupied, dtype=float)) == expected
    assert kpoints.gap(levels, None) == kpoints.gap(None, np.array(occupied, dtype=float)) == {}
