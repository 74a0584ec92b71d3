"""The mock engine: a sensible run, and failures to order."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from nanoos_lab.core.errors import EngineError, ParameterError, UnknownNameError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.request import JobRequest
from nanoos_lab.core.status import Reason
from nanoos_lab.core.structures import Structure
from nanoos_lab.core.units import THERMO_COLUMNS
from nanoos_lab.engines.mock import MockEngine
from tests.engines.context import RecordingContext
from tests.waiting import quickest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nanoos_lab.core.frames import Results

COPPER = bulk("Cu", cubic=True) * (3, 3, 3)


@pytest.fixture
def context(tmp_path: Path) -> RecordingContext:
    return RecordingContext(workdir=tmp_path)


@pytest.fixture
def run(context: RecordingContext) -> Callable[..., Results]:
    def run(task: str, atoms: Atoms = COPPER, **parameters: Any) -> Results:
        return MockEngine().run(request(task, atoms, **parameters), context)

    return run


def request(task: str, atoms: Atoms = COPPER, **parameters: Any) -> JobRequest:
    engine = MockEngine()
    given = validate(engine.tasks[task], parameters, where=f"engine 'mock', task {task!r}")
    plain = given.model_dump(mode="json")
    return JobRequest(structure=Structure.encode(atoms), engine="mock", task=task, parameters=plain)


def test_md_has_a_sample_at_step_0_and_at_every_multiple_of_every(context, run):
    run("md", steps=10, every=4, temperature=300)
    assert context.steps == [0, 4, 8]
    assert context.columns == list(THERMO_COLUMNS)
    assert context.head.total == 10
    assert [sample.frame.time for sample in context.samples] == [0.0, 4.0, 8.0]


def test_md_starts_where_the_structure_is_and_ends_where_its_result_is(context, run):
    results = run("md", steps=10, every=5, temperature=300)
    np.testing.assert_array_equal(context.samples[0].frame.positions, COPPER.positions)
    final, last = results.structure.atoms(), context.samples[-1].frame
    np.testing.assert_array_equal(final.positions, last.positions)
    np.testing.assert_allclose(final.get_velocities() * units.fs, last.velocities, rtol=1e-12)


def test_frame_velocities_are_the_derivative_of_the_positions(context, run):
    run("md", steps=2000, every=1, timestep=0.01, temperature=300)
    before, here, after = (context.samples[i].frame for i in (999, 1000, 1001))
    difference = (after.positions - before.positions) / (after.time - before.time)
    np.testing.assert_allclose(here.velocities, difference, atol=1e-9)


def test_nve_conserves_the_total_energy(context, run):
    run("md", steps=200, every=1, temperature=300)
    total = context.series("total_energy")
    np.testing.assert_allclose(total, total[0], rtol=1e-12)
    np.testing.assert_allclose(context.series("potential_energy") + context.series("kinetic_energy"), total)


def test_nve_from_a_perfect_lattice_settles_at_half_the_temperature_as_equipartition_says(context, run):
    run("md", atoms=bulk("Cu", cubic=True) * (8, 8, 8), steps=4000, every=20, temperature=600)
    temperature = context.series("temperature")
    assert temperature[0] == pytest.approx(600, rel=0.05)
    assert temperature[50:].mean() == pytest.approx(300, rel=0.05)


def test_nvt_keeps_the_temperature_and_follows_a_ramp(context, run):
    run("md", steps=4000, every=20, ensemble="nvt", temperature=300, temperature_end=900)
    temperature = context.series("temperature")
    assert temperature[:30].mean() == pytest.approx(300, rel=0.25)
    assert temperature[-30:].mean() == pytest.approx(900, rel=0.25)


def test_pressure_is_that_of_an_ideal_gas_in_gigapascal(context, run):
    run("md", steps=0, temperature=300)
    kinetic, volume = context.series("kinetic_energy")[0], context.series("volume")[0]
    assert volume == pytest.approx(COPPER.get_volume())
    assert context.series("pressure")[0] == pytest.approx(2 / 3 * kinetic / volume * 160.21766, rel=1e-6)


def test_a_cluster_has_no_volume_and_no_pressure(context, run):
    run("md", atoms=Atoms("Cu2", positions=[[0, 0, 0], [2.2, 0, 0]]), steps=0, temperature=300)
    assert np.isnan(context.series("volume")).all()
    assert np.isnan(context.series("pressure")).all()


def test_momenta_of_the_structure_are_kept(context, run):
    atoms = COPPER.copy()
    atoms.set_momenta(np.full((len(atoms), 3), 2.0))
    run("md", atoms=atoms, steps=0, temperature=300)
    np.testing.assert_allclose(context.samples[0].frame.velocities, atoms.get_velocities() * units.fs)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path):
    def last(seed: int) -> np.ndarray:
        context = RecordingContext(workdir=tmp_path)
        MockEngine().run(request("md", steps=50, every=50, temperature=300, seed=seed), context)
        return context.samples[-1].frame.positions

    np.testing.assert_array_equal(last(1), last(1))
    assert not np.allclose(last(1), last(2))


def test_relax_ends_at_the_first_step_whose_forces_are_small_enough(context, run):
    results = run("relax", fmax=0.01, every=3)
    assert results.properties["fmax"] <= 0.01
    fmax = context.series("fmax")
    assert fmax[-1] == results.properties["fmax"]
    assert (fmax[:-1] > 0.01).all()
    assert context.steps == [*range(0, results.properties["steps"], 3), results.properties["steps"]]
    assert (np.diff(context.series("potential_energy")) < 0).all()
    np.testing.assert_array_equal(results.structure.atoms().positions, context.samples[-1].frame.positions)


def test_relax_with_too_few_steps_fails_and_says_what_to_do(run):
    with pytest.raises(EngineError, match="after 2 steps") as caught:
        run("relax", fmax=1e-6, steps=2)
    assert caught.value.reason is Reason.CONVERGENCE
    assert "more steps" in caught.value.remedy


def test_static_gives_energy_and_forces(context, run):
    results = run("static")
    assert results.properties["energy"] == context.series("potential_energy")[0] == -3.5 * len(COPPER)
    assert results.properties["forces"].shape == (len(COPPER), 3)
    assert results.structure == Structure.encode(COPPER)


@pytest.mark.parametrize("task", ["static", "relax", "md"])
def test_a_run_lasts_as_long_as_asked(tmp_path, task):
    def seconds() -> float:
        context = RecordingContext(workdir=tmp_path)
        wanted = request(task, duration=0.3, **({"steps": 10, "every": 1} if task == "md" else {}))
        begin = time.monotonic()
        MockEngine().run(wanted, context)
        return time.monotonic() - begin

    assert 0.3 <= quickest(seconds, limit=0.45) < 0.45


@pytest.mark.parametrize("task", ["static", "relax", "md"])
def test_a_stop_ends_a_long_run_at_once(context, run, task):
    threading.Timer(0.1, context.ask_to_stop).start()
    begin = time.monotonic()
    results = run(task, duration=600, **({"steps": 10} if task == "md" else {}))
    assert results.stopped
    assert time.monotonic() - begin < 60


def test_those_who_watch_see_the_atoms_move_between_samples(context, run):
    context.watched, context.stop_after_live = True, 3
    run("md", steps=10**6, every=10**6, duration=600, temperature=300)
    between = [sample.step for sample in context.live_samples]
    assert between == sorted(set(between))
    assert 0 < between[0] < between[-1] < 10**6
    assert context.steps == [0]


@pytest.mark.parametrize("task", ["static", "relax", "md"])
def test_it_fails_where_and_why_it_is_told_to(context, run, task):
    with pytest.raises(EngineError, match="step 1") as caught:
        run(task, fail_at=1, fail_reason="memory", **({"steps": 10, "every": 1} if task == "md" else {}))
    assert caught.value.reason is Reason.MEMORY
    assert context.steps in ([], [0])


def test_it_can_fail_before_its_first_sample(context, run):
    with pytest.raises(EngineError):
        run("md", steps=0, fail_at=0)
    assert context.samples == []


def test_it_can_fail_by_a_programming_error(run):
    with pytest.raises(RuntimeError, match="bug"):
        run("md", steps=5, fail_at=3, fail_by="bug")


def test_output_goes_to_the_log_and_to_a_file(context, run):
    run("static", output="Grüße")
    assert context.logged == ["Grüße"]
    assert (context.workdir / "mock.out").read_text(encoding="utf-8") == "Grüße"


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"steps": -1}, ParameterError),
        ({"steps": 1, "duration": -1}, ParameterError),
        ({"steps": 1, "fail_reason": "boredom"}, ParameterError),
        ({"steps": 1, "temprature": 300}, UnknownNameError),
    ],
)
def test_wrong_parameters_are_refused(parameters, error):
    with pytest.raises(error):
        request("md", **parameters)


CRASH = """
import pathlib, sys
from tests.engines.context import RecordingContext
from tests.engines.test_mock import request
from nanoos_lab.engines.mock import MockEngine
context = RecordingContext(workdir=pathlib.Path(sys.argv[1]))
MockEngine().run(request("md", steps=5, fail_at=3, fail_by="crash"), context)
"""

IMPORTS = """
import sys
from nanoos_lab.engines.mock import MockEngine
early = {name.partition(".")[0] for name in sys.modules} & {"ase", "scipy", "pandas"}
MockEngine().preload()
late = {name.partition(".")[0] for name in sys.modules} & {"scipy", "pandas", "sqlalchemy", "rq"}
print(sorted(early | late))
"""


def test_it_can_kill_its_own_process(tmp_path, pytestconfig):
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(tmp_path)], cwd=pytestconfig.rootpath, check=False, timeout=60
    )
    assert done.returncode == -9


def test_it_needs_nothing_but_numpy_and_atoms():
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
