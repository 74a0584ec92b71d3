"""VASP's input files, and what is refused before a worker is used."""

from __future__ import annotations

import io
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian, FixScaled
from hypothesis import given
from hypothesis import strategies as st

from nanoos_lab.core.errors import InputError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.engines.vasp import incar, poscar
from nanoos_lab.engines.vasp.poscar import Order
from nanoos_lab.engines.vasp.running import Origin, write_inputs
from tests.engines.vasp.given import check, parameters


def tags(atoms: Atoms, task: str, **values: Any) -> dict[str, Any]:
    order = Order.of(atoms.get_chemical_symbols())
    return write_inputs(atoms, order, parameters(task, **values), enmax=240.0).tags


def compound() -> Atoms:
    """In and As by turns, which VASP wants by species."""
    return bulk("InAs", "zincblende", a=6.06, cubic=True)


# -- INCAR and KPOINTS ------------------------------------------------------------------------------------------------


def test_an_incar_of_a_static_run() -> None:
    text = incar.write(tags(bulk("Si"), "static", smearing="methfessel-paxton", sigma=0.2, incar={"ncore": 4}))
    assert dict(line.split(" = ") for line in text.splitlines()) == {
        "PREC": "Accurate",
        "ENCUT": "240.0",
        "EDIFF": "1e-06",
        "NELM": "100",
        "ISMEAR": "1",
        "SIGMA": "0.2",
        "LORBIT": "11",
        "LCHARG": ".FALSE.",
        "GGA": "PE",
        "ISPIN": "1",
        "IBRION": "-1",
        "NSW": "0",
        "NCORE": "4",
    }


def test_a_relaxation_counts_evaluations_and_a_free_cell_needs_a_higher_cutoff() -> None:
    found = tags(bulk("Si"), "relax", steps=10, fmax=0.02, cell="free", pressure=2.0, optimizer="quasi-newton")
    assert (found["NSW"], found["EDIFFG"], found["ISIF"], found["IBRION"]) == (11, -0.02, 3, 1)
    assert found["ENCUT"] == pytest.approx(312)
    assert found["PSTRESS"] == 20
    assert tags(bulk("Si"), "relax")["ISIF"] == 2


def test_molecular_dynamics_in_each_ensemble() -> None:
    nve = tags(compound(), "md", steps=5, timestep=2.0)
    assert (nve["IBRION"], nve["NSW"], nve["POTIM"], nve["MDALGO"], nve["ANDERSEN_PROB"]) == (0, 6, 2.0, 1, 0.0)
    nvt = tags(compound(), "md", steps=5, ensemble="nvt", temperature=300, tdamp=100, seed=7)
    assert (nvt["MDALGO"], nvt["TEBEG"], nvt["LANGEVIN_GAMMA"]) == (3, 300, [10, 10])
    assert nvt["RANDOM_SEED"] == [7, 0, 0]
    npt = tags(compound(), "md", steps=5, ensemble="npt", temperature=300, pressure=1, pdamp=500)
    assert (npt["ISIF"], npt["PSTRESS"], npt["LANGEVIN_GAMMA_L"]) == (3, 10, 2)


@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_a_ramp_of_the_temperature_has_its_rest_in_a_later_attempt(ensemble: str) -> None:
    ramp = {"ensemble": ensemble, "temperature": 300, "temperature_end": 700, "steps": 8}
    given_ = parameters("md", **ramp, **({"pressure": 0.0} if ensemble == "npt" else {}))
    atoms = compound()
    order = Order.of(atoms.get_chemical_symbols())
    found = [write_inputs(atoms, order, given_, enmax=240.0, origin=Origin(step=step)).tags for step in (0, 2, 6, 8)]
    assert [(each["TEBEG"], each["TEEND"], each["NSW"]) for each in found] == [
        (300, 700, 9),
        (400, 700, 7),
        (600, 700, 3),
        (700, 700, 1),
    ]
    assert [each["MDALGO"] for each in found] == [3] * 4
    none = tags(atoms, "md", steps=0, ensemble="nvt", temperature=300, temperature_end=700)
    assert (none["TEBEG"], none["TEEND"]) == (300, 300)


