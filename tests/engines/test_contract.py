"""What every engine does in the same way, whatever runs inside it."""

from __future__ import annotations

import shutil
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import units

from nanoos_lab.core.errors import InputError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.record import Steering
from nanoos_lab.core.resources import Resources
from nanoos_lab.core.status import Reason
from nanoos_lab.core.units import THERMO_COLUMNS, unit_of
from nanoos_lab.engines import registry
from nanoos_lab.engines.base import EnginePolicy, Steers
from tests.engines.contract import FOUND, Case, Options, run, submitted
from tests.waiting import quickest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engines.contract import Run

    Short = Callable[[Case, str], Run]

CASES = [pytest.param(case, id=name) for name, case in FOUND.items()]
REAL = [param for param in CASES if param.values[0].stage is None]
RUNS = [pytest.param(case, task, id=f"{name} {task}") for name, case in FOUND.items() for task in case.tasks]
MOVING = [
    pytest.param(case, task, id=f"{name} {task}")
    for name, case in FOUND.items()
    for task in case.tasks
    if task != "static"
]
LONG = [pytest.param(case, task, id=f"{name} {task}") for name, case in FOUND.items() for task in case.long]
GOING_ON = [
    param
    for param in LONG
    if param.values[0].stage is None and param.values[1] in registry.get(param.values[0].engine).resumable
]
STEERED = [
    pytest.param(case, task, id=f"{name} {task}")
    for name, case in FOUND.items()
    for task in sorted(registry.get(name).steerable)
]
HIDDEN = [pytest.param(case, id=name) for name, case in FOUND.items() if case.hide is not None]


# -- what it says of itself -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", REAL)
def test_it_says_what_it_is_and_can(case: Case) -> None:
    engine, info = registry.get(case.engine), registry.probe(case.engine)
    assert info.found
    assert (info.name, info.missing) == (case.engine, "")
    assert info.version
    assert info.where
    assert info.tasks == tuple(engine.tasks)
    assert set(info.resumable) == set(engine.resumable) <= set(engine.tasks)
    assert set(info.steerable) == set(engine.steerable) <= set(engine.tasks)
    assert isinstance(engine, Steers) or not engine.steerable
    assert set(info.parallel) <= {"threads", "ranks", "gpus"}


