"""A structure survives freezing, and equal structures are equal values."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import (
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixConstraint,
    FixedLine,
    FixedPlane,
    FixInternals,
    FixScaled,
    Hookean,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nanoos_lab.core.errors import StructureError
from nanoos_lab.core.structures import Structure

CONSTRAINTS = [
    FixAtoms([0, 2]),
    FixBondLengths([[0, 1]]),
    FixCartesian([1], mask=(True, False, True)),
    FixCom(),
    FixScaled([0], mask=(True, True, False)),
    FixedLine([0], direction=[0, 1, 1]),
    FixedPlane([0, 1], direction=[1, 0, 0]),
    FixInternals(bonds=[[1.5, [0, 1]]]),
    Hookean(0, 1, rt=1.5, k=5.0),
]
ALL_ARRAYS = ("numbers", "positions", "momenta", "masses", "tags", "initial_magmoms", "initial_charges")

coordinates = st.floats(-1e6, 1e6)


@st.composite
def structures(draw: st.DrawFn) -> Atoms:
    size = draw(st.integers(1, 5))
    atoms = Atoms(
        numbers=draw(arrays(int, size, elements=st.integers(1, 103))),
        positions=draw(arrays(float, (size, 3), elements=coordinates)),
        cell=np.diag(draw(arrays(float, 3, elements=st.floats(0.1, 1e3)))),
        pbc=draw(st.tuples(st.booleans(), st.booleans(), st.booleans())),
    )
    columns = {"momenta": 3, "masses": None, "tags": None, "initial_magmoms": None, "initial_charges": None}
    for name in draw(st.sets(st.sampled_from(sorted(columns)))):
        shape = (size, 3) if columns[name] else (size,)
        kind: Any = int if name == "tags" else float
        elements = st.integers(0, 9) if name == "tags" else st.floats(0.1, 300)
        atoms.set_array(name, draw(arrays(kind, shape, elements=elements)))
    if draw(st.booleans()):
        atoms.set_constraint(FixAtoms([draw(st.integers(0, size - 1))]))
    return atoms


@given(structures())
def test_a_structure_comes_back_as_it_was(atoms):
    back = Structure.encode(atoms).atoms()
    assert back == atoms
    assert set(back.arrays) == set(atoms.arrays)
    for name in atoms.arrays:
        np.testing.assert_array_equal(back.arrays[name], atoms.arrays[name])
    assert [c.todict() for c in back.constraints] == [c.todict() for c in atoms.constraints]


@given(structures())
def test_freezing_again_gives_the_same_bytes(atoms):
    frozen = Structure.encode(atoms)
    again = Structure.encode(frozen.atoms())
    assert again == frozen
    assert hash(again) == hash(frozen)
    assert again.digest == frozen.digest
    assert pickle.loads(pickle.dumps(frozen)) == frozen


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=lambda constraint: type(constraint).__name__)
def test_constraints_come_back(constraint):
    atoms = molecule("CH3CH2OH", vacuum=3, pbc=True)
    atoms.set_constraint(constraint)
    (back,) = Structure.encode(atoms).atoms().constraints
    assert type(back) is type(constraint)
    assert repr(back.todict()) == repr(Structure.encode(atoms).atoms().constraints[0].todict())
    moved = atoms.positions + 0.1 * np.arange(3)
    expected, found = atoms.copy(), Structure.encode(atoms).atoms()
    expected.set_positions(moved)
    found.set_positions(moved)
    np.testing.assert_allclose(found.positions, expected.positions)


@pytest.mark.parametrize("name", ALL_ARRAYS)
def test_a_change_of_any_array_is_another_structure(name):
    atoms = bulk("Cu", cubic=True)
    for other in ALL_ARRAYS:
        if not atoms.has(other):
            shape = (4, 3) if other == "momenta" else 4
            atoms.set_array(other, np.ones(shape, dtype=int if other == "tags" else float))
    changed = atoms.copy()
    changed.arrays[name] = atoms.arrays[name] + 1
    assert Structure.encode(changed) != Structure.encode(atoms)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("numbers", [200] * 4, "0 to 118"),
        ("numbers", [-1] * 4, "0 to 118"),
        ("numbers", [29.5] * 4, "must be integers"),
        ("numbers", ["Cu"] * 4, "not real numbers"),
        ("tags", [1e300] * 4, "must be integers"),
        ("tags", [0.5] * 4, "must be integers"),
        ("positions", [[0.0] * 3] * 3, "the shape"),
        ("positions", [["a"] * 3] * 4, "not real numbers"),
        ("momenta", [[0.0] * 2] * 4, "the shape"),
        ("masses", [1j] * 4, "not real numbers"),
        ("initial_magmoms", [None] * 4, "not real numbers"),
        ("initial_charges", [0.0] * 3, "the shape"),
    ],
)
def test_an_array_that_is_none_of_a_structure_is_refused(name, values, says):
    atoms = bulk("Cu", cubic=True)
    atoms.arrays[name] = np.array(values)
    with pytest.raises(StructureError, match=says):
        Structure.encode(atoms)


def test_magnetic_moments_may_be_vectors_and_tags_whole_floats():
    atoms = bulk("Cu", cubic=True)
    atoms.arrays["initial_magmoms"], atoms.arrays["tags"] = np.ones((4, 3)), np.array([0.0, 1.0, 2.0, 3.0])
    back = Structure.encode(atoms).atoms()
    assert back.arrays["initial_magmoms"].shape == (4, 3)
    assert back.get_tags().tolist() == [0, 1, 2, 3]


def test_a_constraint_on_an_atom_that_there_is_not_is_refused():
    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(FixAtoms([99]))
    with pytest.raises(StructureError, match=r"FixAtoms names atoms \[99\], but there are only 4"):
        Structure.encode(atoms)


def test_minus_zero_is_zero():
    plus, minus = Atoms("H", positions=[[0.0, 0, 0]]), Atoms("H", positions=[[-0.0, 0, 0]])
    assert plus == minus
    assert Structure.encode(plus) == Structure.encode(minus)


def test_momenta_are_kept_even_where_a_constraint_would_stop_them():
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]], constraint=FixAtoms([0]))
    atoms.set_momenta(np.ones((2, 3)), apply_constraint=False)
    np.testing.assert_array_equal(Structure.encode(atoms).atoms().get_momenta(), np.ones((2, 3)))


@given(structures())
def test_its_formula_is_the_one_that_ase_shows(atoms):
    assert Structure.encode(atoms).formula == atoms.get_chemical_formula()


def test_it_knows_what_it_is_made_of():
    structure = Structure.encode(molecule("CH3CH2OH"))
    assert structure.formula == "C2H6O"
    assert structure.natoms == 9
    assert structure.elements == {"C", "H", "O"}
    assert structure.pbc == (False, False, False)


def test_its_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        Structure.encode(bulk("Cu")).arrays()["positions"][0] = 1.0


def test_other_bytes_are_refused():
    with pytest.raises(StructureError):
        Structure(b"something else").atoms()


def no_cell() -> Atoms:
    return Atoms("Cu", pbc=True)


def flat_along_z() -> Atoms:
    return Atoms("Cu", cell=[3, 3, 0], pbc=(False, False, True))


def with_nan(name: str) -> Atoms:
    atoms = bulk("Cu", cubic=True)
    if name == "cell":
        atoms.cell[0, 0] = np.nan
    else:
        values = atoms.positions.copy() if name == "positions" else np.ones((4, 3))
        values[2, 1] = np.nan
        atoms.set_array(name, values)
    return atoms


def massless() -> Atoms:
    atoms = bulk("Cu")
    atoms.set_masses([0.0])
    return atoms


class Unknown(FixConstraint):
    """A constraint that only its author can make."""


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("Cu4", "ase.Atoms, not builtins.str"),
        (None, "ase.Atoms"),
        (Atoms(), "no atoms"),
        (no_cell(), "no volume"),
        (flat_along_z(), "axis 2"),
        (with_nan("positions"), "atom 2"),
        (with_nan("momenta"), "momenta"),
        (with_nan("cell"), "cell"),
        (massless(), "masses"),
        (Atoms("Cu", constraint=Unknown()), "constraint Unknown"),
    ],
)
def test_a_structure_that_no_engine_can_run_is_refused_with_the_reason(wrong, words):
    with pytest.raises(StructureError, match=words):
        Structure.encode(wrong)