def test_masses_that_are_not_the_elements_are_written_for_all_species() -> None:
    atoms = compound()
    assert "POMASS" not in tags(atoms, "md", steps=5)
    atoms.set_masses(atoms.get_masses())
    assert "POMASS" not in tags(atoms, "md", steps=5)
    atoms.set_masses([113.0 if symbol == "In" else None for symbol in atoms.get_chemical_symbols()])
    assert tags(atoms, "md", steps=5)["POMASS"] == [113.0, pytest.approx(74.92, abs=0.01)]
    # Elsewhere they have no part.
    assert "POMASS" not in tags(atoms, "relax")


def test_isotopes_of_an_element_that_vasp_cannot_tell_apart_are_refused(potentials) -> None:
    atoms = compound()
    atoms.set_masses([113.0, *[None] * 7])
    with pytest.raises(StructureError, match="those of In have 113 to"):
        check(atoms, "md", steps=5)
    check(atoms, "relax")


def test_magnetic_moments_are_in_the_order_of_the_poscar() -> None:
    atoms = Atoms("FeSiFe", positions=[[0, 0, 0], [0, 0, 2], [0, 0, 4]], cell=[5, 5, 6], pbc=True, magmoms=[1, 2, 3])
    assert tags(atoms, "static")["MAGMOM"] == [1, 3, 2]
    assert tags(atoms, "static")["ISPIN"] == 2
    found = tags(atoms, "static", soc=True)
    assert found["MAGMOM"] == [0, 0, 1, 0, 0, 3, 0, 0, 2]
    assert found["LSORBIT"] is True
    assert tags(bulk("Si"), "static", spin=True)["ISPIN"] == 2


def test_values_of_an_incar_are_written_as_fortran_reads_them() -> None:
    text = incar.write({"LREAL": False, "LWAVE": True, "DIPOL": [0.5, 0.5, 0.25], "ALGO": "Fast", "NPAR": 2})
    assert text == "LREAL = .FALSE.\nLWAVE = .TRUE.\nDIPOL = 0.5 0.5 0.25\nALGO = Fast\nNPAR = 2\n"


def test_a_mesh_is_dense_enough_and_single_where_nothing_is_periodic() -> None:
    slab = Atoms("Si", cell=[3.0, 4.0, 20.0], pbc=[True, True, False])
    given_ = parameters("static", kspacing=0.5)
    assert incar.mesh(given_, slab.cell.array, (True, True, False)) == (5, 4, 1)
    # 2π / 3 Å / 0.5 Å⁻¹ = 4.19, so five.
    assert incar.write_kpoints((5, 4, 1), gamma=False) == "regular mesh\n0\nMonkhorst-Pack\n5 4 1\n0 0 0\n"
    assert incar.mesh(parameters("static", kpts=[2, 3, 4]), slab.cell.array, (True, True, False)) == (2, 3, 4)


def test_reciprocal_lengths_of_a_skew_cell() -> None:
    cell = bulk("Si").cell.array
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell).T, axis=1)
    assert incar.mesh(parameters("static", kspacing=0.3), cell, (True, True, True)) == tuple(
        int(np.ceil(length / 0.3)) for length in lengths
    )


# -- POSCAR -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["H", "O", "Fe", "Si"]), min_size=1, max_size=20))
def test_every_order_can_be_restored(symbols: list[str]) -> None:
    order = Order.of(symbols)
    sorted_ = [symbols[index] for index in order.to_vasp]
    assert sorted_ == [each for each, count in zip(order.species, order.counts, strict=True) for _ in range(count)]
    rows = np.arange(len(symbols))
    np.testing.assert_array_equal(order.restore(rows[order.to_vasp]), rows)


