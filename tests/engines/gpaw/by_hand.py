"""GPAW itself; not part of the suite, for it is compiled. By hand: ``pytest tests/engines/gpaw/by_hand.py``.

Silicon in PBE: 5.47 Å and 89 GPa (P. Haas, F. Tran, P. Blaha, Phys. Rev. B 79, 085104, 2009). The bond of H₂ in PBE:
0.75 Å.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.eos import EquationOfState

from nanoos_lab.core.errors import EngineError, StructureError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import registry
from nanoos_lab.engines.ase import cancelling
from tests.engines.ase.running import energy_of_recipe, requested
from tests.engines.ase.running import run as run_any
from tests.engines.context import RecordingContext
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore")
CHEAP = {"ecut": 300, "kpoints": (4, 4, 4)}


def run(directory: Path, atoms: Atoms, task: str = "static", **parameters):
    return run_any(RecordingContext(workdir=directory), atoms, task, engine="gpaw", xc="PBE", **parameters)


def test_it_is_found():
    assert registry.get("gpaw").probe().found


def test_silicon(tmp_path):
    volumes, energies = [], []
    for length in np.linspace(5.4, 5.55, 5):
        atoms = bulk("Si", a=length)
        volumes.append(atoms.get_volume())
        energies.append(run(tmp_path, atoms, ecut=300, kpoints=(5, 5, 5)).properties["energy"])
    volume, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    assert (4 * volume) ** (1 / 3) == pytest.approx(5.47, abs=0.015)
    assert modulus / units.GPa == pytest.approx(89, abs=3)


def test_stress_is_the_slope_of_the_energy(tmp_path):
    """Within what a basis of 500 eV leaves of the pressure of plane waves."""
    atoms, step, strict = bulk("Si", a=5.3), 2e-3, {"ecut": 500, "kpoints": (3, 3, 3)}
    found = run(tmp_path, atoms, **strict).properties["stress"][:3].sum()
    energies = []
    for sign in (-1, 1):
        other = atoms.copy()
        other.set_cell(atoms.cell * (1 + sign * step), scale_atoms=True)
        energies.append(run(tmp_path, other, **strict).properties["energy"])
    assert found == pytest.approx((energies[1] - energies[0]) / (2 * step) / atoms.get_volume(), rel=0.05)


def test_hydrogen_relaxes(tmp_path):
    atoms = molecule("H2")
    atoms.center(vacuum=2.5)
    results = run(tmp_path, atoms, "relax", ecut=400, fmax=0.03, smearing=0)
    assert results.structure.atoms().get_distance(0, 1) == pytest.approx(0.75, abs=0.01)
    assert (tmp_path / "gpaw-0.txt").read_text().count("Force computation time") > 1


@pytest.mark.parametrize(("task", "parameters"), [("static", {}), ("relax", {"fmax": 0.1})])
def test_its_recipe_gives_the_same_numbers_without_us(tmp_path, task, parameters):
    atoms = molecule("H2")
    atoms.center(vacuum=2.5)
    given = {"ecut": 300, "smearing": 0, **parameters}
    expected = run(tmp_path, atoms, task, **given).properties["energy"]
    energy = energy_of_recipe(tmp_path / "again", requested(atoms, task, engine="gpaw", xc="PBE", **given))
    assert energy == pytest.approx(expected, abs=1e-6)


def test_crystals_that_lose_their_symmetry_go_on(tmp_path):
    """GPAW refuses positions that break the symmetry which it has found at first."""
    moving = {"steps": 3, "every": 1, "temperature": 600, "timestep": 1.0}
    results = run(tmp_path, bulk("Si"), "md", ecut=200, kpoints=(2, 2, 2), **moving)
    assert np.abs(results.properties["forces"]).max() > 0.01
    results = run(tmp_path, bulk("Si", a=5.47), "phonons", ecut=300, kpoints=(4, 4, 4), supercell=1)
    # 15.5 THz by experiment.
    assert results.properties["frequencies"][-1] == pytest.approx(15.3, abs=0.6)


def test_electrons_that_do_not_become_self_consistent_are_mixed_less(tmp_path):
    with pytest.raises(EngineError, match="did not become self-consistent") as caught:
        run(tmp_path, bulk("Al"), scf_iterations=2, **CHEAP)
    assert caught.value.reason is Reason.CONVERGENCE
    assert caught.value.correction is not None
    assert caught.value.correction.changes == {"mixing": 0.05}


def test_an_element_without_a_data_set_is_refused(tmp_path):
    with pytest.raises(StructureError, match=r"no PAW data set for Pu in .*gpaw_data/setups"):
        run(tmp_path, bulk("Pu", "fcc", a=4.6))


def test_a_cancel_ends_it_between_two_iterations(tmp_path, monkeypatch):
    """Of a static calculation too, which has no steps at which it would look."""
    monkeypatch.setattr(cancelling, "_WAIT", 0.1)
    context = RecordingContext(workdir=tmp_path)
    log = tmp_path / "gpaw-0.txt"

    def cancel():
        until(lambda: log.exists() and "iter:" in log.read_text())
        context.ask_to_stop()

    asking = threading.Thread(target=cancel)
    asking.start()
    results = run_any(context, bulk("Al") * (2, 2, 2), "static", engine="gpaw", xc="PBE", ecut=500, kpoints=(8, 8, 8))
    asking.join()
    assert results.stopped
    assert "Free energy:" not in log.read_text()
