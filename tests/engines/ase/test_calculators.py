"""Calculators by name: found, checked and made, or refused with the reason."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones

from nanoos_lab.core.errors import EngineError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.ase.calculators import find
from nanoos_lab.engines.base import EnginePolicy
from tests.engines.ase.running import run
from tests.engines.context import RecordingContext

DOUBLES = "tests.engines.ase.doubles"
ANY = EnginePolicy()
ARGON = {"epsilon": 0.0103, "sigma": 3.4}


@pytest.fixture
def dimer() -> Atoms:
    return Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 2 ** (1 / 6) * 3.4]])


def test_lennard_jones_takes_its_parameters(context, dimer):
    results = run(context, dimer, "static", calculator="lj", cutoff=10.0, **ARGON)
    shift = 4 * 0.0103 * ((3.4 / 10) ** 12 - (3.4 / 10) ** 6)
    assert results.properties["energy"] == pytest.approx(-0.0103 - shift)
    np.testing.assert_allclose(results.properties["forces"], 0, atol=1e-9)


def test_lennard_jones_can_end_smoothly(context, dimer):
    results = run(context, dimer, "static", calculator="lj", smooth=True, calculator_options={"ro": 5.0}, **ARGON)
    assert results.properties["energy"] == pytest.approx(-0.0103)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"calculator": "lj", "epsilon": 0.01}, "sigma"),
        ({"calculator": "lj", "sigma": 3.4}, "epsilon"),
        ({"calculator": "lj", "sigma": 3.4, "epsilon": -1}, "epsilon"),
        ({"calculator": "emt", "sigma": 3.4}, "sigma"),
        ({"calculator": "emt", "smooth": True}, "smooth"),
        ({"calculator": "lj", **ARGON, "calculator_options": {"rc": 5}}, "calculator_options"),
        ({"calculator": ""}, "calculator"),
        ({}, "calculator"),
    ],
)
def test_parameters_of_one_calculator_are_not_anothers(context, dimer, parameters, field):
    with pytest.raises(ParameterError) as caught:
        run(context, dimer, "static", **parameters)
    assert caught.value.field == field


def test_any_calculator_runs_by_module_and_class_with_its_options(context):
    atoms = Atoms("H", positions=[[1, 0, 0]])
    results = run(context, atoms, "static", calculator=f"{DOUBLES}:Springs", calculator_options={"k": 4.0})
    assert results.properties["energy"] == 2.0
    assert results.provenance["calculator"] == f"{DOUBLES}:Springs"


def test_properties_that_a_calculator_has_besides_are_passed_on(context):
    results = run(context, bulk("Cu"), "static", calculator=f"{DOUBLES}:Charged")
    np.testing.assert_array_equal(results.properties["charges"], [0.5])
    assert "stress" not in results.properties
    assert np.isnan(context.series("pressure")).all()


def test_the_short_names_and_the_long_one_are_the_same_class():
    assert find("lj", ANY) is find("ase.calculators.lj:LennardJones", ANY) is LennardJones


@pytest.mark.parametrize(("name", "nearest"), [("EMT", "emt"), ("emmt", "emt"), ("jl", None)])
def test_an_unknown_short_name_is_told_with_the_nearest(name, nearest):
    with pytest.raises(UnknownNameError) as caught:
        find(name, ANY)
    assert caught.value.nearest == nearest
    assert "module:Class" in str(caught.value)


def test_an_unknown_class_is_told_with_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        find("ase.calculators.lj:LenardJones", ANY)
    assert caught.value.nearest == "LennardJones"


@pytest.mark.parametrize("name", ["no_such_package.calculators:Best", f"{DOUBLES}_misspelt:Springs"])
def test_a_module_that_cannot_be_imported_is_named(name):
    with pytest.raises(ParameterError, match="cannot be imported here"):
        find(name, ANY)


def test_a_module_that_fails_on_import_says_how(tmp_path, monkeypatch):
    (tmp_path / "sour_module.py").write_text("raise OSError('libgpu.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ParameterError, match=r"libgpu\.so\.1"):
        find("sour_module:Best", ANY)


@pytest.mark.parametrize("name", ["NotACalculator", "a_function"])
def test_what_is_no_calculator_is_refused_before_it_is_called(name):
    with pytest.raises(ParameterError, match="subclass of"):
        find(f"{DOUBLES}:{name}", ANY)


def test_a_lab_may_allow_certain_calculators_only():
    policy = EnginePolicy(calculators=(f"{DOUBLES}:Springs",))
    assert find(f"{DOUBLES}:Springs", policy)
    assert find("emt", policy)
    with pytest.raises(ParameterError, match=f"allows 'emt', 'lj', '{DOUBLES}:Springs'"):
        find("ase.calculators.tip3p:TIP3P", policy)


def test_a_calculator_that_is_not_allowed_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ParameterError, match="allows"):
        find("evil_module:Evil", EnginePolicy(calculators=()))
    assert "evil_module" not in sys.modules


def test_the_worker_asks_its_own_policy(tmp_path):
    strict = RecordingContext(workdir=tmp_path, policy=EnginePolicy(calculators=()))
    with pytest.raises(ParameterError, match="allows"):
        run(strict, Atoms("H"), "static", calculator=f"{DOUBLES}:Springs")


def test_emt_says_which_elements_it_lacks_and_which_it_has(context):
    with pytest.raises(StructureError, match=r"EMT has no parameters for Fe, Si; it has them for Al, Cu"):
        run(context, Atoms("CuFeSi", positions=np.eye(3) * 3), "static", calculator="emt")


def test_the_log_warns_of_emt_for_light_elements(context):
    run(context, Atoms("CuO", positions=[[0, 0, 0], [0, 0, 1.8]]), "static", calculator="emt")
    assert context.logged == ["warning: ASE's EMT parameters of O are not for any serious use"]


def test_the_log_has_no_warning_for_metals(context):
    run(context, bulk("Cu"), "static", calculator="emt")
    assert context.logged == []


def test_a_calculator_that_cannot_be_made_fails_with_its_own_words(context):
    with pytest.raises(EngineError, match=r"FileNotFoundError: no model at x\.pt") as caught:
        run(context, Atoms("H"), "static", calculator=f"{DOUBLES}:Picky", calculator_options={"model": "x.pt"})
    assert caught.value.reason is Reason.INPUT
    assert "x.pt" in caught.value.remedy


@pytest.mark.parametrize(
    ("task", "after", "parameters"),
    [("static", 0, {}), ("relax", 0, {}), ("relax", 1, {}), ("md", 0, {"steps": 5}), ("md", 1, {"steps": 5})],
)
def test_a_calculator_that_fails_is_quoted(context, task, after, parameters):
    atoms = Atoms("H", positions=[[1, 0, 0]])
    options = {"after": after}
    with pytest.raises(EngineError, match="RuntimeError: SCF did not find its feet") as caught:
        run(context, atoms, task, calculator=f"{DOUBLES}:Broken", calculator_options=options, **parameters)
    assert caught.value.reason is Reason.ENGINE
    assert "Broken" in str(caught.value)


def test_an_energy_that_is_no_number_is_an_error(context):
    with pytest.raises(EngineError, match="energy is nan at step 0"):
        run(context, Atoms("H"), "static", calculator=f"{DOUBLES}:Explodes")
