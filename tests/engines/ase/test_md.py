"""Molecular dynamics: the ensembles keep what they promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.constraints import FixAtoms, FixCom, FixConstraint

from nanoos_lab.core.errors import ParameterError, StructureError
from nanoos_lab.core.parameters import DEFAULT_SEED
from nanoos_lab.core.units import THERMO_COLUMNS
from tests.engines.ase.running import run
from tests.engines.context import RecordingContext

if TYPE_CHECKING:
    from nanoos_lab.core.frames import Results

DOUBLES = "tests.engines.ase.doubles"
SPRINGS = f"{DOUBLES}:Springs"
TRIMER = Atoms("CuAgAl", positions=[[0.3, 0, 0], [0, -0.4, 0.1], [0, 0.2, 0.5]])
THERMOSTATS = ("bussi", "langevin", "nose-hoover")


@pytest.fixture
def copper() -> Atoms:
    return bulk("Cu", cubic=True, a=3.61)


def md(context: RecordingContext, atoms: Atoms, **parameters: Any) -> Results:
    return run(context, atoms, "md", calculator="emt", **parameters)


def mean_and_error(series: np.ndarray) -> tuple[float, float]:
    """Return the mean and its standard error, from the scatter of 20 blocks."""
    blocks = np.array([block.mean() for block in np.array_split(series, 20)])
    return blocks.mean(), blocks.std(ddof=1) / np.sqrt(len(blocks))


def test_samples_frames_and_times_lie_on_the_grid(context, copper):
    results = md(context, copper, steps=10, every=4, timestep=2.0, temperature=300)
    assert context.head.total == 10
    assert context.columns == list(THERMO_COLUMNS)
    assert context.steps == [0, 4, 8]
    np.testing.assert_array_equal(context.series("time"), [0, 8, 16])
    assert [sample.frame.time for sample in context.samples] == [0, 8, 16]
    assert not results.stopped
    assert {"energy", "forces", "stress"} <= set(results.properties)
    assert results.provenance["seed"] == DEFAULT_SEED
    assert results.provenance["dynamics"] == "VelocityVerlet"


def test_no_steps_give_one_sample(context, copper):
    results = md(context, copper, steps=0)
    assert context.steps == [0]
    assert not results.stopped
    np.testing.assert_array_equal(results.structure.atoms().positions, copper.positions)


def test_the_final_structure_has_the_momenta_to_go_on_with(context, copper):
    results = md(context, copper, steps=5, every=5, temperature=300)
    final, last = results.structure.atoms(), context.samples[-1].frame
    np.testing.assert_array_equal(final.positions, last.positions)
    np.testing.assert_allclose(final.get_velocities() * units.fs, last.velocities, rtol=1e-12)


def test_frame_velocities_are_in_angstrom_per_femtosecond(context, copper):
    md(context, copper, steps=2, every=1, timestep=0.05, temperature=300)
    before, here, after = (sample.frame for sample in context.samples)
    slope = (after.positions - before.positions) / (after.time - before.time)
    np.testing.assert_allclose(here.velocities, slope, atol=1e-7)
    assert np.abs(here.velocities).max() == pytest.approx(0.004, abs=0.004)


def test_pressure_has_the_kinetic_part(context, copper):
    md(context, copper, steps=0, temperature=3000)
    hot = context.series("pressure")[0]
    cold = RecordingContext(workdir=context.workdir)
    md(cold, copper, steps=0)
    kinetic = context.series("kinetic_energy")[0] * 2 / 3 / copper.get_volume() / units.GPa
    assert hot - cold.series("pressure")[0] == pytest.approx(kinetic)


def test_initial_velocities_have_the_temperature_and_no_total_momentum(context):
    atoms = bulk("CuAu", "zincblende", a=6.0, cubic=True) * (8, 8, 8)
    results = run(context, atoms, "md", calculator=SPRINGS, steps=0, temperature=500)
    momenta = results.structure.atoms().get_momenta()
    np.testing.assert_allclose(momenta.sum(axis=0), 0, atol=1e-9)
    degrees = 3 * len(atoms) - 3
    spread = 500 * np.sqrt(2 / degrees)
    assert context.series("temperature")[0] == pytest.approx(500, abs=4 * spread)
    energies = (momenta**2).sum(axis=1) / 2 / atoms.get_masses()
    light, heavy = energies[atoms.numbers == 29].mean(), energies[atoms.numbers == 79].mean()
    assert light == pytest.approx(heavy, rel=0.1)


def test_velocities_of_the_structure_are_kept(context, copper):
    copper.set_momenta(np.arange(12.0).reshape(4, 3))
    md(context, copper, steps=0, temperature=300)
    velocities = context.samples[0].frame.velocities
    np.testing.assert_allclose(velocities, copper.get_velocities() * units.fs, rtol=1e-12)


def test_a_structure_at_rest_without_a_temperature_stays_at_rest(context):
    md(context, bulk("Cu", a=3.61), steps=3, every=1)
    np.testing.assert_allclose(context.series("kinetic_energy"), 0, atol=1e-20)


def test_the_same_seed_gives_the_same_run_and_another_seed_another(tmp_path, copper):
    def last(seed: int) -> np.ndarray:
        context = RecordingContext(workdir=tmp_path)
        options = {"ensemble": "nvt", "thermostat": "langevin", "temperature": 300, "seed": seed}
        md(context, copper, steps=10, every=10, **options)
        return context.samples[-1].frame.positions

    np.testing.assert_array_equal(last(1), last(1))
    assert not np.allclose(last(1), last(2))


def test_nve_conserves_the_total_energy_and_the_momentum(context):
    results = md(context, bulk("Cu", cubic=True) * (2, 2, 2), steps=200, every=2, temperature=1200, timestep=2.0)
    total = context.series("total_energy") / 32
    assert np.ptp(total) < 1e-3
    drift = np.polyfit(context.series("time"), total, 1)[0]
    assert abs(drift) < 1e-6
    np.testing.assert_allclose(results.structure.atoms().get_momenta().sum(axis=0), 0, atol=1e-6)


def test_nvt_has_the_temperature_within_its_statistical_error(context, copper):
    # Four atoms: a wrong count of degrees of freedom shows as an error of a third.
    md(context, copper, steps=1500, every=3, timestep=5.0, ensemble="nvt", temperature=500, tdamp=50.0)
    mean, error = mean_and_error(context.series("temperature")[50:])
    assert error < 33
    assert mean == pytest.approx(500, abs=5 * error)


@pytest.mark.parametrize("thermostat", THERMOSTATS)
def test_every_thermostat_has_the_energies_that_the_virial_theorem_says(context, thermostat):
    options = {"ensemble": "nvt", "temperature": 500, "thermostat": thermostat, "tdamp": 30.0, "timestep": 5.0}
    run(context, TRIMER, "md", calculator=f"{DOUBLES}:Bound", steps=2500, every=4, **options)
    # Half of k T for each degree of freedom of the motion, a quarter in a potential of fourth order.
    moving = 9 if thermostat == "langevin" else 6
    for column, expected in (("kinetic_energy", moving / 2), ("potential_energy", 6 / 4)):
        mean, error = mean_and_error(context.series(column)[50:] / (units.kB * 500))
        assert error < 0.15 * expected
        assert mean == pytest.approx(expected, abs=5 * error)


def test_npt_has_the_volume_of_an_ideal_gas(context):
    # At constant pressure N free atoms have the mean volume (N + 1) k T / P.
    gas = Atoms("Ar2", positions=[[1, 2, 3], [4, 5, 6]], cell=[10, 10, 10], pbc=True)
    options = {"temperature": 300, "pressure": 0.01, "tdamp": 40.0, "pdamp": 40.0, "timestep": 5.0}
    calculator = "ase.calculators.idealgas:IdealGas"
    run(context, gas, "md", calculator=calculator, ensemble="npt", steps=3000, every=3, **options)
    expected = {"volume": 3 * units.kB * 300 / (0.01 * units.GPa), "temperature": 300}
    for column, value in expected.items():
        mean, error = mean_and_error(context.series(column)[50:])
        assert error < 0.1 * value
        assert mean == pytest.approx(value, abs=5 * error)


def test_npt_brings_copper_to_the_pressure_and_keeps_the_shape_of_its_cell(context, copper):
    options = {"temperature": 300, "pressure": 8.0, "tdamp": 50.0, "pdamp": 300.0, "timestep": 5.0}
    md(context, copper, steps=400, every=2, ensemble="npt", **options)
    assert context.series("pressure")[50:].mean() == pytest.approx(8.0, abs=1.5)
    # 134 GPa of bulk modulus, which grows by 5 per GPa, take 5 %; 300 K give 1.5 % back.
    assert context.series("volume")[50:].mean() / 3.590**3 == pytest.approx(0.965, abs=0.015)
    cell = context.samples[-1].frame.cell
    np.testing.assert_allclose(cell / cell[0, 0], np.eye(3), atol=1e-12)


@pytest.mark.parametrize("thermostat", ["bussi", "langevin"])
def test_a_thermostat_ramps(context, thermostat):
    # All near the origin, where their springs end, and none in the place of another.
    atoms = Atoms("Cu100", positions=0.011 * np.indices((5, 5, 4)).reshape(3, -1).T)
    options = {"temperature": 100, "temperature_end": 900, "thermostat": thermostat, "tdamp": 10.0}
    run(context, atoms, "md", calculator=SPRINGS, ensemble="nvt", steps=1000, every=5, timestep=3.0, **options)
    line = np.polyfit(context.series("time") / 3000, context.series("temperature"), 1)
    np.testing.assert_allclose(np.polyval(line, [0, 1]), [100, 900], atol=80)


def test_fixed_atoms_stay_and_do_not_count_in_the_temperature(context, copper):
    copper.set_constraint(FixAtoms([0, 1]))
    results = md(context, copper, steps=5, every=1, temperature=300, ensemble="nvt")
    np.testing.assert_array_equal(results.structure.atoms().positions[:2], copper.positions[:2])
    kinetic = context.series("kinetic_energy")
    np.testing.assert_allclose(context.series("temperature"), 2 * kinetic / (6 * units.kB))
    assert len(results.structure.atoms().constraints) == 1


def test_a_stop_ends_the_run_with_what_it_has(context, copper):
    context.stop_after_samples = 3
    results = md(context, copper, steps=1000, every=2, temperature=300)
    assert results.stopped
    assert context.steps == [0, 2, 4]
    assert results.structure is not None


def test_a_stop_is_heard_within_a_chunk(context, copper):
    context.stop_at_step = 1
    results = md(context, copper, steps=10**6, every=10**6, temperature=300)
    assert results.stopped


def test_a_cluster_moves_without_a_volume(context):
    atoms = Atoms("Cu2", positions=[[0, 0, 0], [2.2, 0, 0]])
    md(context, atoms, steps=4, every=2, temperature=300, ensemble="nvt")
    assert np.isnan(context.series("pressure")).all()
    assert np.isfinite(context.series("temperature")).all()


class Strange(FixConstraint):
    """Does not say how many degrees of freedom it takes."""

    def todict(self) -> dict[str, Any]:
        return {"name": "FixConstraint", "kwargs": {}}


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"thermostat": "langevin"}, "thermostat"),
        ({"thermostat": "bussy"}, "thermostat"),
        (
            {"ensemble": "nvt", "temperature": 1, "temperature_end": 2, "thermostat": "nose-hoover"},
            "temperature_end",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused(context, copper, parameters, field):
    with pytest.raises(ParameterError) as caught:
        md(context, copper, steps=1, **parameters)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("change", "parameters", "words"),
    [
        ({"pbc": (True, True, False)}, {"ensemble": "npt"}, "periodic in all directions"),
        ({"constraint": FixAtoms([0])}, {"ensemble": "npt"}, "no constraints"),
        ({"constraint": FixAtoms([0, 1, 2, 3])}, {}, "nothing for task 'md' to move"),
        ({"constraint": Strange()}, {}, "constraints Strange|constraints FixConstraint"),
    ],
)
def test_structures_that_do_not_fit_are_refused(context, copper, change, parameters, words):
    atoms = Atoms(copper, **change)
    more = {"temperature": 300, "pressure": 1.0} if parameters else {}
    with pytest.raises(StructureError, match=words):
        md(context, atoms, steps=1, **parameters, **more)


def test_npt_needs_a_stress(context, copper):
    with pytest.raises(ParameterError, match="stress"):
        run(context, copper, "md", calculator=SPRINGS, steps=1, ensemble="npt", temperature=300, pressure=1.0)


def test_a_centre_of_mass_that_the_user_fixed_is_not_counted_twice(context, copper):
    copper.set_constraint(FixCom())
    md(context, copper, steps=0, temperature=300)
    kinetic = context.series("kinetic_energy")[0]
    assert context.series("temperature")[0] == pytest.approx(2 * kinetic / (9 * units.kB))