@pytest.mark.parametrize("case", HIDDEN)
def test_without_its_program_it_says_how_to_get_it(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.hide(monkeypatch)
    registry.forget()
    info = registry.probe(case.engine)
    monkeypatch.undo()
    registry.forget()
    assert (info.found, info.version, info.where) == (False, "", "")
    assert any(word in info.missing for word in ("pip install", "install ", "or set ", "load the site's module"))
    assert info.tasks == tuple(registry.get(case.engine).tasks)


# -- what it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_a_parameter_out_of_its_range_is_named_with_what_is_allowed(case: Case) -> None:
    task, parameters, name = case.bad
    with pytest.raises(ParameterError) as caught:
        submitted(case.engine, task, case.atoms(), {**case.common, **parameters})
    assert caught.value.field == name
    assert caught.value.allowed


@pytest.mark.parametrize(("case", "task"), RUNS)
def test_a_misspelt_parameter_is_answered_with_the_nearest(case: Case, task: str) -> None:
    model = registry.calculation(case.engine, task).parameters
    name = next(iter(model.model_fields))
    with pytest.raises(UnknownNameError) as caught:
        validate(model, {**case.parameters(task), f"{name}x": 1}, where="here")
    assert caught.value.nearest == name


@pytest.mark.parametrize(("case", "task"), RUNS)
def test_every_parameter_says_what_it_is(case: Case, task: str) -> None:
    for info in registry.calculation(case.engine, task).parameters.model_fields.values():
        assert info.description


@pytest.mark.parametrize(("case", "task"), RUNS)
def test_no_structure_is_refused(case: Case, task: str) -> None:
    with pytest.raises((StructureError, InputError), match="needs a structure"):
        submitted(case.engine, task, None, case.parameters(task))


@pytest.mark.parametrize(("case", "task"), RUNS)
def test_files_that_were_found_are_not_looked_for_again(
    case: Case, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A structure that another job makes is checked in a worker, where the user's own paths mean nothing."""
    if case.stage is not None:
        for name, value in case.stage(tmp_path, task, "short").items():
            monkeypatch.setenv(name, value)
    request, files = submitted(case.engine, task, case.atoms(), case.parameters(task))
    moved = {role: shutil.copyfile(path, tmp_path / request.files[role].sha256) for role, path in files.items()}
    monkeypatch.delenv("VASP_PP_PATH", raising=False)
    calculation = registry.calculation(case.engine, task)
    given = validate(calculation.parameters, request.parameters, where=calculation.where)
    assert calculation.check(request.structure, given, EnginePolicy(), moved) == moved


# -- what it hands over -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Short:
    """The short run of a task, made once."""
    runs: dict[tuple[str, str], Run] = {}

    def get(case: Case, task: str) -> Run:
        key = (case.engine, task)
        if key not in runs:
            runs[key] = run(case, task, tmp_path_factory.mktemp("_".join(key)), case.parameters(task))
        return runs[key]

    return get


@pytest.mark.parametrize(("case", "task"), RUNS)
def test_a_run_hands_over_rows_with_units_frames_and_results(case: Case, task: str, short: Short) -> None:
    done = short(case, task)
    atoms = case.atoms()
    assert done.error is None
    assert not done.results.stopped
    assert tuple(done.columns[: len(THERMO_COLUMNS)]) == THERMO_COLUMNS
    assert [column.unit for column in done.head.columns[: len(THERMO_COLUMNS)]] == [*map(unit_of, THERMO_COLUMNS)]
    assert done.head.numbers.tolist() == atoms.numbers.tolist()
    assert done.head.pbc == tuple(atoms.pbc)
    assert done.steps == sorted(set(done.steps))
    frame = next(sample.frame for sample in reversed(done.samples) if sample.frame is not None)
    assert frame.positions.shape == (len(atoms), 3)
    assert frame.cell.shape == (3, 3)
    last = done.samples[-1]
    assert last.row[done.columns.index("total_energy")] == pytest.approx(
        last.row[done.columns.index("potential_energy")] + last.row[done.columns.index("kinetic_energy")]
    )
    assert isinstance(done["energy"], float)
    assert done["forces"].shape == (len(atoms), 3)
    assert (done.results.structure.atoms().numbers == atoms.numbers).all()


@pytest.mark.parametrize(("case", "task"), MOVING)
def test_frames_come_at_step_0_and_at_every_multiple(case: Case, task: str, short: Short) -> None:
    parameters, done = case.parameters(task), short(case, task)
    every = parameters["every"]
    if task == "md":
        assert len(done.steps) == parameters["steps"] // every + 1
        assert done.steps == list(range(0, parameters["steps"] + 1, every))
        assert done.head.total == done.progress[-1] == parameters["steps"]
        times = [step * parameters["timestep"] for step in done.steps]
        assert done.series("time") == pytest.approx(times)
        assert [sample.frame.time for sample in done.samples] == pytest.approx(times)
    else:
        *multiples, last = done.steps
        assert done.progress[-1] == last
        assert multiples == list(range(0, last, every))
        assert done["energy"] == pytest.approx(done.series("potential_energy")[-1], abs=1e-6)
        assert done["fmax"] <= parameters["fmax"]
    assert done.progress == sorted(done.progress)
    assert all(sample.frame is not None and sample.frame.step == sample.step for sample in done.samples)
    np.testing.assert_allclose(done.samples[0].frame.positions, case.atoms().positions, atol=1e-6)


@pytest.mark.parametrize("case", REAL)
def test_forces_are_the_slope_of_the_energy_and_pressure_is_that_of_the_stress(
    case: Case, short: Short, tmp_path: Path
) -> None:
    step, energies = 0.01, []
    here = short(case, "static")
    if case.at_rest:
        assert not here["forces"].any()
        return
    for side in (1, -1):
        atoms = case.atoms()
        atoms.positions[0, 0] += side * step
        energies.append(run(case, "static", tmp_path / f"{side}", case.parameters("static"), atoms=atoms)["energy"])
    slope = (energies[1] - energies[0]) / (2 * step)
    assert abs(slope) > 10 * case.forces
    assert here["forces"][0, 0] == pytest.approx(slope, abs=case.forces)
    if "stress" in here.results.properties:
        assert here["stress"].shape == (6,)
        pressure = -here["stress"][:3].sum() / 3 / units.GPa
        assert here.series("pressure")[-1] == pytest.approx(pressure, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("case", [param for param in REAL if param.values[0].velocities is not None])
def test_velocities_are_those_of_the_frames_in_angstrom_per_femtosecond(case: Case, tmp_path: Path) -> None:
    done = run(case, "md", tmp_path / "run", case.parameters("md", steps=2, every=1, timestep=0.01))
    before, here, after = (sample.frame for sample in done.samples)
    moved = (after.positions - before.positions) / (after.time - before.time)
    assert np.abs(moved).max() > 100 * case.velocities
    np.testing.assert_allclose(here.velocities, moved, atol=case.velocities)


# Not where SCF iterations are shown too, which are there before the first step is.
@pytest.mark.parametrize("case", [param for param in REAL if param.values[0].velocities is not None])
def test_those_who_watch_see_what_is_kept_nowhere(case: Case, tmp_path: Path) -> None:
    parameters = {**case.common, **case.long["md"], "every": 10**6}
    done = run(case, "md", tmp_path / "run", parameters, options=Options(stop="cancel", live=2))
    assert done.error is None
    assert done.steps == [0]
    assert len(done.live) >= 2
    for sample in done.live:
        assert len(sample.row) in (0, len(done.columns))
        assert sample.step > 0
        assert sample.frame.positions.shape == (len(case.atoms()), 3)


# -- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "task"), LONG)
def test_a_cancel_ends_it_within_two_seconds_and_keeps_what_there_is(case: Case, task: str, tmp_path: Path) -> None:
    parameters, tries = {**case.common, **case.long[task]}, count()

    def seconds() -> float:
        place = tmp_path / f"run{next(tries)}"
        done = run(case, task, place, parameters, options=Options(stop="cancel", kind="long"))
        assert done.error is None
        assert done.results.stopped
        assert done.samples or task == "static"
        assert done.made == []
        return done.took

    assert quickest(seconds, limit=2.0) < 2.0


@pytest.mark.parametrize(("case", "task"), GOING_ON)
def test_a_soft_stop_leaves_a_checkpoint_from_which_it_goes_on(case: Case, task: str, tmp_path: Path) -> None:
    parameters = {**case.common, **case.long[task]}
    first = run(case, task, tmp_path / "run", parameters, options=Options(stop="time_limit"))
    assert first.results.stopped
    assert len(first.made) == 1
    again = run(case, task, tmp_path / "run", parameters, options=Options(stop="cancel", resume=True))
    assert again.error is None
    assert again.head.first == first.made[-1] > 0, again.log[-3000:]
    steps = [*(step for step in first.steps if step < again.head.first), *again.steps]
    assert steps == list(range(0, steps[-1] + 1, parameters.get("every", 1)))


@pytest.mark.parametrize("case", [param for param in REAL if "md" in registry.get(param.values[0].engine).resumable])
def test_a_run_that_went_on_ends_where_one_does_that_was_not_stopped(case: Case, short: Short, tmp_path: Path) -> None:
    straight, again = short(case, "md"), partial(run, case, "md", tmp_path / "run", case.parameters("md"))
    first = again(options=Options(stop="pause", samples=2))
    assert first.results.stopped
    last = again(options=Options(resume=True))
    assert last.head.first == first.made[-1]
    steps = [*(step for step in first.steps if step < last.head.first), *last.steps]
    assert steps == straight.steps
    assert last["energy"] == pytest.approx(straight["energy"], abs=case.resumed)


@pytest.mark.parametrize("case", CASES)
def test_a_failing_run_says_why_and_what_to_do(case: Case, tmp_path: Path) -> None:
    task, parameters = case.failing
    done = run(case, task, tmp_path / "run", {**case.common, **parameters}, options=Options(kind="failing"))
    assert done.results is None
    message, reason, remedy = done.error
    assert message
    assert reason in set(Reason) - {Reason.BUG, Reason.LOST}
    assert remedy


@pytest.mark.parametrize("case", [param for param in CASES if param.values[0].needs])
def test_a_run_where_the_program_is_missing_fails_with_how_to_get_it(case: Case, tmp_path: Path) -> None:
    done = run(case, "static", tmp_path / "run", case.parameters("static"), options=Options(without=case.needs))
    assert done.results is None
    message, reason, remedy = done.error
    assert reason is Reason.RESOURCE
    assert "install" in remedy
    assert message


# -- changes of its parameters on its way -----------------------------------------------------------------------------

HOT = {"temperature": 2000.0}


def hot_at(case: Case, task: str, directory: Path, options: Options) -> Run:
    parameters = {"steps": 16, "every": 1, "ensemble": "nvt", "tdamp": 10.0}
    return run(case, task, directory, case.parameters(task, **parameters), options=options)


@pytest.mark.parametrize(("case", "task"), STEERED)
def test_it_says_which_parameters_can_be_changed_on_its_way(case: Case, task: str) -> None:
    engine, model = registry.get(case.engine), registry.calculation(case.engine, task).parameters
    given = validate(model, case.parameters(task, ensemble="nvt"), where="here")
    names = set(engine.steers(task, given, Resources()))
    assert {"temperature", "tdamp"} <= names <= set(model.model_fields)
    with pytest.raises(InputError, match="no thermostat"):
        engine.steers(task, validate(model, case.parameters(task), where="here"), Resources())


@pytest.mark.parametrize(("case", "task"), STEERED)
def test_a_run_follows_a_change_from_the_next_step_on_and_every_attempt_alike(
    case: Case, task: str, tmp_path: Path
) -> None:
    steered = hot_at(case, task, tmp_path / "steered", Options(steer_at={8: HOT}))
    assert steered.steered == {1: 9}
    assert "Steering 1 holds from step 9 on: temperature=2000.0" in steered.log
    plain = hot_at(case, task, tmp_path / "plain", Options())
    assert plain.steered == {}
    assert steered.steps == plain.steps == list(range(17))
    for column in ("temperature", "potential_energy"):
        np.testing.assert_array_equal(steered.series(column)[:9], plain.series(column)[:9])
    assert steered.series("temperature")[-1] > plain.series("temperature")[-1] + 50

    known = (Steering(number=1, changes=HOT, step=9),)
    again = hot_at(case, task, tmp_path / "again", Options(steerings=known))
    assert again.steered == {}
    for column in ("temperature", "potential_energy"):
        np.testing.assert_allclose(again.series(column), steered.series(column), rtol=case.resumed, atol=case.resumed)


@pytest.mark.parametrize(("case", "task"), STEERED)
def test_a_run_that_was_steered_before_it_began_is_one_that_was_asked_for_so(
    case: Case, task: str, tmp_path: Path
) -> None:
    steered = hot_at(case, task, tmp_path / "steered", Options(steerings=(Steering(number=1, changes=HOT),)))
    assert steered.steered == {1: 0}
    parameters = {"steps": 16, "every": 1, "ensemble": "nvt", "tdamp": 10.0, **HOT}
    asked = run(case, task, tmp_path / "asked", case.parameters(task, **parameters))
    np.testing.assert_array_equal(steered.series("temperature"), asked.series("temperature"))
