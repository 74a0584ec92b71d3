"""CHGNet itself. A stage of its own in CI, for torch is large: ``pytest tests/engines/chgnet/on_cpu.py``.

Lattice constants and bulk moduli are those of its training data, PBE: silicon 5.47 Å and 89 GPa, copper 3.63 Å and
137 GPa, sodium chloride 5.70 Å and 24 GPa (the model is softer than what it has learnt for silicon).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.eos import EquationOfState

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.resources import Resources
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import registry
from tests.correctness import calculators_by_hand
from tests.correctness.table import table_of
from tests.engines.ase.running import energy_of_recipe, requested
from tests.engines.ase.running import run as run_any
from tests.engines.attempts import Job, at_checkpoint
from tests.engines.context import RecordingContext

pytestmark = pytest.mark.filterwarnings("ignore")
CRYSTALS = {
    "silicon": (bulk("Si", a=5.47), 5.471, 72),
    "copper": (bulk("Cu", a=3.62), 3.616, 143),
    "salt": (bulk("NaCl", "rocksalt", a=5.69), 5.691, 24.5),
}


def run(directory: Path, atoms: Atoms, task: str = "static", *, resources: Resources | None = None, **parameters):
    context = RecordingContext(workdir=directory, resources=resources or Resources())
    return run_any(context, atoms, task, engine="chgnet", **{"model": "0.3.0", **parameters})


def python(script: str, *arguments: object, **environment: str) -> list[str]:
    """Run a script in a Python of its own, where nothing has touched a device yet; return the lines that it prints."""
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    path = os.pathsep.join([str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])])
    more = {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, **environment}
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=170, env={**os.environ, **more})
    return done.stdout.splitlines()


def test_it_is_found():
    assert registry.get("chgnet").probe().found


@pytest.mark.parametrize("name", CRYSTALS)
def test_lattice_constant_and_bulk_modulus(tmp_path, name):
    atoms, length, modulus = CRYSTALS[name]
    volumes, energies = [], []
    for scale in np.linspace(0.97, 1.03, 7):
        cell = atoms.copy()
        cell.set_cell(atoms.cell * scale, scale_atoms=True)
        volumes.append(cell.get_volume())
        energies.append(run(tmp_path, cell).properties["energy"])
    volume, _, stiffness = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    assert (4 * volume) ** (1 / 3) == pytest.approx(length, abs=0.005)
    assert stiffness / units.GPa == pytest.approx(modulus, rel=0.05)


def test_a_free_cell_relaxes_to_the_same(tmp_path):
    results = run(tmp_path, bulk("Cu", a=3.7), "relax", cell="free", fmax=0.002)
    assert results.structure.atoms().cell.volume * 4 == pytest.approx(3.616**3, rel=0.003)
    assert abs(results.properties["stress"]).max() / units.GPa < 0.1
    assert results.properties["magmoms"].shape == (1,)
    assert results.provenance["model"] == "0.3.0"


def test_forces_and_stress_are_the_slopes_of_the_energy(tmp_path):
    """Of single precision."""
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.rattle(0.1, seed=1)
    found, step = run(tmp_path, atoms).properties, 0.01
    energies = []
    for sign in (-1, 1):
        moved = atoms.copy()
        moved.positions[0, 0] += sign * step
        energies.append(run(tmp_path, moved).properties["energy"])
    assert found["forces"][0, 0] == pytest.approx(-(energies[1] - energies[0]) / (2 * step), abs=0.01)
    energies = []
    for sign in (-1, 1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell * (1 + sign * step), scale_atoms=True)
        energies.append(run(tmp_path, strained).properties["energy"])
    slope = (energies[1] - energies[0]) / (2 * step) / atoms.get_volume()
    assert found["stress"][:3].sum() == pytest.approx(slope, rel=0.05)


def test_an_atom_alone_is_refused_with_the_reason(tmp_path):
    with pytest.raises(EngineError, match="no neighbour within 6 Å") as caught:
        run(tmp_path, Atoms("Cu", cell=[20, 20, 20], pbc=True))
    assert caught.value.reason is Reason.INPUT


@pytest.mark.parametrize(
    ("task", "parameters"),
    [
        ("static", {"model": "r2scan"}),
        ("md", {"ensemble": "nvt", "thermostat": "langevin", "temperature": 600, "steps": 10, "every": 5}),
    ],
)
def test_its_recipe_gives_the_same_numbers_without_us(tmp_path, task, parameters):
    crystal = bulk("NaCl", "rocksalt", a=5.69, cubic=True)
    crystal.rattle(0.05, seed=1)
    expected = run(tmp_path, crystal, task, **parameters).properties["energy"]
    request = requested(crystal, task, engine="chgnet", **{"model": "0.3.0", **parameters})
    energy = energy_of_recipe(tmp_path / "again", request)
    assert energy == pytest.approx(expected, rel=1e-6)


ASKS_FOR_A_GPU = """
import sys
from pathlib import Path
from ase.build import bulk
from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.resources import Resources
from tests.engines.chgnet.on_cpu import run
run(Path(sys.argv[1]), bulk("Cu"))
import torch
assert not torch.cuda.is_initialized()
{before}
try:
    run(Path(sys.argv[1]), bulk("Cu") * (4, 4, 4), resources=Resources(gpus=1))
