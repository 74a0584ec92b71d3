"""Extended tight binding: what its authors' own programs say of the same structures.

- Water: the summary that the program xtb prints after it has optimised the molecule with GFN2-xTB has a total energy of
  −5.070544440612 Eh.
- Water in ASE's geometry: the documentation of tblite's calculator for ASE has −137.96777625 eV with GFN2-xTB and
  −156.96750577 eV with GFN1-xTB.
- Carbon dioxide: the tests of tblite 0.8 have −1256.958705929 eV for this crystal with GFN1-xTB.
- Argon: 5.31 Å at 4 K by experiment (O. G. Peterson, D. N. Batchelder, R. O. Simmons, Phys. Rev. 150, 703, 1966).
"""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.eos import EquationOfState

from tests.engines.ase.running import run
from tests.engines.context import RecordingContext


def carbon_dioxide() -> Atoms:
    """Return the cubic crystal of four molecules, from tblite's documentation."""
    positions = [
        [0.9441259872, 0.9437851680, 0.9543505632],
        [3.7179966528, 0.9556570368, 3.7316862240],
        [3.7159517376, 3.7149292800, 0.9692330016],
        [0.9529872864, 3.7220864832, 3.7296981120],
        [1.6213905408, 1.6190616096, 1.6313879040],
        [0.2656685664, 0.2694175776, 0.2776540416],
        [4.3914553920, 1.6346256864, 3.0545920000],
        [3.0440834880, 0.2764611744, 4.4080419264],
        [4.3910577696, 3.0416409504, 0.2881058304],
        [3.0399936576, 4.3879335936, 1.6497353376],
        [0.2741322432, 4.4003734944, 3.0573754368],
        [1.6312174944, 3.0434586528, 4.4023048032],
    ]
    return Atoms("C4O8", positions=positions, cell=[5.68032] * 3, pbc=True)


def energy(context: RecordingContext, atoms: Atoms, **parameters) -> float:
    return run(context, atoms, "static", engine="tblite", **{"method": "GFN2-xTB", **parameters}).properties["energy"]


def test_water_relaxes_to_the_energy_and_geometry_of_xtb(context):
    results = run(context, molecule("H2O"), "relax", engine="tblite", method="GFN2-xTB", fmax=1e-3, accuracy=0.1)
    atoms = results.structure.atoms()
    assert results.properties["energy"] / units.Hartree == pytest.approx(-5.070544440612, abs=2e-7)
    assert atoms.get_distance(0, 1) == pytest.approx(0.959, abs=0.001)
    assert atoms.get_distance(0, 2) == pytest.approx(0.959, abs=0.001)
    assert atoms.get_angle(1, 0, 2) == pytest.approx(107.2, abs=0.2)


@pytest.mark.parametrize(("method", "expected"), [("GFN2-xTB", -137.96777625229421), ("GFN1-xTB", -156.9675057724589)])
def test_water_has_the_energy_that_tblite_documents(context, method, expected):
    assert energy(context, molecule("H2O"), method=method) == pytest.approx(expected, abs=1e-4)


def test_a_crystal_has_the_energy_that_tblite_has_in_its_tests(context):
    assert energy(context, carbon_dioxide(), method="GFN1-xTB") == pytest.approx(-1256.958705929313, abs=1e-4)


def test_forces_and_stress_are_the_slopes_of_the_energy(tmp_path):
    atoms = carbon_dioxide()
    strict = {"method": "GFN1-xTB", "accuracy": 0.01}

    def of(cell: Atoms):
        return run(RecordingContext(workdir=tmp_path), cell, "static", engine="tblite", **strict).properties

    found, step = of(atoms), 1e-3
    moved = []
    for sign in (-1, 1):
        other = atoms.copy()
        other.positions[4, 0] += sign * step
        moved.append(of(other)["energy"])
    assert found["forces"][4, 0] == pytest.approx(-(moved[1] - moved[0]) / (2 * step), abs=2e-3)
    strained = []
    for sign in (-1, 1):
        other = atoms.copy()
        other.set_cell(atoms.cell * (1 + sign * step), scale_atoms=True)
        strained.append(of(other)["energy"])
    slope = (strained[1] - strained[0]) / (2 * step) / atoms.get_volume()
    assert found["stress"][:3].sum() == pytest.approx(slope, rel=0.01)


def test_the_ionisation_potential_of_water(tmp_path):
    """IPEA1-xTB was made for it: with its constant shift of 4.846 eV near the 12.6 eV of experiment."""
    neutral, ion = (
        energy(RecordingContext(workdir=tmp_path), molecule("H2O"), method="IPEA1-xTB", charge=charge)
        for charge in (0, 1)
    )
    assert ion - neutral - 4.846 == pytest.approx(12.6, abs=1.5)


def test_the_charge_is_that_of_the_initial_charges_unless_given(tmp_path):
    ion = molecule("H2O")
    ion.set_initial_charges([1.0, 0.0, 0.0])
    own, given, none = (
        energy(RecordingContext(workdir=tmp_path), atoms, **parameters)
        for atoms, parameters in ((ion, {}), (molecule("H2O"), {"charge": 1}), (ion, {"charge": 0}))
    )
    assert own == pytest.approx(given)
    assert none == pytest.approx(-137.96777625229421, abs=1e-4)


def test_oxygen_lies_lower_as_a_triplet(tmp_path):
    oxygen = molecule("O2")
    oxygen.set_initial_magnetic_moments(None)
    singlet, triplet = (
        energy(RecordingContext(workdir=tmp_path), oxygen, multiplicity=multiplicity) for multiplicity in (1, 3)
    )
    by_moments = energy(RecordingContext(workdir=tmp_path), molecule("O2"))
    assert triplet == pytest.approx(by_moments)
    assert triplet != pytest.approx(singlet, abs=1e-3)


def test_hot_electrons_lower_the_free_energy(tmp_path):
    cold, hot = (
        energy(RecordingContext(workdir=tmp_path), molecule("C6H6"), electronic_temperature=kelvin)
        for kelvin in (300, 20000)
    )
    assert hot < cold - 0.1


def test_a_strict_accuracy_changes_little(tmp_path):
    usual, strict = (
        energy(RecordingContext(workdir=tmp_path), molecule("CH3CH2OH"), accuracy=accuracy) for accuracy in (1.0, 0.01)
    )
    assert usual == pytest.approx(strict, abs=1e-4)


def test_argon_has_its_lattice_constant(tmp_path):
    cells = [bulk("Ar", cubic=True, a=length) for length in (5.15, 5.22, 5.29, 5.36, 5.43)]
    energies = [energy(RecordingContext(workdir=tmp_path), cell, method="GFN1-xTB") for cell in cells]
    volume, _, _ = EquationOfState([cell.get_volume() for cell in cells], energies).fit()
    assert volume ** (1 / 3) == pytest.approx(5.31, abs=0.01)


def test_results_have_what_tight_binding_knows_besides(context):
    results = run(context, molecule("H2O"), "static", engine="tblite", method="GFN2-xTB")
    assert results.properties["charges"].sum() == pytest.approx(0, abs=1e-6)
    assert results.properties["charges"][0] == pytest.approx(-0.56, abs=0.05)
    # 1.85 Debye by experiment.
    assert np.linalg.norm(results.properties["dipole"]) / units.Debye == pytest.approx(2.2, abs=0.3)
    assert "stress" not in results.properties
    assert results.provenance["method"] == "GFN2-xTB"
    assert results.provenance["engine"] == "tblite"
