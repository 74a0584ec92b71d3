"""Ready-made workflows against what the literature says of copper.

S. M. Foiles, M. I. Baskes, M. S. Daw, Phys. Rev. B 33, 7983 (1986), the potential Cu_u3.eam: a0 = 3.615 Å,
E = −3.54 eV, B = 138 GPa. Effective medium theory: ASE's implementation of K. W. Jacobsen, P. Stoltze, J. K. Nørskov,
Surf. Sci. 366, 394 (1996) has a0 = 3.590 Å and B = 134 GPa.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk, make_supercell, molecule

from nanoos_lab.core.errors import (
    InputError,
    JobFailedError,
    ParameterError,
    StructureError,
    UnknownNameError,
)
from nanoos_lab.lab.workflows.cells import lattice_constant, strained
from nanoos_lab.lab.workflows.convergence import convergence_test
from nanoos_lab.lab.workflows.eos import FORMS, EquationOfStateFit, equation_of_state, fit
from nanoos_lab.lab.workflows.ramp import temperature_ramp

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab

EAM = {"engine": "lammps", "potential": "Cu_u3.eam"}
EMT = {"engine": "ase", "calculator": "emt"}
LATER = datetime.now(UTC) + timedelta(days=30)


# -- equation of state ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structure", [bulk("Cu", a=3.6), bulk("Cu", a=3.6, cubic=True)], ids=["primitive", "cubic"])
def test_equation_of_state_of_copper_with_eam(lab: Lab, structure) -> None:
    found = equation_of_state(structure, lab=lab, **EAM).wait(60).fit()
    assert found.lattice_constant == pytest.approx(3.615, abs=0.001)
    assert found.bulk_modulus == pytest.approx(138, abs=1)
    assert found.energy / len(structure) == pytest.approx(-3.54, abs=0.005)
    assert found.volume / len(structure) == pytest.approx(3.615**3 / 4, rel=0.001)


def test_equation_of_state_of_copper_with_emt(lab: Lab) -> None:
    group = equation_of_state(bulk("Cu", cubic=True), points=7, lab=lab, **EMT).wait(60)
    found = group.fit("vinet")
    assert found.lattice_constant == pytest.approx(3.590, abs=0.002)
    assert found.bulk_modulus == pytest.approx(134, abs=2)
    results = group.results
    np.testing.assert_allclose(found.energies(results["volume"]), results["energy"], atol=1e-3)
    assert results.attrs["units"] == {"volume": "Å³", "energy": "eV", "free_energy": "eV"}
    assert found.energies([found.volume]) == pytest.approx([found.energy])


def test_a_job_that_has_relaxed_is_where_an_equation_of_state_starts(lab: Lab) -> None:
    relaxed = lab.submit(bulk("Cu", a=3.7), task="relax", cell="free", fmax=1e-3, **EAM).wait(60)
    group = equation_of_state(relaxed, lab=lab, span=0.02, **EAM).wait(60)
    assert group.fit().lattice_constant == pytest.approx(3.615, abs=0.001)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_back_its_own_curve(form: str) -> None:
    from ase import eos, units

    volumes = np.linspace(42, 52, 9)
    energies = getattr(eos, form)(volumes, -14.0, 138 * units.GPa, 5.0, 47.0)
    found = fit(volumes, energies, form=form)
    assert (found.volume, found.energy, found.bulk_modulus) == pytest.approx((47.0, -14.0, 138.0), rel=1e-4)
    assert found.bulk_modulus_derivative == pytest.approx(5.0, rel=1e-3)
    assert found.lattice_constant is None
    np.testing.assert_allclose(found.energies(volumes), energies, atol=1e-8)


def test_a_fit_shows_its_numbers_with_their_units() -> None:
    found = EquationOfStateFit(
        volume=47.0,
        energy=-14.0,
        bulk_modulus=138.0,
        bulk_modulus_derivative=5.0,
        lattice_constant=None,
        form="birch",
    )
    assert repr(found).splitlines() == [
        *("<EquationOfStateFit", "  volume = 47.0 Å³", "  energy = -14.0 eV", "  bulk_modulus = 138.0 GPa"),
        *("  bulk_modulus_derivative = 5.0", "  lattice_constant = None", "  form = 'birch'", ">"),
    ]
    assert found.units["lattice_constant"] == "Å"


def test_a_minimum_outside_of_the_volumes_is_no_result(lab: Lab) -> None:
    group = equation_of_state(bulk("Cu", a=4.0), lab=lab, **EMT).wait(60)
    with pytest.raises(InputError, match="no minimum"):
        group.fit()
    with pytest.raises(UnknownNameError, match="'birch'"):
        group.fit("birsh")


@pytest.mark.parametrize(
    ("cell", "edge"),
    [
        (bulk("Cu", a=3.6).cell, 3.6),
        (bulk("Fe", a=2.9).cell, 2.9),
        (bulk("Cu", a=3.6, cubic=True).cell, 3.6),
        (make_supercell(bulk("Cu", a=3.6, cubic=True), 2 * np.eye(3)).cell, 7.2),
        (bulk("Cu", a=3.6, orthorhombic=True).cell, None),
        (bulk("Mg").cell, None),
        (strained(bulk("Cu", a=3.6), np.diag([0.01, 0, 0])).cell, None),
    ],
    ids=["fcc", "bcc", "cube", "supercell", "orthorhombic", "hexagonal", "strained"],
)
def test_a_cubic_lattice_is_known_by_its_cell(cell, edge: float | None) -> None:
    assert lattice_constant(cell) == (edge and pytest.approx(edge))


# -- convergence ------------------------------------------------------------------------------------------------------


def test_a_convergence_test_shows_differences_to_the_last_and_where_they_are_small(lab: Lab) -> None:
    lennard_jones = {"engine": "ase", "task": "static", "calculator": "lj", "epsilon": 0.01, "sigma": 3.4}
    cutoffs = [6.0, 8.0, 10.0, 12.0, 14.0]
    group = convergence_test(bulk("Ar", a=5.3), over={"cutoff": cutoffs}, lab=lab, **lennard_jones).wait(60)
    table = group.table()
    assert table.index.tolist() == cutoffs
    assert table["difference"].iloc[-1] == 0
    assert table["difference"].abs().is_monotonic_decreasing
    assert table.attrs["units"] == {"energy": "eV/atom", "difference": "eV/atom", "cutoff": "Å"}
    within = abs(table.loc[10.0, "difference"]) * 1.001
    assert group.converged(within) == 10.0
    assert group.converged(1e-12) is None
    with pytest.raises(UnknownNameError, match="'energy'"):
        group.table("enrgy")


def test_a_supercell_has_converged_by_the_energy_of_an_atom(lab: Lab) -> None:
    cells = {size: bulk("Cu", cubic=True) * (size, size, size) for size in (1, 2, 3)}
    group = convergence_test(over={"structure": cells}, task="static", lab=lab, **EAM).wait(60)
    assert group.converged(1e-6) == 1


# -- ramp -------------------------------------------------------------------------------------------------------------


def test_a_ramp_goes_on_with_positions_cell_and_velocities(lab: Lab) -> None:
    copper = bulk("Cu", cubic=True) * (3, 3, 3)
    group = temperature_ramp(copper, temperatures=[300, 900, 1500], steps=1000, every=50, timestep=2.0, lab=lab, **EAM)
    assert [job.status for job in group[1:]] == ["pending", "pending"]
    assert group.wait(120).status["succeeded"] == 3

    for before, after in pairwise(group):
        np.testing.assert_allclose(after.trajectory[0].positions, before.trajectory[-1].positions, atol=1e-6)
        np.testing.assert_allclose(after.trajectory[0].cell.array, before.trajectory[-1].cell.array, atol=1e-6)
        assert after.thermo["temperature"].iloc[0] == pytest.approx(before.thermo["temperature"].iloc[-1], rel=1e-4)
    thermo = group.thermo
    assert len(thermo) == 3 * 21
    assert thermo["time"].is_monotonic_increasing
    assert thermo["time"].iloc[-1] == 6000.0
    assert thermo.attrs["units"]["volume"] == "Å³"
    means = group.averages()
    assert means.index.tolist() == [300, 900, 1500]
    assert means["temperature"].is_monotonic_increasing
    # Copper expands: 17 · 10⁻⁶ / K along each axis near room temperature (CRC Handbook, 95th ed., 12-207).
    assert means["volume"].is_monotonic_increasing


def test_a_ramp_whose_stage_fails_ends_there(lab: Lab) -> None:
    group = temperature_ramp(
        bulk("Cu", cubic=True), temperatures=[300, 600, 900], engine="mock", steps=20, every=10, fail_at=10, lab=lab
    ).wait(60)
    assert group.results["status"].tolist() == ["failed", "cancelled", "cancelled"]
    with pytest.raises(JobFailedError):
        group.succeeded()
    assert group.averages().index.tolist() == [300]


def test_a_ramp_that_has_not_begun_has_no_thermo(lab: Lab) -> None:
    wanted = {"engine": "mock", "steps": 20, "ensemble": "nvt", "not_before": LATER}
    group = temperature_ramp(bulk("Cu"), temperatures=[300, 600], lab=lab, **wanted)
    assert group.thermo.empty
    assert group.averages().empty
    group.cancel()


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda lab: equation_of_state(bulk("Cu"), points=3, lab=lab, **EMT), ParameterError, "≥ 5"),
        (lambda lab: equation_of_state(bulk("Cu"), span=1.5, lab=lab, **EMT), ParameterError, "between 0 and 1"),
        (lambda lab: equation_of_state(molecule("H2"), lab=lab, **EMT), StructureError, "periodic"),
        (lambda lab: equation_of_state("Cu", lab=lab, **EMT), StructureError, r"ase\.Atoms"),
        (lambda lab: convergence_test(bulk("Cu"), over={}, lab=lab, **EMT), ParameterError, "one parameter"),
        (
            lambda lab: temperature_ramp(bulk("Cu"), temperatures=[], steps=1, lab=lab, **EMT),
            ParameterError,
            "at least",
        ),
        (
            lambda lab: temperature_ramp(bulk("Cu"), temperatures=[300, -5], steps=1, lab=lab, **EMT),
            ParameterError,
            "-5",
        ),
    ],
)
def test_a_workflow_without_sense_is_refused_whole(lab: Lab, call, error: type[Exception], says: str) -> None:
    before = lab.services.store.count()
    with pytest.raises(error, match=says):
        call(lab)
    assert lab.services.store.count() == before
