"""CHGNet on a graphics processor. By hand, for CI has none: ``pytest tests/engines/chgnet/on_gpu.py``."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import bulk

from nanoos_lab.core.resources import Resources
from nanoos_lab.core.status import Reason
from tests.engines.ase.running import run as run_any
from tests.engines.chgnet.on_cpu import ASKS_FOR_A_GPU, CRYSTALS, energies_of_forks, python, run
from tests.engines.context import RecordingContext

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def on_gpu() -> Resources:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("torch finds no graphics processor")
    return Resources(gpus=1)


def test_where_a_graphics_processor_has_too_little_memory_a_job_is_told(tmp_path, on_gpu):
    script = ASKS_FOR_A_GPU.format(before="torch.cuda.set_per_process_memory_fraction(1e-4)")
    (line,) = (line for line in python(script, tmp_path) if line.startswith("failed:"))
    assert line.startswith(f"failed: {Reason.MEMORY}")


@pytest.mark.parametrize("name", CRYSTALS)
def test_a_graphics_processor_says_what_the_processor_says(tmp_path, on_gpu, name):
    atoms = CRYSTALS[name][0] * (3, 3, 3)
    atoms.rattle(0.1, seed=1)
    expected, found = (run(tmp_path, atoms, resources=where).properties for where in (None, on_gpu))
    assert found["energy"] == pytest.approx(expected["energy"], abs=1e-5 * len(atoms))
    np.testing.assert_allclose(found["forces"], expected["forces"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found["stress"] / units.GPa, expected["stress"] / units.GPa, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found["magmoms"], expected["magmoms"], rtol=0, atol=1e-4)


def test_a_graphics_processor_says_the_same_each_time(tmp_path, on_gpu):
    atoms = bulk("NaCl", "rocksalt", a=5.69, cubic=True) * (3, 3, 3)
    atoms.rattle(0.1, seed=1)
    first, *others = (run(tmp_path, atoms, resources=on_gpu).properties for _ in range(4))
    for other in others:
        np.testing.assert_array_equal(other["forces"], first["forces"])
        np.testing.assert_array_equal(other["stress"], first["stress"])


def test_energy_is_kept_on_a_graphics_processor(tmp_path, on_gpu):
    atoms = bulk("NaCl", "rocksalt", a=5.69, cubic=True) * (2, 2, 2)
    context = RecordingContext(workdir=tmp_path, resources=on_gpu)
    motion = {"ensemble": "nve", "temperature": 600, "timestep": 1.0, "steps": 100, "every": 5}
    run_any(context, atoms, "md", engine="chgnet", model="0.3.0", **motion)
    assert np.ptp(context.series("total_energy")) < 1e-4 * len(atoms)
    assert np.ptp(context.series("kinetic_energy")) > 1e-2 * len(atoms)


def test_a_model_that_was_loaded_before_a_fork_serves_a_graphics_processor_too(tmp_path, on_gpu):
    expected = run(tmp_path, bulk("Si")).properties["energy"]
    assert energies_of_forks(tmp_path, 1) == pytest.approx([expected] * 3, rel=1e-6)
