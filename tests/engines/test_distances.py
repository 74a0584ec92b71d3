"""Which atoms are on top of each other, and which engines refuse them."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from hypothesis import given
from hypothesis import strategies as st

from nanoos_lab.core.errors import StructureError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.engines.distances import NEAREST, check, closest

SPRINGS = {"calculator": "tests.engines.ase.doubles:Springs"}


@given(st.integers(0, 10_000), st.tuples(st.booleans(), st.booleans(), st.booleans()), st.floats(0.3, 2.5))
def test_the_closest_two_are_those_of_ase(seed: int, pbc: tuple[bool, bool, bool], limit: float) -> None:
    random = np.random.default_rng(seed)
    cell = np.eye(3) * 6 + random.normal(scale=0.8, size=(3, 3))
    structure = Atoms("H8", positions=random.uniform(-4, 10, size=(8, 3)), cell=cell, pbc=pbc)
    i, j, d = neighbor_list("ijd", structure, limit)
    found = closest(structure, limit)
    if found is None:
        assert not len(d)
        return
    assert found[2] == pytest.approx(d.min())
    assert set(found[:2]) in [{a, b} for a, b in zip(i, j, strict=True)]


def test_a_large_structure_is_checked_quickly() -> None:
    structure = bulk("Cu", cubic=True) * (40, 40, 40)
    begin = time.process_time()
    assert closest(structure, NEAREST) is None
    assert time.process_time() - begin < 5


def test_atoms_without_positions_take_no_memory() -> None:
    structure = Atoms("Cu3000")
    tracemalloc.start()
    try:
        assert closest(structure, NEAREST) == (0, 1, 0.0)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_an_atom_overlaps_its_own_image_in_a_cell_without_room() -> None:
    structure = Atoms("Cu", cell=[3, 3, 0.2], pbc=True)
    with pytest.raises(StructureError, match=r"atom 0 and its own image overlap: they are 0\.2 Å apart"):
        check(structure)
    structure.pbc = (True, True, False)
    check(structure)
    with pytest.raises(StructureError, match="own image"):
        check(structure, periodic=True)


def test_periodic_vectors_that_are_parallel_are_refused() -> None:
    with pytest.raises(StructureError, match="not independent"):
        check(Atoms("Cu", cell=[[3, 0, 0], [3, 0, 0], [0, 0, 3]], pbc=(True, True, False)))


@pytest.mark.parametrize(
    ("engine", "parameters"),
    [
        ("ase", {"calculator": "emt"}),
        ("ase", {"calculator": "lj", "epsilon": 0.01, "sigma": 2.3}),
        ("ase", SPRINGS),
        ("tblite", {"method": "GFN2-xTB"}),
        ("chgnet", {"model": "0.3.0"}),
        ("gpaw", {"xc": "PBE"}),
        ("lammps", {"potential": "Cu_u3.eam"}),
    ],
)
def test_engines_refuse_atoms_in_one_place(engine: str, parameters: dict[str, object]) -> None:
    atoms = Atoms("Cu2", cell=[9, 9, 9], pbc=True)
    adapter = registry.get(engine)
    given = validate(adapter.tasks["static"], parameters, where=engine)
    with pytest.raises(StructureError, match="atoms 0 and 1 overlap"):
        adapter.check(Structure.encode(atoms), "static", given, EnginePolicy())
    atoms.positions[1, 0] = 2.5
    adapter.check(Structure.encode(atoms), "static", given, EnginePolicy())


@pytest.mark.parametrize("parameters", [SPRINGS, {"calculator": "lj", "epsilon": 1.0, "sigma": 0.1}])
def test_engine_ase_takes_systems_in_reduced_units(parameters: dict[str, object]) -> None:
    atoms = Atoms("Cu2", positions=[(0, 0, 0), (0, 0, 0.11)])
    adapter = registry.get("ase")
    given = validate(adapter.tasks["static"], parameters, where="ase")
    adapter.check(Structure.encode(atoms), "static", given, EnginePolicy())


def test_the_end_of_a_path_is_looked_at_too() -> None:
    first = Atoms("Cu2", positions=[(0, 0, 0), (0, 0, 2.5)])
    final = Atoms("Cu2", positions=[(0, 0, 0), (0, 0, 0.1)])
    adapter = registry.get("ase")
    given = validate(adapter.tasks["neb"], {"calculator": "emt", "final": final}, where="ase")
    with pytest.raises(StructureError, match="final: atoms 0 and 1 overlap"):
        adapter.check(Structure.encode(first), "neb", given, EnginePolicy())