def test_a_poscar_is_what_ase_reads() -> None:
    atoms = compound()
    atoms.rattle(0.05, seed=3)
    order = Order.of(atoms.get_chemical_symbols())
    found = ase.io.read(io.StringIO(poscar.write(atoms, order)), format="vasp")
    assert found.get_chemical_symbols() == ["In"] * 4 + ["As"] * 4
    np.testing.assert_allclose(order.restore(found.positions), atoms.positions, atol=1e-12)
    np.testing.assert_allclose(found.cell.array, atoms.cell.array, atol=1e-15)


def test_constraints_become_selective_dynamics() -> None:
    atoms = compound()
    atoms.set_constraint([FixAtoms([1]), FixScaled([2], mask=(True, False, False))])
    order = Order.of(atoms.get_chemical_symbols())
    text = poscar.write(atoms, order)
    assert text.splitlines()[7] == "Selective dynamics"
    found = ase.io.read(io.StringIO(text), format="vasp")
    kinds = {type(each).__name__ for each in found.constraints}
    assert kinds == {"FixAtoms", "FixScaled"}
    free = poscar.movable(atoms)
    assert free[1].tolist() == [False] * 3
    assert free[2].tolist() == [False, True, True]
    assert free.sum() == 24 - 4


def test_velocities_are_written_in_vasps_unit() -> None:
    atoms = bulk("Si", cubic=True)
    atoms.set_velocities(np.arange(24).reshape(8, 3) * 1e-3)
    found = ase.io.read(io.StringIO(poscar.write(atoms, Order.of(["Si"] * 8), velocities=True)), format="vasp")
    np.testing.assert_allclose(found.get_velocities(), atoms.get_velocities(), rtol=1e-9, atol=1e-15)


def test_a_contcar_that_is_cut_off_is_refused() -> None:
    atoms = compound()
    order = Order.of(atoms.get_chemical_symbols())
    text = poscar.write(atoms, order)
    there = poscar.read(text, order)
    np.testing.assert_allclose(order.restore(there.scaled @ there.cell), atoms.positions, atol=1e-12)
    for cut in range(len(text)):
        with pytest.raises(ValueError, match=r"."):
            poscar.read(text[:cut], order)
    with pytest.raises(ValueError, match="other atoms"):
        poscar.read(text, Order.of(["In"] * 8))


@pytest.mark.parametrize("cell_moves", [False, True])
def test_a_contcar_that_is_cut_off_within_its_velocities_is_refused(cell_moves: bool) -> None:
    atoms = compound()
    atoms.set_velocities(np.arange(24).reshape(8, 3) * 1e-3)
    order = Order.of(atoms.get_chemical_symbols())
    lines = poscar.write(atoms, order, velocities=True).splitlines(keepends=True)
    assert len(lines) == 8 + 8 + 1 + 8
    if cell_moves:
        lines[16:16] = ["Lattice velocities and vectors\n", "  1\n", *["  0.1E+00  0.2E+00  0.3E+00\n"] * 6]
    text = "".join(lines)
    there = poscar.read(text, order, velocities=True)
    np.testing.assert_allclose(order.restore(there.scaled @ there.cell), atoms.positions, atol=1e-12)
    for cut in range(len(text)):
        with pytest.raises(ValueError, match=r"."):
            poscar.read(text[:cut], order, velocities=True)
    # What may come after them is of no interest.
    poscar.read(text + "\n 1\n 0.1E+01\n", order, velocities=True)


# -- bad input --------------------------------------------------------------------------------------------------------


def test_unknown_tags_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        parameters("static", incar={"ISMEER": 0})
    assert caught.value.nearest == "ISMEAR"
    with pytest.raises(UnknownNameError):
        parameters("static", incar={"MAGMON": 0})


