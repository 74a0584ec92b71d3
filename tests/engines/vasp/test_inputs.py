"""VASP's input files, and what is refused before a worker is used."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian, FixScaled
from hypothesis import given
from hypothesis import strategies as st

from nanoos_lab.core.errors import InputError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.engines.vasp import incar, poscar, potcar
from nanoos_lab.engines.vasp.poscar import Order
from nanoos_lab.engines.vasp.running import Origin, write_inputs
from tests.engines.vasp.synthetic import potcar as stand_in

if TYPE_CHECKING:
    from pathlib import Path


def parameters(task: str, **values: Any) -> Any:
    return validate(registry.get("vasp").tasks[task], values, where="test")


def tags(atoms: Atoms, task: str, **values: Any) -> dict[str, Any]:
    order = Order.of(atoms.get_chemical_symbols())
    return write_inputs(atoms, order, parameters(task, **values), enmax=240.0).tags


def check(atoms: Atoms, task: str = "static", **values: Any) -> None:
    engine = registry.get("vasp")
    assert engine.check(Structure.encode(atoms), task, parameters(task, **values), EnginePolicy()).keys() == {
        "potentials"
    }


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


# -- POTCAR -----------------------------------------------------------------------------------------------------------


def test_potentials_are_found_by_functional_and_setup(potentials) -> None:
    found = potcar.find(parameters("static"), ["In", "As"])
    assert [each.title for each in found] == ["PAW_PBE In_d 01Jan2000", "PAW_PBE As 01Jan2000"]
    assert [each.enmax for each in found] == [239.2, 208.7]
    found = potcar.find(parameters("static", setups={"In": ""}, potentials="potpaw_PBE.54"), ["In"])
    assert found[0].path == potentials / "potpaw_PBE.54" / "In" / "POTCAR"
    assert len(found[0].sha256) == 64


def test_what_goes_with_a_job_says_which_potentials_it_has(potentials, tmp_path) -> None:
    def checked() -> Path:
        structure = Structure.encode(bulk("Si"))
        found: Path = registry.get("vasp").check(structure, "static", parameters("static"), EnginePolicy())[
            "potentials"
        ]
        return found

    first = checked()
    assert first.is_relative_to(tmp_path / "cache")
    assert json.loads(first.read_text())["Si"]["title"] == "PAW_PBE Si 01Jan2000"
    assert "End of Dataset" not in first.read_text()
    assert checked() == first
    (potentials / "potpaw_PBE" / "Si" / "POTCAR").write_text(stand_in("Si", enmax=300.0))
    assert checked().read_text() != first.read_text()


def test_folders_of_potentials_are_listed_by_elements(potentials, monkeypatch) -> None:
    engine = registry.get("vasp")
    (potentials / "potpaw_PBE.54" / "As" / "POTCAR").unlink()
    assert [each.name for each in engine.potentials(["In", "As"])] == ["potpaw_PBE"]
    assert [each.name for each in engine.potentials([])] == ["potpaw_PBE", "potpaw_PBE.54"]
    assert engine.potentials(["In"])[1].elements == ("Fe", "In", "Si")
    monkeypatch.delenv("VASP_PP_PATH")
    assert engine.potentials(["In"]) == []


def test_a_potcar_is_there_only_while_it_is_lent(potentials, workdir) -> None:
    found = potcar.find(parameters("static"), ["In", "As"])
    with potcar.lent(workdir, found) as path:
        assert path.parent == workdir
        assert path.stat().st_mode & 0o777 == 0o600
        text = path.read_text()
        assert text.index("TITEL  = PAW_PBE In_d") < text.index("TITEL  = PAW_PBE As")
    assert list(workdir.iterdir()) == []


def test_a_potcar_goes_when_a_run_fails_too(potentials, workdir) -> None:
    found = potcar.find(parameters("static"), ["As"])
    with pytest.raises(ZeroDivisionError), potcar.lent(workdir, found) as path:
        divmod(path.stat().st_size, 0)
    assert list(workdir.iterdir()) == []


def test_a_killed_run_leaves_no_potcar_with_its_job(potentials, workdir, tmp_path, monkeypatch) -> None:
    passing, second = tmp_path / "passing", tmp_path / "second"
    passing.mkdir()
    second.mkdir()
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from nanoos_lab.core.parameters import validate\n"
        "from nanoos_lab.engines.vasp import VaspEngine, potcar\n"
        "given = validate(VaspEngine.tasks['static'], {}, where='')\n"
        "with potcar.lent(Path(sys.argv[1]), potcar.find(given, ['As'])) as path:\n"
        "    print(path.read_text(), flush=True)\n    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(workdir)]
    environment = {**os.environ, "TMPDIR": str(passing)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "PAW_PBE As" in process.stdout.readline()
        assert (workdir / "POTCAR").is_symlink()
        (place,) = passing.iterdir()
        os.utime(place, (0, 0))
        monkeypatch.setattr(tempfile, "tempdir", str(passing))
        # It lives, so another run does not touch what is its own.
        with potcar.lent(second, potcar.find(parameters("static"), ["As"])):
            assert len(list(passing.iterdir())) == 2
        assert (workdir / "POTCAR").is_file()
        process.kill()
    # A job's files are those that are no links.
    assert not [path for path in workdir.rglob("*") if path.is_file() and not path.is_symlink()]
    assert list(passing.iterdir()) == [place]
    with potcar.lent(workdir, potcar.find(parameters("static"), ["As"])) as path:
        assert path.is_file()
        assert not place.exists()
    assert list(passing.iterdir()) == []
    assert list(workdir.iterdir()) == []


def test_a_run_on_several_hosts_has_its_potcar_where_all_can_read_it(potentials, workdir, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    with potcar.lent(workdir, potcar.find(parameters("static"), ["As"])) as path:
        assert not path.is_symlink()
        assert path.stat().st_mode & 0o777 == 0o600
    assert list(workdir.iterdir()) == []


def test_a_potcar_that_changes_under_way_is_refused(potentials, workdir) -> None:
    found = potcar.find(parameters("static"), ["As"])
    found[0].path.write_text(stand_in("As") + "more")
    with pytest.raises(InputError, match="was changed"), potcar.lent(workdir, found):
        pass
    assert list(workdir.iterdir()) == []


# -- bad input --------------------------------------------------------------------------------------------------------


def test_without_a_directory_of_potentials(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("VASP_PP_PATH", raising=False)
    with pytest.raises(InputError, match="VASP_PP_PATH is not set"):
        check(bulk("Si"))
    monkeypatch.setenv("VASP_PP_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="there is no such directory"):
        check(bulk("Si"))
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("VASP_PP_PATH", str(tmp_path / "empty"))
    with pytest.raises(ParameterError, match="it has no folder potpaw"):
        check(bulk("Si"))


def test_a_folder_that_is_not_there_is_answered_with_those_that_are(potentials) -> None:
    with pytest.raises(ParameterError, match=r"'potpaw_PBE', 'potpaw_PBE.54'") as caught:
        check(bulk("Si"), potentials="potpaw_PBE.64")
    assert caught.value.field == "potentials"
    with pytest.raises(ParameterError, match="no folder potpaw in"):
        check(bulk("Si"), xc="LDA")


def test_elements_and_setups_without_a_potcar(potentials) -> None:
    with pytest.raises(StructureError, match="there is no POTCAR for Cu"):
        check(bulk("Cu"))
    with pytest.raises(ParameterError, match=r"take setups=\{'Fe': ''\} or setups=\{'Fe': '_pv'\}"):
        check(bulk("Fe"), setups={"Fe": "_sv"})
    with pytest.raises(UnknownNameError, match="recommended"):
        check(bulk("Si"), setups="recomended")
    with pytest.raises(UnknownNameError):
        check(bulk("Si"), setups={"Sl": "_pv"})
    with pytest.raises(ParameterError, match="a suffix such as"):
        check(bulk("Si"), setups={"Si": "/../../Fe"})


def test_a_potcar_of_another_element_is_refused(potentials) -> None:
    (potentials / "potpaw_PBE" / "Si" / "POTCAR").write_text(stand_in("Fe"))
    with pytest.raises(InputError, match="for another element than Si: its title is 'PAW_PBE Fe 01Jan2000'"):
        check(bulk("Si"))
    (potentials / "potpaw_PBE" / "Si" / "POTCAR").write_text("a text\n" * 100)
    with pytest.raises(InputError, match="is no POTCAR"):
        check(bulk("Si"))
    # S is not Si, however it begins.
    (potentials / "potpaw_PBE" / "Si" / "POTCAR").write_text(stand_in("S"))
    with pytest.raises(InputError, match="another element"):
        check(bulk("Si"))


@pytest.mark.parametrize(
    ("xc", "lexch", "folder"),
    [("LDA", "PE", "potpaw_LDA"), ("PBE", "CA", "potpaw_PBE"), ("SCAN", "CA", "potpaw_PBE")],
)
def test_potentials_of_another_functional_are_refused(potentials, xc: str, lexch: str, folder: str) -> None:
    """VASP would say nothing: without a tag it takes the functional of the POTCAR."""
    place = potentials / "potpaw_PBE.54" / "Si" / "POTCAR"
    place.write_text(stand_in("Si", lexch=lexch))
    with pytest.raises(ParameterError, match=rf"such as those in {folder};.*LEXCH = {lexch}") as caught:
        check(bulk("Si"), xc=xc, potentials="potpaw_PBE.54")
    assert caught.value.field == "potentials"


def test_potentials_of_lda_are_for_lda(potentials) -> None:
    place = potentials / "potpaw_LDA.54" / "Si" / "POTCAR"
    place.parent.mkdir(parents=True)
    place.write_text(stand_in("Si", lexch="CA"))
    check(bulk("Si"), xc="LDA", potentials="potpaw_LDA.54")


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
