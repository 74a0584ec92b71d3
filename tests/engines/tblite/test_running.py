"""How runs of tblite begin, go on, end and fail."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from nanoos_lab.core.errors import EngineError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.core.request import JobRequest
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import registry
from nanoos_lab.engines.tblite.failures import mix_less
from tests.engines.ase.running import run as run_any
from tests.engines.attempts import Job, at_checkpoint, at_sample
from tests.engines.context import RecordingContext

if TYPE_CHECKING:
    from nanoos_lab.core.frames import Results


def run(context: RecordingContext, atoms: Atoms, task: str, **parameters) -> Results:
    return run_any(context, atoms, task, engine="tblite", **{"method": "GFN2-xTB", **parameters})


def test_it_says_which_tblite_it_found():
    info = registry.get("tblite").probe()
    assert info.found
    assert info.version == version("tblite")
    assert info.tasks == ("static", "relax", "md", "neb", "phonons")


def test_it_says_what_to_cite():
    request = JobRequest(structure=None, engine="tblite", task="static", parameters={"method": "GFN1-xTB"})
    found = registry.get("tblite").citations(request, {})
    assert "Shushkov" in found["GFN1-xTB"]
    assert "Larsen" in found["ase"]


def test_where_it_is_missing_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(type(registry.get("tblite")), "package", "tblite-of-another-computer")
    info = registry.get("tblite").probe()
    assert not info.found
    assert info.missing == "tblite is not installed: pip install 'nanoos-lab[tblite]'"
    registry.get("tblite").preload()


def test_preloading_starts_no_thread():
    script = (
        "import os, sys\n"
        "from nanoos_lab.engines.tblite import TbliteEngine\n"
        "assert 'tblite' not in sys.modules and 'ase' not in sys.modules\n"
        "TbliteEngine().preload()\n"
        "assert 'tblite.interface' in sys.modules\n"
        "assert len(os.listdir('/proc/self/task')) == 1\n"
    )
    environment = {"OMP_NUM_THREADS": "1", "PATH": ""}
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env=environment)


def test_molecular_dynamics_conserves_energy(context):
    start = molecule("CH3OH")
    start.rattle(0.05, seed=1)
    run(context, start, "md", steps=100, timestep=0.5, every=5, temperature=300)
    total = context.series("total_energy")
    assert np.ptp(total) < 0.02 * np.ptp(context.series("kinetic_energy")) + 1e-3
    assert np.ptp(context.series("kinetic_energy")) > 0.1


def test_a_reaction_path_has_a_barrier(context):
    """Ammonia turns inside out: 0.25 eV by experiment; planar at the top by symmetry."""
    first = run(RecordingContext(workdir=context.workdir), molecule("NH3"), "relax", fmax=0.005).structure.atoms()
    last = first.copy()
    last.positions[:, 2] *= -1
    last.positions[:, 2] += first.positions[0, 2] + first.positions[0, 2]
    last.positions[:, 2] -= last.positions[0, 2] - first.positions[0, 2]
    results = run(context, first, "neb", final=last, images=3, fmax=0.03)
    assert results.properties["reaction_energy"] == pytest.approx(0, abs=1e-3)
    assert 0.1 < results.properties["barrier"] < 0.5
    top = results.structure.atoms()
    assert abs(np.ptp(top.positions[:, 2])) < 0.03


# -- input that cannot work -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("atoms", "parameters", "field"),
    [
        (molecule("H2O"), {"multiplicity": 2}, "multiplicity"),
        (molecule("CH3"), {"multiplicity": 1}, "multiplicity"),
        (molecule("H2O"), {"charge": 1, "multiplicity": 1}, "multiplicity"),
        (molecule("H2O"), {"charge": 0.5}, "charge"),
        (molecule("H2O"), {"accuracy": 0}, "accuracy"),
        (molecule("H2O"), {"electronic_temperature": -1}, "electronic_temperature"),
        (molecule("H2O"), {"mixer_damping": 2}, "mixer_damping"),
        (molecule("H2O"), {"method": "GFN3-xTB"}, "method"),
    ],
)
def test_values_that_cannot_be_are_refused(context, atoms, parameters, field):
    with pytest.raises(ParameterError) as caught:
        run(context, atoms, "static", **parameters)
    assert caught.value.field == field


def test_an_odd_number_of_electrons_is_explained(context):
    atoms = molecule("CH3")
    with pytest.raises(ParameterError, match=r"CH3 with charge \+0 has an odd number .* even number, such as 2"):
        run(context, atoms, "static", multiplicity=3)


def test_a_radical_is_a_doublet_unless_told_otherwise(context):
    atoms = molecule("CH3")
    atoms.set_initial_magnetic_moments(None)
    alone = run(context, atoms, "static").properties["energy"]
    doublet = run(RecordingContext(workdir=context.workdir), atoms, "static", multiplicity=2).properties["energy"]
    assert alone == pytest.approx(doublet)


def test_lanthanides_count_three_electrons(context):
    """Cerium has 58, an even number, but its f electrons are part of the core."""
    atoms = Atoms("CeF3", positions=[[0, 0, 0], [2.1, 0, 0], [-1.05, 1.82, 0], [-1.05, -1.82, 0]])
    assert np.isfinite(run(context, atoms, "static", multiplicity=1, method="GFN1-xTB").properties["energy"])
    with pytest.raises(ParameterError):
        run(context, atoms, "static", multiplicity=2)


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (Atoms("U"), "hydrogen to radon, not for element number 92"),
        (fcc111("Cu", (1, 1, 2), vacuum=5), "pbc must be all False or all True"),
    ],
)
def test_structures_that_it_does_not_know_are_refused(context, atoms, words):
    with pytest.raises(StructureError, match=words):
        run(context, atoms, "static")


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("initial_charges", [0.3, 0, 0], "add up to 0.3 e"),
        ("initial_magmoms", [1.0, 0, 0], "add up to 1 unpaired electrons"),
    ],
)
def test_charges_and_moments_of_the_structure_must_make_sense(context, name, values, words):
    atoms = molecule("H2O")
    atoms.set_array(name, np.array(values))
    with pytest.raises(StructureError, match=words):
        run(context, atoms, "static")


def test_a_molecule_has_no_cell_to_relax(context):
    with pytest.raises(StructureError, match="periodic in all directions"):
        run(context, molecule("H2O"), "relax", cell="free")


def test_a_misspelt_parameter_is_told_with_the_nearest(context):
    with pytest.raises(UnknownNameError) as caught:
        run(context, molecule("H2O"), "static", multiplicty=1)
    assert caught.value.nearest == "multiplicity"


def test_threads_are_used(tmp_path):
    """In a process of its own: threads of OpenMP stay."""
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from ase.build import molecule\n"
        "from nanoos_lab.core.resources import Resources\n"
        "from tests.engines.ase.running import run\n"
        "from tests.engines.context import RecordingContext\n"
        "context = RecordingContext(workdir=Path(sys.argv[1]), resources=Resources(threads=3))\n"
        "run(context, molecule('C6H6'), 'static', engine='tblite', method='GFN2-xTB')\n"
        "print(len(os.listdir('/proc/self/task')))\n"
    )
    environment = {"OMP_NUM_THREADS": "1", "PATH": "", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, check=True, timeout=60, env=environment, capture_output=True, text=True)
    assert int(done.stdout.splitlines()[-1]) == 3


# -- failures ---------------------------------------------------------------------------------------------------------


def test_electrons_that_do_not_become_self_consistent_are_mixed_less(context):
    with pytest.raises(EngineError, match=r"tblite says: .*SCF not converged in 3 cycles") as caught:
        run(context, molecule("C6H6"), "static", scf_iterations=3)
    assert caught.value.reason is Reason.CONVERGENCE
    assert caught.value.correction is not None
    assert caught.value.correction.changes == {"mixer_damping": 0.2, "scf_iterations": 250}
    changes = caught.value.correction.changes
    results = run(RecordingContext(workdir=context.workdir), molecule("C6H6"), "static", **changes)
    usual = run(RecordingContext(workdir=context.workdir), molecule("C6H6"), "static")
    assert results.properties["energy"] == pytest.approx(usual.properties["energy"], abs=1e-4)


def test_a_correction_is_tried_until_it_cannot_help():
    parameters = {"mixer_damping": 0.4, "scf_iterations": 250}
    tried = []
    while (correction := mix_less(parameters)) is not None:
        parameters |= correction.changes
        tried.append(tuple(correction.changes.values()))
    assert tried == [(0.2, 500), (0.1, 1000), (0.05, 2000)]


def test_electrons_that_fail_in_the_midst_of_a_run_are_corrected_too(context):
    start = molecule("C6H6")
    with pytest.raises(EngineError) as caught:
        run(context, start, "relax", scf_iterations=2)
    assert caught.value.correction is not None


def test_a_cancel_ends_it(tmp_path):
    context = RecordingContext(workdir=tmp_path, stop_after_samples=3)
    results = run(context, molecule("CH3OH"), "md", steps=10_000, every=1, temperature=300)
    assert results.stopped
    assert context.steps == [0, 1, 2]


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [at_checkpoint(1), at_sample(70)])
@pytest.mark.parametrize("atoms", [molecule("H2O"), bulk("Ar", cubic=True, a=5.2)], ids=["molecule", "crystal"])
def test_an_interrupted_run_is_the_uninterrupted_one(tmp_path: Path, trouble, atoms):
    parameters = {
        "steps": 120,
        "every": 10,
        "temperature": 300,
        "timestep": 0.5,
        "ensemble": "nvt",
        "method": "GFN1-xTB",
    }

    def job(name: str) -> Job:
        return Job(tmp_path / name, "tblite", "md", atoms, grid=50, **parameters)

    whole = job("whole")
    straight = whole.attempt()
    broken = job("broken")
    broken.attempt(trouble)
    last = broken.attempt()
    assert (straight.end, last.end) == ("done", "done")
    assert last.first >= 50
    # A soft stop begins the electrons anew off the grid, which shows within their own accuracy.
    tolerance = 0.0 if trouble.what == "kill" else 1e-3
    np.testing.assert_allclose(broken.thermo.values, whole.thermo.values, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(last.atoms.positions, straight.atoms.positions, atol=tolerance)