@pytest.mark.parametrize(
    ("task", "values", "field"),
    [
        ("static", {"incar": {"encut": 300}}, "incar"),
        ("static", {"incar": {"MAGMOM": "1 1"}}, "incar"),
        ("static", {"incar": {"SYSTEM": "x\nNSW = 5"}}, "incar"),
        ("static", {"incar": {"SYSTEM": "x; NSW = 5"}}, "incar"),
        ("relax", {"incar": {"IBRION": 2}}, "incar"),
        ("relax", {"incar": {"EDIFFG": -0.1}}, "incar"),
        ("relax", {"pressure": 1.0}, "pressure"),
        ("md", {"steps": 1, "incar": {"POTIM": 2}}, "incar"),
        ("md", {"steps": 1, "incar": {"POMASS": [2.0]}}, "incar"),
        ("md", {"steps": 1, "ensemble": "nvt", "temperature": 300, "temperature_end": 0}, "temperature_end"),
        ("md", {"steps": 1, "ensemble": "npt", "temperature": 0.01, "pressure": 0}, "temperature"),
        ("md", {"steps": 1, "incar": {"TEEND": 400}}, "incar"),
        ("relax", {"incar": {"NWRITE": 0}}, "incar"),
        ("static", {"kpts": [2, 2, 2], "kspacing": 0.2}, "kspacing"),
        ("static", {"kpts": [0, 2, 2]}, "kpts"),
        ("static", {"encut": 0}, "encut"),
        ("static", {"soc": True, "spin": False}, "spin"),
        ("static", {"xc": "pbe"}, "xc"),
    ],
)
def test_values_that_cannot_be_are_refused(task: str, values: dict[str, Any], field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parameters(task, **values)
    assert caught.value.field == field


def boxed(name: str) -> Atoms:
    atoms = molecule(name)
    atoms.center(vacuum=4)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "values", "message"),
    [
        (molecule("SiH4"), {}, "needs a cell even for a molecule"),
        (Atoms("Si2", positions=[[0, 0, 0], [0, 0, 0.3]], cell=[5, 5, 5], pbc=True), {}, "atoms 0 and 1 overlap"),
        (Atoms("Si2", positions=[[0, 0, 0.1], [0, 0, 4.9]], cell=[5, 5, 5], pbc=True), {}, "atoms 0 and 1 overlap"),
        (Atoms("Si", cell=[5, -5, 5], pbc=True), {}, "left-handed"),
        (boxed("SiH4"), {"kpts": [2, 2, 2]}, "not periodic along axis 0"),
        (boxed("SiH4"), {"kspacing": 0.2}, "a molecule has no k-points"),
        (boxed("SiH4"), {"smearing": "tetrahedron"}, "needs k-points"),
    ],
)
def test_structures_that_vasp_cannot_run_are_refused(potentials, atoms: Atoms, values, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(atoms, **values)


def test_a_molecule_in_a_box_and_a_slab_are_fine(potentials) -> None:
    check(Atoms("Si2", positions=[[4, 4, 4], [4, 4, 6.3]], cell=[8, 8, 10]))
    check(Atoms("Si", cell=[3, 3, 12], pbc=[True, True, False]), kpts=[4, 4, 1])


def test_constraints_that_vasp_does_not_have_are_refused(potentials) -> None:
    atoms = bulk("Si")
    atoms.set_constraint(FixBondLengths([[0, 1]]))
    with pytest.raises(StructureError, match="FixBondLengths cannot be kept by VASP"):
        check(atoms, "relax")
    atoms.set_constraint(FixCartesian([0], mask=(True, False, False)))
    with pytest.raises(StructureError, match="use FixScaled"):
        check(atoms, "relax")
    atoms.set_constraint(FixAtoms([0]))
    check(atoms, "relax")
    with pytest.raises(StructureError, match="they would move with it"):
        check(atoms, "relax", cell="free")
    atoms.set_constraint(FixAtoms([0, 1]))
    with pytest.raises(StructureError, match="nothing to move"):
        check(atoms, "relax")


def test_moments_that_the_level_of_theory_does_not_have_are_refused(potentials) -> None:
    atoms = Atoms("Fe", cell=bulk("Fe").cell, pbc=True)
    atoms.set_initial_magnetic_moments([[0.0, 0.0, 2.0]])
    with pytest.raises(ParameterError, match="soc=True"):
        check(atoms)
    check(atoms, soc=True)
    atoms = Atoms("Fe", cell=bulk("Fe").cell, pbc=True, magmoms=[2.0])
    with pytest.raises(ParameterError, match="has magnetic moments"):
        check(atoms, spin=False)
