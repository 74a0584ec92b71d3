"""Engines over a calculator through the whole house: submitted, corrected, chained into a reaction path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import molecule

from nanoos_lab.core.errors import JobFailedError, ParameterError, StructureError
from nanoos_lab.core.status import Reason

if TYPE_CHECKING:
    from ase import Atoms

    from nanoos_lab.lab.lab import Lab

XTB = {"engine": "tblite", "method": "GFN2-xTB"}


def turned(atoms: Atoms) -> Atoms:
    """Return ammonia turned inside out."""
    other = atoms.copy()
    other.positions[:, 2] = 2 * atoms.positions[0, 2] - atoms.positions[:, 2]
    return other


def test_electrons_that_swing_are_corrected_by_another_attempt(lab: Lab) -> None:
    job = lab.submit(molecule("C6H6"), task="static", scf_iterations=3, **XTB).wait(60)
    assert [attempt.outcome for attempt in job.attempts] == ["corrected", "succeeded"]
    assert job.attempts[0].failure.reason is Reason.CONVERGENCE
    assert job.attempts[1].provenance["corrected"] == {"mixer_damping": 0.2, "scf_iterations": 250}
    usual = lab.submit(molecule("C6H6"), task="static", **XTB).wait(60)
    assert job.results["energy"] == pytest.approx(usual.results["energy"], abs=1e-4)


def test_without_corrections_they_fail_with_the_words_of_tblite(lab: Lab) -> None:
    job = lab.submit(molecule("C6H6"), task="static", scf_iterations=2, corrections=False, **XTB)
    with pytest.raises(JobFailedError, match="SCF not converged in 2 cycles") as caught:
        job.result(60)
    assert caught.value.reason is Reason.CONVERGENCE


def test_results_say_what_made_them(lab: Lab) -> None:
    job = lab.submit(molecule("H2O"), task="static", cache=False, **XTB).wait(60)
    provenance = job.attempts[-1].provenance
    assert provenance["engine"] == "tblite"
    assert provenance["method"] == "GFN2-xTB"
    assert "Bannwarth" in provenance["inputs"]["GFN2-xTB"]["citation"]


def test_a_path_leads_from_a_relaxed_structure_to_another(lab: Lab) -> None:
    """Ammonia turns inside out: 0.25 eV by experiment, and planar on top, by symmetry."""
    relaxed = lab.submit(molecule("NH3"), task="relax", fmax=0.005, **XTB).wait(60)
    path = {"task": "neb", "images": 3, "fmax": 0.03, **XTB}
    job = lab.submit(relaxed, final=turned(relaxed.structure), **path).wait(60)
    assert 0.1 < job.results["barrier"] < 0.5
    assert job.results.units["barrier"] == "eV"
    assert job.results["image_energies"].shape == (5,)
    assert job.results["image_positions"].shape == (5, 4, 3)
    assert np.ptp(job.structure.positions[:, 2]) < 0.03
    thermo = job.thermo
    assert thermo["barrier"].iloc[-1] == pytest.approx(job.results["barrier"])
    assert thermo.attrs["units"]["reaction_energy"] == "eV"
    assert len(job.trajectory) == job.results["steps"] + 1
    # The other end is part of what the results are of.
    again = lab.submit(relaxed, final=turned(relaxed.structure), **path).wait(60)
    assert again.cached_from == job.id
    away = turned(relaxed.structure)
    away.positions[:, 2] += 0.01
    assert lab.submit(relaxed, final=away, **path).wait(60).cached_from is None


@pytest.mark.parametrize(
    ("task", "parameters", "error"),
    [
        ("static", {"multiplicity": 2}, ParameterError),
        ("static", {"method": "GFN0"}, ParameterError),
        ("static", {"method": None}, ParameterError),
        ("neb", {"final": molecule("H2")}, StructureError),
        ("neb", {"final": "H2O.xyz"}, ParameterError),
        ("relax", {"cell": "free"}, StructureError),
    ],
)
def test_what_cannot_work_is_refused_before_it_is_queued(lab: Lab, task: str, parameters, error) -> None:
    before = len(lab.jobs())
    with pytest.raises(error):
        lab.submit(molecule("H2O"), task=task, **{**XTB, **parameters})
    assert len(lab.jobs()) == before
