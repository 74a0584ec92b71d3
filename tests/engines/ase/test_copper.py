"""Copper in effective medium theory: the numbers that the field knows.

K. W. Jacobsen, P. Stoltze, J. K. Nørskov, Surf. Sci. 366, 394 (1996) give the model and its parameters, s0 = 2.67 bohr
and E0 = −3.51 eV; ASE's implementation has a0 = 3.590 Å and B = 134 GPa.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.eos import EquationOfState

from nanoos_lab.core.units import THERMO_COLUMNS
from tests.engines.ase.running import run
from tests.engines.context import RecordingContext

if TYPE_CHECKING:
    from pathlib import Path

LATTICE_CONSTANT = 3.590  # Å
BULK_MODULUS = 134  # GPa
COHESIVE_ENERGY = 3.51  # eV/atom


def copper(lattice_constant: float) -> Atoms:
    return bulk("Cu", cubic=True, a=lattice_constant)


def static(directory: Path, atoms: Atoms) -> RecordingContext:
    context = RecordingContext(workdir=directory)
    run(context, atoms, "static", calculator="emt")
    return context


def energy(directory: Path, atoms: Atoms) -> float:
    return static(directory, atoms).series("potential_energy")[0]


def test_equation_of_state(tmp_path):
    cells = [copper(LATTICE_CONSTANT * (1 + strain)) for strain in (-0.02, -0.01, 0.0, 0.01, 0.02)]
    volumes, energies = [cell.get_volume() for cell in cells], [energy(tmp_path, cell) for cell in cells]
    volume, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    assert volume ** (1 / 3) == pytest.approx(LATTICE_CONSTANT, abs=0.002)
    assert modulus / units.GPa == pytest.approx(BULK_MODULUS, abs=2)


def test_cohesive_energy(tmp_path):
    atom = energy(tmp_path, Atoms("Cu"))
    solid = energy(tmp_path, copper(LATTICE_CONSTANT)) / 4
    assert atom - solid == pytest.approx(COHESIVE_ENERGY, abs=0.01)


def test_a_free_cell_relaxes_to_the_lattice_constant(context):
    results = run(context, copper(3.7), "relax", calculator="emt", cell="free", fmax=0.002)
    lengths = results.structure.atoms().cell.lengths()
    np.testing.assert_allclose(lengths, LATTICE_CONSTANT, atol=0.002)
    assert context.series("pressure")[0] < -5
    assert context.series("pressure")[-1] == pytest.approx(0, abs=0.03)
    np.testing.assert_allclose(context.samples[-1].frame.cell, results.structure.atoms().cell.array)


def test_a_free_cell_relaxes_to_the_outer_pressure(context):
    run(context, copper(3.59), "relax", calculator="emt", cell="free", fmax=0.002, pressure=10)
    assert context.series("pressure")[-1] == pytest.approx(10, abs=0.03)
    assert context.series("volume")[-1] < LATTICE_CONSTANT**3


@pytest.mark.parametrize(("lattice_constant", "sign"), [(3.5, 1), (3.7, -1)])
def test_pressure_is_positive_under_compression_and_is_the_slope_of_the_energy(tmp_path, lattice_constant, sign):
    pressure = static(tmp_path, copper(lattice_constant)).series("pressure")[0]
    smaller, larger = copper(lattice_constant - 1e-4), copper(lattice_constant + 1e-4)
    slope = (energy(tmp_path, larger) - energy(tmp_path, smaller)) / (larger.get_volume() - smaller.get_volume())
    assert np.sign(pressure) == sign
    assert pressure == pytest.approx(-slope / units.GPa, rel=1e-4)


def test_a_static_calculation_gives_what_ase_gives(context):
    from ase.calculators.emt import EMT

    atoms = copper(3.6)
    atoms.rattle(0.05, seed=1)
    results = run(context, atoms, "static", calculator="emt")
    atoms.calc = EMT()
    assert context.columns == list(THERMO_COLUMNS)
    assert context.steps == [0]
    assert results.properties["energy"] == atoms.get_potential_energy()
    np.testing.assert_array_equal(results.properties["forces"], atoms.get_forces())
    np.testing.assert_array_equal(results.properties["stress"], atoms.get_stress())
    np.testing.assert_array_equal(results.structure.atoms().positions, atoms.positions)
    assert results.provenance["calculator"] == "ase.calculators.emt:EMT"
    assert not results.stopped


def test_a_cluster_has_neither_volume_nor_pressure_nor_stress(context):
    results = run(context, Atoms("Cu2", positions=[[0, 0, 0], [2.2, 0, 0]]), "static", calculator="emt")
    assert np.isnan(context.series("volume")).all()
    assert np.isnan(context.series("pressure")).all()
    assert "stress" not in results.properties
