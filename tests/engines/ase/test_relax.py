"""Relaxation: every optimiser, every end."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from nanoos_lab.core.errors import EngineError, ParameterError, StructureError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.ase.parameters import OptimizerParameters
from tests.engines.ase.running import run

OPTIMIZERS = get_args(OptimizerParameters.model_fields["optimizer"].annotation)
SPRINGS = "tests.engines.ase.doubles:Springs"


@pytest.fixture
def rattled() -> Atoms:
    atoms = bulk("Cu", cubic=True, a=3.59)
    atoms.rattle(0.1, seed=3)
    return atoms


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_brings_the_forces_below_fmax(context, rattled, optimizer):
    results = run(context, rattled, "relax", calculator="emt", fmax=0.02, optimizer=optimizer)
    atoms = results.structure.atoms()
    atoms.calc = EMT()
    largest = np.linalg.norm(atoms.get_forces(), axis=1).max()
    assert largest < 0.02
    assert results.properties["fmax"] == pytest.approx(largest)
    assert context.series("fmax")[-1] == pytest.approx(largest)
    assert context.series("potential_energy")[-1] < context.series("potential_energy")[0]
    assert results.provenance["optimizer"] == optimizer


def test_samples_are_at_multiples_of_every_and_at_the_end(context, rattled):
    results = run(context, rattled, "relax", calculator="emt", fmax=0.02, every=4)
    last = results.properties["steps"]
    assert context.steps == sorted({*range(0, last + 1, 4), last})
    np.testing.assert_array_equal(context.samples[-1].frame.positions, results.structure.atoms().positions)
    assert context.head.total is None
    assert context.columns[-1] == "fmax"


def test_a_relaxed_structure_needs_no_step(context):
    results = run(context, bulk("Cu", cubic=True, a=3.59), "relax", calculator="emt", steps=0)
    assert results.properties["steps"] == 0
    assert context.steps == [0]


def test_too_few_steps_fail_with_the_force_that_was_reached(context, rattled):
    with pytest.raises(EngineError, match=r"eV/Å after 2 steps, not fmax=0\.001") as caught:
        run(context, rattled, "relax", calculator="emt", fmax=0.001, steps=2)
    assert caught.value.reason is Reason.CONVERGENCE
    assert "more steps" in caught.value.remedy
    assert context.steps == [0, 1, 2]


def test_a_stop_ends_it_with_what_it_has(context, rattled):
    context.stop_after_samples = 3
    results = run(context, rattled, "relax", calculator="emt", fmax=1e-5)
    assert results.stopped
    assert results.properties["steps"] == context.steps[-1] == 2


def test_fixed_atoms_stay_and_their_forces_do_not_count(context, rattled):
    rattled.set_constraint(FixAtoms([0]))
    results = run(context, rattled, "relax", calculator="emt", fmax=0.02)
    np.testing.assert_array_equal(results.structure.atoms().positions[0], rattled.positions[0])


def test_momenta_of_the_structure_are_kept_but_count_for_nothing(context, rattled):
    rattled.set_momenta(np.ones((4, 3)))
    results = run(context, rattled, "relax", calculator="emt", fmax=0.02)
    assert not context.series("kinetic_energy").any()
    np.testing.assert_array_equal(results.structure.atoms().get_momenta(), np.ones((4, 3)))


def test_a_free_cell_needs_a_periodic_structure_and_a_stress(context, rattled):
    with pytest.raises(StructureError, match="periodic"):
        run(context, Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2]]), "relax", calculator="emt", cell="free")
    with pytest.raises(ParameterError, match="stress"):
        run(context, rattled, "relax", calculator=SPRINGS, cell="free")


def test_pressure_needs_a_free_cell(context, rattled):
    with pytest.raises(ParameterError, match="cell='free'"):
        run(context, rattled, "relax", calculator="emt", pressure=1.0)
