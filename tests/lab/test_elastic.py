"""Elastic constants against what the literature says of copper, and against what symmetry says of any crystal.

S. M. Foiles, M. I. Baskes, M. S. Daw, Phys. Rev. B 33, 7983 (1986), the potential Cu_u3.eam: a0 = 3.615 Å,
B = 138 GPa, C11 = 167 GPa, C12 = 124 GPa, C44 = 76 GPa (experiment: 170, 122.5, 75.8). How many constants a crystal
has: J. F. Nye, Physical Properties of Crystals (Oxford, 1985), table 9.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from ase.spacegroup import Spacegroup
from ase.spacegroup import crystal as crystal_of

from nanoos_lab.core.errors import JobError, ParameterError, StructureError
from nanoos_lab.lab.workflows.cells import strained
from nanoos_lab.lab.workflows.elastic import MODES, Elasticity, elastic_constants, fit, needed
from nanoos_lab.lab.workflows.eos import equation_of_state
from nanoos_lab.lab.workflows.symmetry import invariants, point_group

if TYPE_CHECKING:
    from ase import Atoms

    from nanoos_lab.lab.lab import Lab

EAM = {"engine": "lammps", "potential": "Cu_u3.eam"}
EMT = {"engine": "ase", "calculator": "emt"}
LATER = datetime.now(UTC) + timedelta(days=30)
SYMPREC = 0.01
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
#: Space group, lengths and angles of a cell, how many constants, and under which strains they are found.
CLASSES = {
    "triclinic": (2, (5, 6, 7, 80, 95, 100), 21, 6),
    "monoclinic": (10, (5, 6, 7, 90, 105, 90), 13, 6),
    "orthorhombic": (47, (5, 6, 7, 90, 90, 90), 9, 6),
    "tetragonal 4/m": (83, (5, 5, 7, 90, 90, 90), 7, 4),
    "tetragonal 4/mmm": (123, (5, 5, 7, 90, 90, 90), 6, 4),
    "trigonal -3": (147, (5, 5, 7, 90, 90, 120), 7, 3),
    "trigonal -3m": (164, (5, 5, 7, 90, 90, 120), 6, 3),
    "hexagonal 6/m": (175, (5, 5, 7, 90, 90, 120), 5, 3),
    "hexagonal 6/mmm": (191, (5, 5, 7, 90, 90, 120), 5, 3),
    "cubic m-3": (200, (6, 6, 6, 90, 90, 90), 3, 2),
    "cubic m-3m": (221, (6, 6, 6, 90, 90, 90), 3, 2),
}


# -- symmetry ---------------------------------------------------------------------------------------------------------


def stiffness_of(number: int, cell: np.ndarray) -> np.ndarray:
    """Return a stiffness in Voigt order that a space group allows, found without what is tested here."""
    random = np.random.default_rng(7).normal(size=(6, 6))
    voigt = 10 * random @ random.T + 50 * np.eye(6)
    tensor = np.zeros((3, 3, 3, 3))
    for row, (i, j) in enumerate(VOIGT):
        for column, (k, m) in enumerate(VOIGT):
            for one in ((i, j, k, m), (j, i, k, m), (i, j, m, k), (j, i, m, k)):
                tensor[one] = voigt[row, column]
    turns = [cell.T @ turn @ np.linalg.inv(cell.T) for turn in Spacegroup(number).get_rotations()]
    turned = np.mean([np.einsum("ai,bj,ck,dm,ijkm->abcd", turn, turn, turn, turn, tensor) for turn in turns], axis=0)
    return np.array([[turned[i, j, k, m] for k, m in VOIGT] for i, j in VOIGT])


@pytest.mark.parametrize("name", CLASSES)
def test_constants_are_found_again_from_their_own_stresses(name: str) -> None:
    number, cellpar, constants, strains = CLASSES[name]
    atoms = crystal_of(["Si"], [(0.12, 0.23, 0.37)], spacegroup=number, cellpar=cellpar)
    rotations = point_group(atoms, SYMPREC)
    expected = stiffness_of(number, atoms.cell.array)
    assert len(invariants(rotations)[0]) == constants
    modes = needed(rotations)
    assert len(modes) == strains

    points = [(mode, size) for mode in modes for size in (-0.01, 0.005, 0.02)]
    columns = {mode: expected[:, VOIGT.index(tuple("xyz".index(one) for one in mode))] for mode in modes}
    stresses = np.array([columns[mode] * size - [1.5, 1.5, 1.5, 0, 0, 0] for mode, size in points])
    found = fit([mode for mode, _ in points], [size for _, size in points], stresses, rotations)
    np.testing.assert_allclose(found.stiffness, expected, atol=1e-6 * expected.max())
    np.testing.assert_allclose(found.stress, [-1.5, -1.5, -1.5, 0, 0, 0], atol=1e-9)
    assert found.pressure == pytest.approx(1.5)
    assert found.residual == pytest.approx(0, abs=1e-9)
    assert found.stable
    assert found.c11 == pytest.approx(expected[0, 0])
    assert found.c21 == found.c12


def antiferromagnet() -> Atoms:
    iron = bulk("Fe", "fcc", a=3.5, cubic=True)
    iron.set_initial_magnetic_moments([2, 2, -2, -2])
    return iron


def layered() -> Atoms:
    """An ordered alloy, L1₀, in a cubic cell."""
    alloy = bulk("Ni", a=3.7, cubic=True)
    alloy.symbols[np.isclose(alloy.positions[:, 2], 0, atol=0.1)] = "Al"
    return alloy


def held() -> Atoms:
    copper = bulk("Cu", cubic=True)
    copper.set_constraint(FixAtoms([0]))
    return copper


def turned_moments() -> Atoms:
    iron = bulk("Fe", cubic=True)
    iron.set_initial_magnetic_moments(None)
    iron.set_initial_magnetic_moments([[0, 0, 2], [0, 0, 2]])
    return iron


def charged() -> Atoms:
    """Layers of ions of one element."""
    copper = bulk("Cu", cubic=True)
    copper.set_initial_charges([1, 1, -1, -1])
    return copper


@pytest.mark.parametrize(
    ("atoms", "constants"),
    [
        (bulk("Cu") * (2, 1, 1), 3),
        (bulk("Cu", orthorhombic=True), 3),
        (bulk("NaCl", "rocksalt", a=5.6), 3),
        (layered(), 6),
        (antiferromagnet(), 6),
        (held(), 21),
        (turned_moments(), 21),
        (charged(), 6),
    ],
    ids=["supercell", "rotated", "compound", "layers", "antiferromagnet", "constraints", "vectors", "charges"],
)
def test_the_symmetry_is_that_of_the_crystal(atoms: Atoms, constants: int) -> None:
    assert len(invariants(point_group(atoms, SYMPREC))[0]) == constants


def test_a_symmetry_that_cannot_be_found_is_told_and_need_not_be_sought() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.positions[1] = atoms.positions[0]
    with pytest.raises(ParameterError, match=r"symprec.*None seeks none"):
        point_group(atoms, SYMPREC)
    assert len(invariants(point_group(atoms, None))[0]) == 21


def test_a_cell_that_is_a_little_off_has_the_constants_of_its_crystal() -> None:
    copper = bulk("Cu", a=3.6, cubic=True)
    copper = strained(copper, np.array([[0, 2e-4, 0], [2e-4, 1e-4, 0], [0, 0, -3e-4]]))
    rotations = point_group(copper, SYMPREC)
    assert needed(rotations) == ["xx", "yz"]
    stresses = np.array([[170.0, 122, 122, 0, 0, 0], [0, 0, 0, 76, 0, 0]]) * 0.01
    found = fit(["xx", "yz"], [0.01, 0.01], stresses, rotations)
    assert found.constants == pytest.approx({"c11": 170, "c12": 122, "c44": 76}, abs=0.1)


def test_a_stress_that_is_no_pressure_is_found_too() -> None:
    rotations = np.eye(3)[None]
    stiffness = np.diag([170.0, 160, 150, 70, 60, 50])
    unstrained = np.array([1.0, -2, 3, 0.4, 0.5, -0.6])
    points = [(mode, size) for mode in MODES for size in (-0.01, 0.01)]
    strains = [MODES[mode][*zip(*VOIGT, strict=True)] * [1, 1, 1, 2, 2, 2] * size for mode, size in points]
    stresses = np.array(strains) @ stiffness + unstrained
    found = fit([mode for mode, _ in points], [size for _, size in points], stresses, rotations)
    np.testing.assert_allclose(found.stress, unstrained, atol=1e-9)
    np.testing.assert_allclose(found.stiffness, stiffness, atol=1e-9)


def test_a_crystal_that_is_a_little_off_is_as_symmetric_as_one_says() -> None:
    copper = bulk("Cu", cubic=True)
    copper.rattle(0.003, seed=1)
    assert len(invariants(point_group(copper, 0.05))[0]) == 3
    assert len(invariants(point_group(copper, 1e-4))[0]) == 21


# -- real crystals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure", [bulk("Cu", a=3.615), bulk("Cu", a=3.615, cubic=True)], ids=["fcc", "cubic"])
def test_elastic_constants_of_copper_with_eam(lab: Lab, structure: Atoms) -> None:
    group = elastic_constants(structure, lab=lab, **EAM).wait(60)
    assert len(group) == 8
    found = group.fit()
    assert (found.c11, found.c12, found.c44) == pytest.approx((167, 124, 76), abs=1)
    assert list(found.constants) == ["c11", "c12", "c44"]
    assert found.bulk_modulus == pytest.approx(138, abs=1)
    assert found.pressure == pytest.approx(0, abs=0.05)
    assert found.residual < 0.05
    assert found.stable
    # Of a cubic crystal, the index is 6/5 (√A − 1/√A)², where A is Zener's ratio.
    ratio = 2 * found.c44 / (found.c11 - found.c12)
    assert found.anisotropy == pytest.approx(1.2 * (ratio**0.5 - ratio**-0.5) ** 2)
    # The bounds of Voigt and Reuss, each as textbooks have it for cubic crystals, and Hill's mean.
    difference = found.c11 - found.c12
    bounds = (difference + 3 * found.c44) / 5, 5 * difference * found.c44 / (4 * found.c44 + 3 * difference)
    assert found.shear_modulus == pytest.approx(sum(bounds) / 2)


def test_the_constants_of_a_turned_crystal_are_turned(lab: Lab) -> None:
    straight = elastic_constants(bulk("Cu", a=3.615), lab=lab, **EAM).wait(60).fit()
    turned = elastic_constants(bulk("Cu", a=3.615, orthorhombic=True), lab=lab, **EAM).wait(60).fit()
    c11, c12, c44 = straight.c11, straight.c12, straight.c44
    assert turned.c11 == pytest.approx((c11 + c12 + 2 * c44) / 2, abs=0.5)
    assert turned.c66 == pytest.approx((c11 - c12) / 2, abs=0.5)
    assert (turned.c33, turned.c13, turned.c44) == pytest.approx((c11, c12, c44), abs=0.5)
    assert turned.shear_modulus == pytest.approx(straight.shear_modulus, abs=0.5)
    assert turned.anisotropy == pytest.approx(straight.anisotropy, abs=0.05)


def test_the_constants_of_an_ordered_alloy_are_the_curvatures_of_its_energy(lab: Lab) -> None:
    given = {"engine": "lammps", "potential": "NiAlH_jea.eam.alloy"}
    alloy = lab.submit(layered(), task="relax", cell="free", fmax=1e-4, **given).wait(60).structure
    group = elastic_constants(alloy, lab=lab, **given).wait(60)
    assert len(group) == 16
    found = group.fit()
    assert found.pressure == pytest.approx(0, abs=0.05)
    assert (found.c22, found.c23, found.c55) == pytest.approx((found.c11, found.c13, found.c44))
    assert abs(found.c33 - found.c11) > 1
    assert found.residual < 0.1

    for name, mode in (("c11", "xx"), ("c33", "zz"), ("c44", "yz"), ("c66", "xy")):
        sizes = np.array([-0.005, 0.0, 0.005])
        jobs = [lab.submit(strained(alloy, MODES[mode] * size), task="static", **given) for size in sizes]
        energies = [job.result(60)["energy"] for job in jobs]
        curvature = np.polyfit(sizes, energies, 2)[0] * 2 / alloy.get_volume() / units.GPa
        assert getattr(found, name) == pytest.approx(curvature, rel=0.02)


def test_hexagonal_magnesium_agrees_with_its_equation_of_state(lab: Lab) -> None:
    given = {"engine": "lammps", "potential": "Mg_mm.eam.fs"}
    relaxed = lab.submit(bulk("Mg"), task="relax", cell="free", fmax=1e-4, **given).wait(60)
    group = elastic_constants(relaxed, task="relax", fmax=1e-4, lab=lab, **given).wait(60)
    assert len(group) == 12
    found = group.fit()
    assert list(found.constants) == ["c11", "c12", "c13", "c33", "c44", "c66"]
    assert found.c22 == pytest.approx(found.c11)
    assert found.c66 == pytest.approx((found.c11 - found.c12) / 2)
    assert found.c33 != pytest.approx(found.c11, rel=1e-3)
    assert found.residual < 0.1
    assert found.stable
    # At a fixed ratio of the axes, the bulk modulus is Voigt's.
    voigt = found.stiffness[:3, :3].sum() / 9
    minimum = equation_of_state(relaxed, span=0.02, lab=lab, **given).wait(60).fit()
    assert voigt == pytest.approx(minimum.bulk_modulus, rel=0.01)


def test_elastic_constants_agree_with_the_equation_of_state(lab: Lab) -> None:
    minimum = equation_of_state(bulk("Cu", a=3.59), lab=lab, **EMT).wait(60).fit()
    found = elastic_constants(bulk("Cu", a=minimum.lattice_constant), lab=lab, **EMT).wait(60).fit()
    assert found.bulk_modulus == pytest.approx(minimum.bulk_modulus, rel=0.005)


# -- how it shows -----------------------------------------------------------------------------------------------------


def test_constants_show_with_their_units() -> None:
    stiffness = np.zeros((6, 6))
    stiffness[:3, :3] = 122.0
    np.fill_diagonal(stiffness, [170.0] * 3 + [76.0] * 3)
    found = Elasticity(
        stiffness=stiffness, stress=np.array([1.5, 1.5, 1.5, 0, 0, 0]), residual=0.01, names=("c11", "c12", "c44")
    )
    assert set(found.units.values()) == {"GPa"}
    lines = repr(found).splitlines()
    assert lines[:2] == ["<Elasticity", "  c11 = 170.0 GPa"]
    assert "  pressure = -1.5 GPa" in lines
    assert "c44" in dir(found)
    assert found.c14 == 0
    with pytest.raises(AttributeError, match="c71"):
        _ = found.c71


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("structure", "options", "error", "says"),
    [
        (bulk("Cu"), {"strain": 0.5}, ParameterError, r"between 0 and 0\.1"),
        (bulk("Cu"), {"symprec": 0}, ParameterError, r"> 0 and ≤ 0\.1 Å, or None"),
        (bulk("Cu"), {"task": "md", "steps": 5}, ParameterError, "one of 'static', 'relax'"),
        (bulk("Cu"), {"task": "relax", "cell": "free"}, ParameterError, "no strain is left"),
        (molecule("H2"), {}, StructureError, "periodic"),
    ],
)
def test_constants_without_sense_are_refused_whole(
    lab: Lab, structure: Atoms, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    before = lab.services.store.count()
    with pytest.raises(error, match=says):
        elastic_constants(structure, lab=lab, **options, **EMT)
    assert lab.services.store.count() == before


def test_nothing_follows_from_jobs_that_have_not_ended(lab: Lab) -> None:
    group = elastic_constants(bulk("Cu"), lab=lab, not_before=LATER, name="Cu", cache=False, **EMT)
    with pytest.raises(JobError, match="8 of 8 jobs have not ended"):
        group.fit()
    assert group.cancel() == 8
