"""Charges and molecules through a data file of the user's own, in the tasks static, relax and md."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.io import write

from nanoos_lab.core.errors import InputError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.engines.lammps.molecules import datafile, forcefield, images
from tests.engines.attempts import Job, at_checkpoint
from tests.engines.lammps.molecules import BONDS, CHAINS, WATER, chains, endless, plain_input, water
from tests.engines.lammps.outside import Options, plain_lmp, submitted
from tests.engines.lammps.test_recipe import rows_of
from tests.engines.lammps.test_script import plain_lammps, tables
from tests.lab.test_reproduce import tables as table_of
from tests.lab.test_reproduce import without_us

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoos_lab.lab.lab import Lab
    from tests.engines.lammps.outside import Outcome

    Lammps = Callable[..., Outcome]

KCAL, ATM = units.kcal / units.mol, 1.01325e-4
TWO = Options(ranks=2)
#: Columns and digits that this engine has.
PRINTED = "thermo_style custom step temp pe ke etotal press vol\nthermo_modify norm no format float %.15g\n"
SHAKEN = WATER + "fix rigid all shake 1.0e-6 100 0 b 1 a 1\n"
MOVING = {"ensemble": "nvt", "temperature": 300.0, "timestep": 0.5, "steps": 60, "every": 20, "seed": 4711}
#: The same in LAMMPS's own words.
MOTION = (
    "timestep 0.5\nvelocity all create 300.0 4711 mom yes rot no dist gaussian loop all\n"
    "fix 1 all nvt temp 300.0 300.0 100.0\nthermo 20\nrun 60\n"
)


def plain(folder: Path, parameters: dict[str, Any], rest: str) -> str:
    """Return the log of LAMMPS alone, with the same data file and force field."""
    data = Path(parameters["data"])
    script = plain_input(parameters["force_field"], data.name, rest)
    return plain_lammps(folder, script, data, *map(Path, parameters["files"]))


def assert_rows(run: Outcome, rows: np.ndarray[Any, Any], rtol: float = 1e-9) -> None:
    """Compare with rows of step, temp, pe, ke, etotal, press and vol in units real."""
    assert run.steps == rows[:, 0].tolist()
    names = ("temperature", "potential_energy", "kinetic_energy", "total_energy", "pressure", "volume")
    for column, name, factor in zip(rows.T[1:], names, (1, KCAL, KCAL, KCAL, ATM, 1), strict=True):
        np.testing.assert_allclose(run.series(name), column * factor, rtol=rtol, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("make", [water, chains])
def test_a_single_point_has_the_numbers_of_the_plain_program(
    lammps: Lammps, tmp_path: Path, make: Callable[[Path], tuple[Atoms, dict[str, Any]]], ranks: int
) -> None:
    """Long-range charges, bonds, angles, dihedrals; a box that does not begin at 0, and a skewed one."""
    atoms, parameters = make(tmp_path)
    rest = f"{PRINTED}run 0\nwrite_dump all custom f.dump id fx fy fz modify sort id format float %.15g"
    [(_, rows)] = tables(plain(tmp_path / "plain", parameters, rest))
    forces = np.loadtxt(tmp_path / "plain" / "f.dump", skiprows=9)[:, 1:] * KCAL
    run = lammps(atoms, "static", Options(ranks=ranks), **parameters)
    assert_rows(run, rows)
    np.testing.assert_allclose(run["forces"], forces, atol=1e-9)
    assert run["energy"] == pytest.approx(rows[0, 2] * KCAL, rel=1e-10)
    if make is water:
        np.testing.assert_array_equal(run["charges"], atoms.get_initial_charges())


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("force_field", [WATER, SHAKEN], ids=["springs", "shaken"])
def test_dynamics_have_the_rows_of_the_plain_program(
    lammps: Lammps, tmp_path: Path, force_field: str, ranks: int
) -> None:
    atoms, parameters = water(tmp_path)
    parameters["force_field"] = force_field
    [(_, rows)] = tables(plain(tmp_path / "plain", parameters, PRINTED + MOTION))
    run = lammps(atoms, "md", Options(ranks=ranks), **parameters, **MOVING)
    assert_rows(run, rows, rtol=1e-6)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_relaxation_takes_the_path_of_the_plain_program(lammps: Lammps, tmp_path: Path, ranks: int) -> None:
    """At first: such chains have many ways to lie, and rounding decides between them later."""
    atoms, parameters = chains(tmp_path)
    rest = f"{PRINTED}thermo 1\nmin_style cg\nmin_modify norm max\nminimize 0 {0.01 / KCAL!r} 20 1000\n"
    [(_, rows)] = tables(plain(tmp_path / "plain", parameters, rest))
    run = lammps(atoms, "relax", Options(ranks=ranks), **parameters, fmax=0.01)
    np.testing.assert_allclose(run.series("potential_energy")[:10], rows[:10, 2] * KCAL, rtol=1e-6)
    assert run.series("potential_energy")[-1] < rows[-1, 2] * KCAL
    assert run["fmax"] <= 0.01
    assert run.atoms.get_chemical_symbols() == atoms.get_chemical_symbols()


def test_a_run_that_was_killed_is_to_the_last_bit_the_whole_one(tmp_path: Path) -> None:
    atoms, parameters = water(tmp_path)
    parameters = {**parameters, **MOVING, "force_field": SHAKEN, "steps": 80}
    whole = Job(tmp_path / "whole", "lammps", "md", atoms, grid=20, **parameters)
    assert whole.attempt().end == "done"
    parts = Job(tmp_path / "parts", "lammps", "md", atoms, grid=20, **parameters)
    assert parts.attempt(at_checkpoint(2)).end == "gone"
    last = parts.attempt()
    assert (last.end, last.first) == ("done", 40)
    np.testing.assert_array_equal(parts.thermo.values, whole.thermo.values)
    np.testing.assert_array_equal(last.atoms.positions, whole.attempts[0].atoms.positions)


def test_coefficients_of_the_data_file_are_there_after_a_checkpoint(tmp_path: Path) -> None:
    atoms, parameters = chains(tmp_path)
    parameters = {**parameters, **MOVING, "steps": 80}
    whole = Job(tmp_path / "whole", "lammps", "md", atoms, grid=20, **parameters)
    assert whole.attempt().end == "done"
    parts = Job(tmp_path / "parts", "lammps", "md", atoms, grid=20, **parameters)
    assert parts.attempt(at_checkpoint(1)).end == "gone"
    assert parts.attempt().first == 20
    np.testing.assert_array_equal(parts.thermo.values, whole.thermo.values)


def test_the_structure_may_be_elsewhere_than_in_the_data_file(lammps: Lammps, tmp_path: Path) -> None:
    """A run goes on from the structure of another one: its positions, velocities, and a cell that is turned."""
    atoms, parameters = water(tmp_path)
    first = lammps(atoms, "md", **parameters, **MOVING)
    moved = first.atoms
    again = lammps(moved, "static", **parameters)
    assert again["energy"] == pytest.approx(first["energy"], rel=1e-9)
    moved.rotate(40, (1, 2, 3), rotate_cell=True)
    turned = lammps(moved, "md", **parameters, **{**MOVING, "steps": 0})
    # The grid of the long-range charges begins elsewhere.
    assert turned["energy"] == pytest.approx(first["energy"], rel=1e-3)
    assert turned.series("temperature")[0] == pytest.approx(first.series("temperature")[-1], rel=1e-6)
    np.testing.assert_allclose(turned.atoms.positions, moved.positions, atol=1e-9)


def test_a_recipe_has_the_rows_of_the_job(lammps: Lammps, tmp_path: Path) -> None:
    atoms, parameters = water(tmp_path)
    run = lammps(atoms, "md", **parameters, **MOVING)
    request, files = submitted(atoms, "md", **parameters, **MOVING)
    rows = rows_of(tmp_path / "again", request, files, run.results.provenance)
    np.testing.assert_allclose([row["PotEng"] * KCAL for row in rows], run.series("potential_energy"), rtol=1e-8)


def test_in_a_lab_the_job_knows_its_files_by_content_and_is_reproduced(lab: Lab, tmp_path: Path) -> None:
    atoms, parameters = water(tmp_path)
    job = lab.submit(atoms, engine="lammps", task="md", **parameters, **MOVING)
    job.result(120)
    assert sorted(job.request.files) == ["bonds.lmp", "data"]
    place = job.reproduce(tmp_path / "again")
    without_us(place)
    log = table_of((place / "log.lammps").read_text())
    np.testing.assert_allclose(log["PotEng"] * KCAL, job.thermo["potential_energy"], rtol=1e-8)
    # Softer springs are another job, though every name is the same.
    (tmp_path / "bonds.lmp").write_text(BONDS.replace("1000.0", "500.0"))
    softer = lab.submit(atoms, engine="lammps", task="md", **parameters, **MOVING)
    assert softer.request.key != job.request.key
    softer.result(120)
    assert softer.results["energy"] != job.results["energy"]


def refused(tmp_path: Path, **changes: Any) -> InputError:
    atoms, parameters = water(tmp_path)
    atoms = changes.pop("atoms", atoms)
    with pytest.raises(InputError) as caught:
        submitted(atoms, "static", **{**parameters, **changes})
    return caught.value


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("units real", "", "'units real' or 'units metal' is needed"),
        ("units real", "units lj", "task='script' runs them"),
        ("atom_style full", "atom_style charge", "the data file has 'Atoms # full'"),
        ("atom_style full", "atom_style ful", "Did you mean 'full'"),
        ("lj/cut/coul/long 6.0", "lj/cut/coul/lnog 6.0", "Did you mean 'lj/cut/coul/long'"),
        ("bond_style harmonic", "bond_style harmonik", "Did you mean 'harmonic'"),
        ("bond_style harmonic\n", "", "a command bond_style is needed: there are 54 bonds"),
        ("angle_style harmonic\n", "", "a command angle_style is needed: there are 27 angles"),
        ("kspace_style pppm 1.0e-5\n", "", "a command kspace_style is needed"),
        ("include bonds.lmp", "include bond.lmp", "force_field, line 11: unknown file 'bond.lmp'. Did you mean"),
        ("include bonds.lmp", "bond_coeff 1 1000.0 1.0", "angle_coeff for angle type 1 is needed"),
        ("include bonds.lmp", "include bonds.lmp\nshell rm -r x", "unknown command of a force field 'shell'"),
        ("include bonds.lmp", "include bonds.lmp\nread_data x", "data= names the file"),
        ("include bonds.lmp", "include bonds.lmp\nfix 1 all nve", "a second time"),
        ("include bonds.lmp", "include bonds.lmp\nfix 1 all shakee 1e-6 100 0 b 1", "Did you mean 'shake'"),
        ("include bonds.lmp", "include bonds.lmp\npair_coeff 1 1 table /etc/x", "outside of the working directory"),
        ("include bonds.lmp", "include bonds.lmp\nset type 1 x 0", "only charges can be set"),
        ("include bonds.lmp", "include bonds.lmp\nmass 1 ${m}", "is refused"),
        ("bond_style harmonic", "bond_style hybrid harmonik", "Did you mean 'harmonic'"),
        ("bond_style harmonic", "bond_style hybrid harmonic", "'bond_coeff 1 1000.0 1.0': unknown style in bond_coeff"),
        ("pair_style", "pair_styl", "Did you mean 'pair_style'"),
    ],
)
def test_a_force_field_that_could_not_work_is_refused(tmp_path: Path, old: str, new: str, why: str) -> None:
    assert old in WATER
    error = refused(tmp_path, force_field=WATER.replace(old, new, 1))
    assert why in str(error)


def test_a_potential_in_other_units_is_refused_unless_lammps_converts_it(tmp_path: Path) -> None:
    nickel = bulk("Ni", cubic=True)
    data = tmp_path / "nickel.data"
    write(data, nickel, format="lammps-data", masses=True)
    force_field = "units real\natom_style atomic\npair_style {}\npair_coeff * * {} Ni\n"
    with pytest.raises(ParameterError, match=r"force_field='units real'.*Ni\.adp is in units 'metal'"):
        submitted(nickel, "static", data=str(data), force_field=force_field.format("adp", "Ni.adp"))
    submitted(nickel, "static", data=str(data), force_field=force_field.format("eam/alloy", "CuNi.eam.alloy"))


def test_a_structure_of_other_atoms_is_refused(tmp_path: Path) -> None:
    atoms, _ = water(tmp_path)
    error = refused(tmp_path, atoms=atoms[:-3])
    assert isinstance(error, StructureError)
    assert "has 78 atoms, and the data file 81" in str(error)
    assert "of one type, 1, in the data file" in str(refused(tmp_path, atoms=atoms[np.argsort(atoms.numbers)]))
    swapped = atoms.copy()
    swapped.symbols[atoms.symbols == "O"] = "S"
    swapped.set_masses()
    assert "atom 0 is S in the structure, and O in the data file" in str(refused(tmp_path, atoms=swapped))
    strange = atoms.copy()
    strange.positions[[0, 36]] = atoms.positions[[36, 0]]
    assert "are bonded" in str(refused(tmp_path, atoms=strange))


def test_molecules_in_a_cell_too_thin_for_them_are_refused(lammps: Lammps, tmp_path: Path) -> None:
    """LAMMPS only warns, and is wrong there; where it warns too early, it is right, and so are we."""
    energies = {}
    for n in (4, 8, 24):
        _, parameters = endless(tmp_path, n)
        log = plain(tmp_path / f"plain {n}", parameters, PRINTED + "run 0\n")
        energies[n] = tables(log)[-1][1][0, 2] / n
        assert ("extent > half of periodic box" in log) == (n < 24)
    assert abs(energies[4] - energies[24]) > 1.0
    assert energies[8] == pytest.approx(energies[24], rel=1e-6)
    thin, parameters = endless(tmp_path, 4)
    with pytest.raises(
        StructureError, match=r"atoms \d and \d, 2 bonds apart, are 0\.50 of it apart along cell vector c"
    ):
        submitted(thin, "static", **parameters)
    enough, parameters = endless(tmp_path, 8)
    assert lammps(enough, "static", **parameters)["energy"] == pytest.approx(8 * energies[24] * KCAL, rel=1e-6)
    enough.pbc = (False, False, True)
    submitted(enough, "static", **parameters)


@pytest.mark.parametrize(
    ("bonds", "why"),
    [
        ([(0, 0)], "atom 0 is bonded to itself"),
        ([(0, 1), (1, 0)], r"atoms \d and \d, bonded, are 0\.50 of it apart along cell vector c"),
        ([(0, 1), (1, 2), (2, 0)], r"atoms \d and \d, 2 bonds apart, are 0\.67 of it apart along cell vector c"),
        ([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)], r"atoms \d and \d, 3 bonds apart, are 0\.60 of it"),
    ],
)
def test_chains_that_come_back_to_themselves_too_soon_are_named(bonds: list[tuple[int, int]], why: str) -> None:
    n = len(bonds)
    ring = Atoms(f"C{n}", positions=[(0, 0, 1.5 * index) for index in range(n)], cell=[20, 20, 1.5 * n], pbc=True)
    ring.rotate(30, (1, 2, 3), rotate_cell=True)
    with pytest.raises(StructureError, match=why):
        images.check(ring, np.array(bonds))


def test_a_bond_between_atoms_as_near_to_another_image_is_found_by_what_lammps_computes(tmp_path: Path) -> None:
    """In cells of any shape: wrong, and refused, is what differs from the energy of a large one."""
    random = np.random.default_rng(3)
    bonds = np.array([(0, 1), (1, 2), (2, 3)])
    refusals = 0
    for number in range(20):
        long, angle = random.uniform(2.5, 4.2), random.uniform(0, 2 * np.pi)
        cell = np.diag([*random.uniform(5, 9, size=2), 20.0])
        cell[1, 0] = random.uniform(-0.5, 0.5) * cell[0, 0]
        way = long * np.array([np.cos(angle), np.sin(angle), 0.0])
        chain = Atoms("C4", positions=[5 + part * way for part in np.linspace(0, 1, 4)], cell=cell, pbc=True)
        energies = [energy_of(tmp_path / f"{number} {repeat}", chain, bonds, repeat) for repeat in (1, 4)]
        is_wrong = energies[0] != pytest.approx(energies[1], rel=1e-5)
        try:
            images.check(chain, bonds)
        except StructureError:
            refusals += 1
            assert is_wrong
        else:
            assert not is_wrong
    assert 3 < refusals < 17


def energy_of(folder: Path, atoms: Atoms, bonds: np.ndarray[Any, Any], repeat: int) -> float:
    """Return what LAMMPS alone computes of a molecule in so many by so many cells, for one of them, in kcal/mol."""
    folder.mkdir()
    whole = atoms * (repeat, repeat, 1)
    pairs = np.concatenate([bonds + len(atoms) * copy for copy in range(repeat**2)]) + 1
    (lx, _, _), (xy, ly, _), (_, _, lz) = whole.cell
    rows = {
        "Atoms": [f"{number} 1 1 {x} {y} {z}" for number, (x, y, z) in enumerate(whole.positions, start=1)],
        "Bonds": [f"{number} 1 {one} {other}" for number, (one, other) in enumerate(pairs, start=1)],
    }
    head = f"{len(whole)} atoms\n{len(pairs)} bonds\n1 atom types\n1 bond types\n"
    box = f"0 {lx} xlo xhi\n0 {ly} ylo yhi\n0 {lz} zlo zhi\n{xy} 0 0 xy xz yz\n"
    body = "".join(f"\n{name}\n\n" + "\n".join(lines) + "\n" for name, lines in rows.items())
    (folder / "it.data").write_text(f"it\n\n{head}{box}{body}")
    (folder / "in.it").write_text(
        "units real\natom_style molecular\nbox tilt large\npair_style lj/cut 7.0\nbond_style zero\nread_data it.data\n"
        "mass * 12\npair_coeff 1 1 0.1 3.5\nbond_coeff * 1.0\nneighbor 1.0 bin\nthermo_style custom step pe\n"
        "thermo_modify norm no format float %.12g\nrun 0\n"
    )
    [(_, [[_, energy]])] = tables(plain_lmp(folder, "-in", "in.it"))
    return float(energy) / repeat**2


@pytest.mark.parametrize(
    ("special", "style", "weighed"),
    [
        ("", "molecular", 3),
        ("special_bonds lj 0 0 1", "molecular", 2),
        ("special_bonds lj 0 0 1", "full", 3),
        ("special_bonds lj/coul 0.0 1.0 1.0", "full", 1),
        ("special_bonds lj 1 1 1 coul 1 1 1", "full", 0),
        ("special_bonds fene", "full", 1),
        ("special_bonds dreiding angle yes", "full", 2),
        ("special_bonds amber", "full", 3),
        ("special_bonds fene\nspecial_bonds charmm", "full", 3),
    ],
)
def test_forces_are_taken_off_over_as_many_bonds_as_the_weights_say(
    tmp_path: Path, special: str, style: str, weighed: int
) -> None:
    _, parameters = water(tmp_path)
    with Path(str(parameters["data"])).open() as lines:
        data = datafile.parse(lines)
    text = WATER.replace("special_bonds lj/coul 0.0 0.0 1.0", special).replace("include bonds.lmp\n", BONDS)
    text = text.replace("atom_style full", f"atom_style {style}")
    assert forcefield.read(text, {}, replace(data, atom_style=style)).weighed == weighed


def test_molecules_that_move_have_a_tenth_to_spare_unless_a_thin_cell_is_meant(tmp_path: Path) -> None:
    """Seven atoms of a chain and a little: what is three bonds apart is 0.47 of the cell apart."""
    structure, parameters = endless(tmp_path, 7)
    structure.positions[:, 2] = np.arange(7) * 1.27 + np.array([0, 0, 0, 0.35, 0, 0, 0])
    submitted(structure, "static", **parameters)
    with pytest.raises(StructureError, match=r"are 0\.47 of it apart along cell vector c, where less than 0\.45 is"):
        submitted(structure, "md", **parameters, **MOVING)
    submitted(structure, "md", **parameters, **MOVING, thin_cell=True)


def test_a_bond_whose_forces_are_not_taken_off_only_needs_to_be_to_the_nearest_image() -> None:
    cell = [(3, 0, 0), (1.5, 2, 0), (0, 0, 20)]
    pair = Atoms("C2", positions=[(0, 0, 0), (0.2, 1.05, 0)], cell=cell, pbc=True)
    bond = np.array([(0, 1)])
    images.check(pair, bond, weighed=0, placed=1)
    with pytest.raises(StructureError):
        images.check(pair, bond, weighed=1, placed=1)
    pair.positions[1] = (1.5, 0, 0)
    with pytest.raises(StructureError, match=r"bonded, are 0\.50 of it apart"):
        images.check(pair, bond, weighed=0, placed=1)


def test_a_small_ring_is_no_chain_that_comes_back() -> None:
    ring = Atoms("C3", positions=[(0, 0, 0), (1.5, 0, 0), (0.75, 1.3, 0)], cell=[6, 6, 6], pbc=True)
    images.check(ring, np.array([(0, 1), (1, 2), (2, 0)]))


def test_files_that_are_missing_or_something_else_are_named(tmp_path: Path) -> None:
    assert "there is no file" in str(refused(tmp_path, data=str(tmp_path / "nowhere.data")))
    assert "there is no file" in str(refused(tmp_path, files=[str(tmp_path / "nowhere.lmp")]))
    other = tmp_path / "other.data"
    other.write_text("title\n\n3 atoms\n1 atom types\n\nAtoms\n\n1 1 0 0 0\n")
    assert "no data file of 3 atoms: its section Atoms has 1" in str(refused(tmp_path, data=str(other)))
    other.write_text("title\n\n1 atoms\n1 atom types\n\nAtms\n\n1 1 0 0 0\n")
    assert "Did you mean 'Atoms'" in str(refused(tmp_path, data=str(other)))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "bonds.lmp").write_text(BONDS)
    twice = [str(tmp_path / "bonds.lmp"), str(folder / "bonds.lmp")]
    assert "another file 'bonds.lmp'" in str(refused(tmp_path, files=twice))


@pytest.mark.parametrize(
    ("coefficients", "why"),
    [
        ("1 /etc/passwd", "'/etc/passwd' is outside of the working directory"),
        ("1 table ../x.table O 6.0", "outside of the working directory"),
        ("1 Cu_u3.eam", "its coefficients name a file 'Cu_u3.eam'; bring it with files="),
        ("1 $(v_x) 1.0", "is refused"),
    ],
)
def test_a_data_file_whose_coefficients_name_other_files_is_refused(
    tmp_path: Path, coefficients: str, why: str
) -> None:
    water(tmp_path)
    named = tmp_path / "named.data"
    named.write_text((tmp_path / "water.data").read_text() + f"\nPair Coeffs\n\n{coefficients}\n2 0.0 1.0\n")
    error = refused(tmp_path, data=str(named))
    assert str(error).startswith("data='named.data': ")
    assert why in str(error)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"potential": "Cu_u3.eam"}, "potential"),
        ({"force_field": None, "files": []}, "force_field"),
        ({"data": None}, "data"),
        ({"pair_style": "eam"}, "pair_style"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    error = refused(tmp_path, **changes)
    assert isinstance(error, ParameterError)
    assert error.field == field


def test_coefficients_become_the_commands_that_do_the_same() -> None:
    text = (
        "title\n\n1 atoms\n1 atom types\n0 1 xlo xhi\n\n"
        "Pair Coeffs\n\n1 0.1 3.0\n\nPairIJ Coeffs # lj\n\n1 1 0.2 3.1\n\n"
        "BondBond Coeffs\n\n1 2.0 1.0 1.0\n\nAngleAngle Coeffs\n\n1 class2 1 2 3\n\nAtoms\n\n1 1 0 0 0\n"
    )
    assert datafile.parse(text.splitlines()).coefficients == {
        "pair": ("pair_coeff 1 1 0.1 3.0", "pair_coeff 1 1 0.2 3.1"),
        "angle": ("angle_coeff 1 bb 2.0 1.0 1.0",),
        "improper": ("improper_coeff 1 class2 aa 1 2 3",),
    }


def test_an_unknown_section_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        datafile.parse(["title", "1 atoms", "Atom Coeffs"])
    assert caught.value.nearest in ("Atoms", "Pair Coeffs", "Angle Coeffs")


#: Two types with names, in a box of any direction.
LABELLED = """\
units real
lattice custom 3 a1 0 1 1 a2 1 0 1 a3 1 1 0 basis 0 0 0 basis 0.5 0.5 0.5 triclinic/general
create_box 2 NULL 0 2 0 2 0 2
create_atoms 1 box basis 2 2
labelmap atom 1 Na 2 Cl
mass 1 23
mass 2 35.5
write_data labels.data types labels
write_data general.data types numeric triclinic/general
write_data plain.data types numeric
"""


def test_types_by_label_and_general_boxes_are_refused_with_what_lammps_writes_instead(tmp_path: Path) -> None:
    (tmp_path / "in.lmp").write_text(LABELLED)
    plain_lmp(tmp_path, "-in", "in.lmp")
    for name, remedy in (
        ("labels", r"'1 Na 0 .*' names a type by its label; .* 'write_data … types numeric'"),
        ("general", r"general triclinic .* by write_data without 'triclinic/general'"),
    ):
        with pytest.raises(InputError, match=remedy):
            datafile.parse((tmp_path / f"{name}.data").read_text().splitlines())
    data = datafile.parse((tmp_path / "plain.data").read_text().splitlines())
    assert data.counts == {"atoms": 16, "atom types": 2}
    assert data.masses == {1: 23.0, 2: 35.5}


def test_styles_and_files_are_those_of_the_tests_own(tmp_path: Path) -> None:
    """So that the cases above are refused for what they change, and for nothing else."""
    for make, force_field in ((water, WATER), (chains, CHAINS)):
        atoms, parameters = make(tmp_path)
        request, _ = submitted(atoms, "static", **parameters)
        assert request.parameters["force_field"] == force_field