except EngineError as error:
    print("failed:", error.reason, error.message)
"""


@pytest.mark.parametrize("shown", ["", "-1", "99"])
def test_where_no_graphics_processor_is_shown_a_job_that_asks_for_one_is_told(tmp_path, shown):
    (line,) = (
        line
        for line in python(ASKS_FOR_A_GPU.format(before=""), tmp_path, CUDA_VISIBLE_DEVICES=shown)
        if line.startswith("failed:")
    )
    assert line.startswith(f"failed: {Reason.RESOURCE}")
    assert "no graphics processor that torch could use" in line


def test_the_weights_are_those_that_were_asked_for(tmp_path):
    energies = {model: run(tmp_path, bulk("Si"), model=model).properties["energy"] for model in ("0.3.0", "r2scan")}
    assert energies["0.3.0"] != pytest.approx(energies["r2scan"], abs=0.1)


def test_a_vacancy_hops(tmp_path):
    """0.7 eV by experiment in bulk copper; in so small a cell, what the band and its middle say must agree."""
    first = bulk("Cu", cubic=True, a=3.616) * (2, 2, 2)
    neighbour = int(np.argsort(first.get_distances(0, range(32), mic=True))[1])
    place = first.positions[0].copy()
    del first[0]
    first = run(tmp_path, first, "relax", fmax=0.01).structure.atoms()
    last = first.copy()
    last.positions[neighbour - 1] = place
    last = run(tmp_path, last, "relax", fmax=0.01).structure.atoms()
    results = run(tmp_path, first, "neb", final=last, images=3, fmax=0.05)
    assert 0.3 < results.properties["barrier"] < 1.2
    assert results.properties["reaction_energy"] == pytest.approx(0, abs=0.02)


def test_phonons_of_silicon(tmp_path):
    """Softer than those of its training data, whose optical mode is at 15.3 THz."""
    results = run(tmp_path, bulk("Si", a=5.471), "phonons", supercell=3)
    modes = results.properties["frequencies"]
    assert abs(modes[:3]).max() < 0.1
    assert modes[3:] == pytest.approx([np.mean(modes[3:])] * 3, abs=0.05)
    assert 12 < modes[-1] < 15.3


def test_an_interrupted_run_is_the_uninterrupted_one(tmp_path):
    parameters = {"steps": 80, "every": 10, "temperature": 300, "ensemble": "nvt"}
    atoms = bulk("Cu", cubic=True, a=3.616)
    whole = Job(tmp_path / "whole", "chgnet", "md", atoms, grid=50, model="0.3.0", **parameters)
    straight = whole.attempt()
    broken = Job(tmp_path / "broken", "chgnet", "md", atoms, grid=50, model="0.3.0", **parameters)
    broken.attempt(at_checkpoint(1))
    last = broken.attempt()
    assert (straight.end, last.end, last.first) == ("done", "done", 50)
    np.testing.assert_allclose(broken.thermo.values, whole.thermo.values, rtol=1e-4, atol=1e-4)


FORKS_WITH_THE_MODEL = """
import os, sys
from pathlib import Path
from ase.build import bulk
from nanoos_lab.core.resources import Resources
from nanoos_lab.engines import registry
from tests.engines.chgnet.on_cpu import run
registry.get("chgnet").preload()
import torch
assert not torch.cuda.is_initialized()
assert len(os.listdir("/proc/self/task")) == 1
for _ in range(3):
    if os.fork() == 0:
        resources = Resources(gpus=int(sys.argv[2]))
        print(run(Path(sys.argv[1]), bulk("Si"), resources=resources).properties["energy"], flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


def energies_of_forks(directory: Path, gpus: int) -> list[float]:
    lines = python(FORKS_WITH_THE_MODEL, directory, gpus, NANOOS_PRELOAD="chgnet")
    return [float(line) for line in lines if line.startswith("-")]


def test_a_model_that_was_loaded_before_a_fork_gives_the_same_and_starts_no_thread(tmp_path):
    expected = run(tmp_path, bulk("Si")).properties["energy"]
    assert energies_of_forks(tmp_path, 0) == pytest.approx([expected] * 3, rel=1e-6)


def test_in_a_lab_the_worker_loads_the_model_once_and_its_jobs_begin_with_it(own_lab, monkeypatch):
    monkeypatch.delenv("NANOOS_PRELOAD", raising=False)
    how = {"engine": "chgnet", "model": "0.3.0", "task": "static", "cache": False}
    jobs = [own_lab.submit(crystal, **how) for crystal, _, _ in CRYSTALS.values()]
    energies = [job.result(120)["energy"] for job in jobs]
    assert energies[0] == pytest.approx(-5.3 * 2, rel=0.02)
    # To import torch and CHGNet alone takes a run ten seconds and more.
    cpu = [job.attempts[-1].cpu for job in jobs]
    print(f"CPU of the jobs: {cpu} s")
    assert max(cpu) < 3.0


def test_it_says_what_its_own_interface_says(own_lab):
    quantities = calculators_by_hand.chgnet(own_lab)()
    wrong = [one for one in quantities if not one.agrees]
    assert len(quantities) == 44
    assert not wrong, table_of(wrong)
