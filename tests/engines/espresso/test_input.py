"""pw.x's input follows from structure and parameters; what pw.x could not run is refused before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.constraints import FixAtoms, FixBondLength, FixCartesian
from ase.io import read

from nanoos_lab.core.errors import InputError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.core.parameters import validate
from nanoos_lab.engines.espresso import EspressoEngine, inputs
from tests.engines.espresso.running import SILICON, silicon, text_of, value

if TYPE_CHECKING:
    from pathlib import Path

HYDROGEN: dict[str, Any] = {"pseudos": {"H": "H.pz-vbc.UPF"}, "ecutwfc": 20}
IRON: dict[str, Any] = {"pseudos": {"Fe": "Fe.pz-nd-rrkjus.UPF"}, "ecutwfc": 25, "ecutrho": 200}


def h2(vacuum: float = 2.5) -> Atoms:
    atoms = molecule("H2")
    atoms.center(vacuum=vacuum)
    return atoms


def test_ase_reads_the_structure_back(tmp_path: Path) -> None:
    atoms = silicon(shift=0.1234567)
    (tmp_path / "pw.in").write_text(text_of(atoms, **SILICON))
    back = read(tmp_path / "pw.in", format="espresso-in")
    assert back.positions == pytest.approx(atoms.positions, abs=1e-12)
    assert back.cell.array == pytest.approx(atoms.cell.array, abs=1e-12)
    assert back.get_chemical_symbols() == atoms.get_chemical_symbols()


def test_kpoints_follow_from_their_distance() -> None:
    atoms = bulk("Si", cubic=True, a=5.0)
    how = {name: SILICON[name] for name in ("pseudos", "ecutwfc")}
    # 2π / 5 Å = 1.2566 1/Å.
    assert "K_POINTS automatic\n7 7 7 0 0 0" in text_of(atoms, **how, kspacing=0.2)
    assert "\n1 1 1 0 0 0" in text_of(atoms, **how, kspacing=2 * np.pi / 5.0)
    assert "\n2 2 2 1 1 1" in text_of(atoms, **how, kpts=(2, 2, 2), kshift=True)
    slab = bulk("Si", cubic=True, a=5.0)
    slab.center(vacuum=4, axis=2)
    slab.pbc = (True, True, False)
    assert "\n7 7 1 0 0 0" in text_of(slab, **how, kspacing=0.2)
    with pytest.raises(ParameterError, match="1 along axis 2"):
        text_of(slab, **how, kpts=(2, 2, 2))


def test_a_molecule_has_no_kpoints() -> None:
    assert "K_POINTS gamma" in text_of(h2(), **HYDROGEN)
    with pytest.raises(ParameterError, match=r"kspacing=0\.2.*not periodic, which has only Γ"):
        text_of(h2(), **HYDROGEN, kspacing=0.2)
    with pytest.raises(ParameterError, match="kpts="):
        text_of(h2(), **HYDROGEN, kpts=(2, 2, 2))
    with pytest.raises(StructureError, match=r"atoms\.center"):
        text_of(molecule("H2"), **HYDROGEN)


def test_thresholds_are_in_pwxs_units_and_strict_enough() -> None:
    text = text_of(silicon(shift=0.1), "relax", **SILICON, fmax=0.03, steps=20)
    largest = float(value(text, "forc_conv_thr").replace("d", "e")) * units.Ry / units.Bohr
    assert np.sqrt(3) * largest == pytest.approx(0.03)
    assert value(text, "nstep") == "21"
    text = text_of(silicon(), "relax", **SILICON, fmax=0.03, cell="free", pressure=2.0)
    assert (value(text, "calculation"), value(text, "press")) == ("'vc-relax'", "20.0")
    stress = float(value(text, "press_conv_thr")) * 0.1 * units.GPa
    assert np.sqrt(3) * stress * silicon().get_volume() / 2 == pytest.approx(0.03)


def test_constraints_become_flags() -> None:
    atoms = silicon(shift=0.1)
    atoms.set_constraint([FixAtoms([0]), FixCartesian(1, (True, False, False))])
    lines = text_of(atoms, "relax", **SILICON).splitlines()[-2:]
    assert [line.split()[4:] for line in lines] == [["0", "0", "0"], ["0", "1", "1"]]
    atoms.set_constraint(FixBondLength(0, 1))
    with pytest.raises(StructureError, match="FixBondLengths cannot be kept"):
        text_of(atoms, "relax", **SILICON)
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(StructureError, match="cannot be fixed in a cell that changes"):
        text_of(atoms, "vc_relax", **SILICON)
    atoms.set_constraint(FixAtoms([0, 1]))
    with pytest.raises(InputError, match="nothing to move"):
        text_of(atoms, "relax", **SILICON)


def test_magnetic_moments_make_species() -> None:
    atoms = bulk("Fe", cubic=True)
    atoms.set_initial_magnetic_moments([2.0, -2.0])
    text = text_of(atoms, **IRON, smearing="gaussian", degauss=0.01)
    assert (value(text, "nspin"), value(text, "ntyp")) == ("2", "2")
    # Eight valence electrons.
    assert (value(text, "starting_magnetization(1)"), value(text, "starting_magnetization(2)")) == ("0.25", "-0.25")
    assert [line.split()[0] for line in text.splitlines()[-2:]] == ["Fe", "Fe1"]
    assert text.count(" Fe.upf") == 2
    with pytest.raises(ParameterError, match=r"smearing=None.*tot_magnetization"):
        text_of(atoms, **IRON)
    assert "tot_magnetization = 0" in text_of(atoms, **IRON, input={"system": {"tot_magnetization": 0}})


def test_moments_that_are_vectors_have_a_size_and_two_angles() -> None:
    atoms = bulk("Fe", "bcc", a=2.87, cubic=True)
    del atoms.arrays["initial_magmoms"]
    atoms.set_initial_magnetic_moments([[0, -2, 0], [1, 1, np.sqrt(2)]])
    text = text_of(atoms, **IRON)
    assert (value(text, "noncolin"), value(text, "lspinorb"), value(text, "ntyp")) == (".true.", ".false.", "2")
    assert "nspin" not in text
    sizes = [float(value(text, f"starting_magnetization({kind})")) for kind in (1, 2)]
    angles = [[float(value(text, f"angle{which}({kind})")) for which in (1, 2)] for kind in (1, 2)]
    assert sizes == pytest.approx([0.25, 0.25])
    assert angles == [pytest.approx([90.0, -90.0]), pytest.approx([45.0, 45.0])]
    with pytest.raises(ParameterError, match=r"tot_magnetization.*one axis"):
        text_of(atoms, **IRON, input={"system": {"tot_magnetization": 0}})
    with pytest.raises(ParameterError, match="initial magnetic moments as vectors"):
        text_of(atoms, **IRON, input={"system": {"noncolin": True}})


def test_spinors_at_gamma_are_complex_and_may_be_odd_in_number() -> None:
    atoms = Atoms("H", cell=[5, 5, 5], magmoms=[[0, 0, 1]])
    lines = text_of(atoms, **HYDROGEN).splitlines()
    place = lines.index("K_POINTS automatic")
    assert lines[place + 1] == "1 1 1 0 0 0"


def test_spin_and_orbit_are_coupled_only_with_pseudopotentials_for_it() -> None:
    with pytest.raises(ParameterError, match=r"soc=True.*fully relativistic.*none of Si\.pz-vbc\.UPF"):
        text_of(silicon(), **SILICON, soc=True)
    for name in ("Si_r.upf", "Si.rel-pbe-rrkj.UPF"):
        text = text_of(silicon(), pseudos={"Si": name}, ecutwfc=12, soc=True)
        assert (value(text, "noncolin"), value(text, "lspinorb")) == (".true.", ".true.")
        assert "magnetization" not in text


def test_velocities_are_those_of_the_structure_and_only_for_dynamics() -> None:
    atoms = silicon()
    assert "VELOCITIES" not in text_of(atoms, "md", **SILICON, steps=1)
    # A Bohr in a Rydberg unit of time, half of Hartree's.
    atoms.set_velocities([[units.Bohr / (2 * units.AUT), 0, 0], [0, -units.Bohr / (2 * units.AUT), 0]])
    text = text_of(atoms, "md", **SILICON, steps=1)
    assert (value(text, "ion_velocities"), value(text, "nosym")) == ("'from_input'", ".true.")
    lines = text.splitlines()
    assert lines[-3] == "ATOMIC_VELOCITIES"
    rows = [line.split() for line in lines[-2:]]
    assert [row[0] for row in rows] == ["Si", "Si"]
    assert np.array([row[1:] for row in rows], dtype=float) == pytest.approx(np.array([[1, 0, 0], [0, -1, 0]]))
    for task in ("static", "relax"):
        assert "VELOCITIES" not in text_of(atoms, task, **SILICON)
        assert "nosym" not in text_of(atoms, task, **SILICON)


def test_a_thermostat_is_andersens_with_collisions_once_in_a_relaxation_time() -> None:
    text = text_of(silicon(), "md", **SILICON, steps=1, ensemble="nvt", temperature=300, tdamp=25, timestep=2.0)
    assert value(text, "ion_temperature") == "'andersen'"
    # Two atoms lose some of what collisions bring with the motion of their centre of mass.
    assert (float(value(text, "tempw")), int(value(text, "nraise"))) == (pytest.approx(300 * (1 + 11 / 24)), 12)
    held = silicon()
    held.set_constraint(FixAtoms([0]))
    text = text_of(held, "md", **SILICON, steps=1, ensemble="nvt", temperature=300)
    assert (float(value(text, "tempw")), int(value(text, "nraise"))) == (300.0, 100)
    with pytest.raises(ParameterError, match=r"temperature=None.*ensemble='nvt'"):
        text_of(silicon(), "md", **SILICON, steps=1, ensemble="nvt")
    with pytest.raises(InputError, match="ensemble"):
        text_of(silicon(), "md", **SILICON, steps=1, ensemble="npt", temperature=300)
    with pytest.raises(ParameterError, match="use ensemble"):
        text_of(silicon(), "md", **SILICON, steps=1, input={"ions": {"ion_temperature": "svr"}})
    alone = Atoms("Si", cell=[5, 5, 5], pbc=True)
    with pytest.raises(StructureError, match="single atom"):
        text_of(alone, "md", **SILICON, steps=1, ensemble="nvt", temperature=300)


def test_velocities_are_drawn_by_the_seed_where_none_are_given() -> None:
    atoms = silicon() * (5, 5, 5)

    def drawn(**parameters: Any) -> Atoms:
        drawn = atoms.copy()
        given = validate(EspressoEngine().tasks["md"], {**SILICON, "steps": 1, **parameters}, where="here")
        inputs.set_in_motion(drawn, given)
        return drawn

    moving = drawn(temperature=600)
    # 747 degrees of freedom: five standard deviations.
    assert moving.get_kinetic_energy() == pytest.approx(747 / 2 * units.kB * 600, rel=5 * np.sqrt(2 / 747))
    assert moving.get_momenta().sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    assert (drawn(temperature=600).get_momenta() == moving.get_momenta()).all()
    assert (drawn(temperature=600, seed=7).get_momenta() != moving.get_momenta()).all()
    assert not drawn().get_momenta().any()
    atoms.set_constraint(FixAtoms([0]))
    assert drawn(temperature=600).get_momenta()[:2].any(axis=1).tolist() == [False, True]
    atoms.set_constraint()
    atoms.set_momenta(np.ones((250, 3)))
    assert (drawn(temperature=600).get_momenta() == 1).all()


def test_isotopes_make_species() -> None:
    atoms = h2()
    atoms.set_masses([1.008, 2.014])
    lines = text_of(atoms, **HYDROGEN).splitlines()
    at = lines.index("ATOMIC_SPECIES")
    assert lines[at + 1 : at + 3] == ["H 1.008000 H.upf", "H1 2.014000 H.upf"]
    assert [line.split()[0] for line in lines[-2:]] == ["H", "H1"]


def test_more_kinds_of_atoms_than_pwx_takes_are_refused() -> None:
    atoms = bulk("Fe", cubic=True) * (3, 2, 1)
    atoms.set_initial_magnetic_moments(np.linspace(1.0, 2.1, 12))
    with pytest.raises(StructureError, match=r"at most 10 kinds of atoms.* make 12: Fe 1 55\.845 u, Fe 1\.1"):
        text_of(atoms, **IRON, smearing="gaussian")
    atoms.set_initial_magnetic_moments([*np.linspace(1.0, 1.9, 10), 1.0, 1.0])
    assert value(text_of(atoms, **IRON, smearing="gaussian"), "ntyp") == "10"


def test_what_pwx_would_refuse_is_refused_before() -> None:
    with pytest.raises(ParameterError, match=r"smearing='tetrahedra'.*not periodic"):
        text_of(h2(), **HYDROGEN, smearing="tetrahedra")
    with pytest.raises(ParameterError, match=r"tot_magnetization.*=2.*initial magnetic moments"):
        text_of(silicon(), **SILICON, input={"system": {"tot_magnetization": 2}})
    for functional in ({}, {"input_dft": "lda"}):
        given = {"system": {"vdw_corr": "DFT-D3", **functional}}
        with pytest.raises(ParameterError, match=r"vdw_corr.*='DFT-D3'.*no parameters for PZ"):
            text_of(silicon(), **SILICON, input=given)
    assert "DFT-D3" in text_of(silicon(), **SILICON, input={"system": {"vdw_corr": "DFT-D3", "input_dft": "pbe"}})
    with pytest.raises(ParameterError, match=r"ecutrho=12.*more than ecutwfc"):
        text_of(silicon(), **SILICON, ecutrho=12)


def test_keywords_of_the_users_own_are_added() -> None:
    text = text_of(silicon(), **SILICON, input={"SYSTEM".lower(): {"nosym": True, "ecfixed": 1.5e-7}})
    assert (value(text, "nosym"), value(text, "ecfixed")) == (".true.", "1.5d-07")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sistem": {}}, "unknown namelist of pw.x 'sistem'. Did you mean 'system'?"),
        ({"system": {"nosim": True}}, "'nosim'. Did you mean 'nosym'?"),
        ({"electrons": {"nosym": True}}, "is in namelist 'system', not in 'electrons'"),
        ({"system": {"ecutwfc": 30}}, "the engine sets it: use ecutwfc"),
        ({"control": {"outdir": "elsewhere"}}, "the engine sets it"),
        ({"control": {"disk_io": "none"}}, "the engine needs pw.x's files"),
        ({"control": {"title": "it's\n/"}}, "printable"),
        ({"system": {"assume_isolated": "a/b"}}, "printable"),
    ],
)
def test_keywords_that_cannot_be_set_are_refused(given: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        text_of(silicon(), **SILICON, input=given)
    assert words in str(caught.value)


def test_atoms_that_overlap_are_refused() -> None:
    atoms = silicon()
    atoms.positions[1] = atoms.positions[0] + atoms.cell[0] + [0.1, 0, 0]
    with pytest.raises(StructureError, match=r"atoms 0 and 1 overlap: they are 0\.1 Å apart"):
        text_of(atoms, **SILICON)
    atoms.pbc = False
    with pytest.raises(StructureError, match="atoms 0 and 1 overlap"):
        text_of(atoms, **SILICON)


def test_an_odd_electron_needs_a_smearing() -> None:
    with pytest.raises(ParameterError, match=r"smearing=None.*7 electrons cannot all be in pairs"):
        text_of(silicon(), **SILICON, charge=1)
    assert value(text_of(silicon(), **SILICON, charge=1, smearing="fermi-dirac"), "degauss") == "0.02"
    with pytest.raises(ParameterError, match=r"charge=8.*less than the 8 electrons"):
        text_of(silicon(), **SILICON, charge=8)


def test_choices_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ParameterError, match="kspacing"):
        text_of(silicon(), **SILICON, kspacing=0.1)
    with pytest.raises(ParameterError, match="degauss"):
        text_of(silicon(), **SILICON, degauss=0.1)
    with pytest.raises(ParameterError, match="cell_factor"):
        text_of(silicon(), "relax", **SILICON, cell_factor=3)
    with pytest.raises(UnknownNameError, match="Did you mean 'smearing'"):
        text_of(silicon(), **SILICON, smearig="gaussian")
    with pytest.raises(ParameterError, match=r"ecutwfc=None.*no table recommends one"):
        text_of(silicon(), pseudos=SILICON["pseudos"])
