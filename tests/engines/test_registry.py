"""Engines, and tasks that other packages add, by name, through entry points."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import nanoos_lab
from nanoos_lab.core.errors import InputError, UnknownNameError
from nanoos_lab.core.parameters import TaskParameters, validate
from nanoos_lab.engines import registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = ("ase", "lammps", "mock")
THEIRS = """
from nanoos_lab.core.frames import Results
from nanoos_lab.core.parameters import StaticParameters, field, joined
from nanoos_lab.engines.base import Engine, EngineInfo, LendsCalculator, Task
from nanoos_lab.engines.mock import MockEngine

class Sound(MockEngine):
    name = 'sound'
class Sour:
    def __init__(self):
        raise RuntimeError('licence server is down')
class Odd(MockEngine):
    name = 'odd'
    def probe(self):
        return 'yes'
class Plain(Engine):
    name = 'plain'
    tasks = {}
    resumable = frozenset()
    def probe(self):
        return EngineInfo(name='plain', found=True)

class Depth(StaticParameters):
    depth: float = field(1.0, unit='Å', gt=0, doc='how deep')
class Dig(Task):
    resumable = True
    def parameters(self, engine):
        return joined(engine.own, Depth) if isinstance(engine, LendsCalculator) else None
    def run(self, request, context, engine):
        return Results(properties={'depth': request.parameters['depth'], 'on': engine.name}, structure=None)
class Static(Dig):
    pass
class Nowhere(Dig):
    def parameters(self, engine):
        return None
class Refusing(Dig):
    def parameters(self, engine):
        raise RuntimeError('not today')
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that somebody else installed, with sound and broken engines and tasks."""
    (tmp_path / "their_engines.py").write_text(THEIRS)
    declare(
        tmp_path,
        "their-engines",
        "[nanoos_lab.engines]\n"
        "sound = their_engines:Sound\n"
        "sour = their_engines:Sour\n"
        "gone = their_engines_of_old:Gone\n"
        "odd = their_engines:Odd\n"
        "plain = their_engines:Plain\n"
        "[nanoos_lab.tasks]\n"
        "dig = their_engines:Dig\n"
        "static = their_engines:Static\n"
        "lost = their_engines_of_old:Lost\n"
        "nowhere = their_engines:Nowhere\n"
        "refusing = their_engines:Refusing\n",
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry.forget()
    yield tmp_path
    registry.forget()
    sys.modules.pop("their_engines", None)


def declare(place: Path, package: str, entry_points: str) -> None:
    info = place / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


def test_our_engines_are_declared():
    assert set(OURS) <= set(registry.names())


@pytest.mark.parametrize("name", OURS)
def test_an_engine_answers_to_its_name_and_models_its_tasks(name):
    engine = registry.get(name)
    assert engine.name == name
    assert {"static", "relax", "md"} <= set(engine.tasks)
    for task in engine.tasks:
        model = registry.calculation(name, task).parameters
        assert issubclass(model, TaskParameters)
        assert model.model_config["extra"] == "forbid"
        assert all(info.description for info in model.model_fields.values())


def test_an_engine_is_made_once():
    assert registry.get("mock") is registry.get("mock")


def test_an_unknown_engine_is_told_with_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        registry.get("lamps")
    assert caught.value.nearest == "lammps"
    assert "ase" in caught.value.allowed


def test_an_unknown_task_is_told_with_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        registry.calculation("mock", "relaxx")
    assert caught.value.nearest == "relax"
    assert "engine 'mock'" in str(caught.value)


@pytest.mark.parametrize(
    ("task", "function"),
    [("phonons", "phonons"), ("eos", "equation_of_state"), ("elastic", "elastic_constants")],
)
def test_a_task_that_is_a_workflow_is_told_with_its_function(task, function):
    with pytest.raises(UnknownNameError) as caught:
        registry.calculation("lammps", task)
    told = f"nanoos_lab.{function}(…, engine='lammps') submits the jobs that are needed for {task}."
    assert f" Allowed: md, relax, script, static. {told}" in str(caught.value)
    assert ("Engines with this task: ase, chgnet, gpaw, tblite." in str(caught.value)) == (task == "phonons")


def test_every_workflow_that_is_told_of_takes_an_engine():
    for name in registry.WORKFLOWS.values():
        parameters = inspect.signature(getattr(nanoos_lab, name)).parameters
        assert "engine" in parameters or parameters["fixed"].kind == inspect.Parameter.VAR_KEYWORD


def test_a_task_of_other_engines_is_told_with_these():
    with pytest.raises(UnknownNameError, match=r"Engines with this task: ase, chgnet, gpaw, tblite\.$"):
        registry.calculation("lammps", "neb")
    with pytest.raises(UnknownNameError, match=r"Engines with this task: espresso\.$"):
        registry.calculation("lammps", "vc_relax")


def test_a_plug_in_is_an_engine_like_ours(plugins):
    assert {"sound", "sour", "gone"} <= set(registry.names())
    assert registry.get("sound").name == "sound"


def test_a_broken_plug_in_is_listed_with_its_reason_and_never_raised(plugins):
    found = {info.name: info for info in registry.probe_all()}
    assert found["mock"].found
    assert found["sound"].found
    assert not found["sour"].found
    assert "licence server is down" in found["sour"].missing
    assert not found["gone"].found
    assert "their_engines_of_old" in found["gone"].missing
    assert not found["odd"].found
    assert "their-engines 1.0" in found["odd"].missing


def test_what_an_engine_can_do_is_listed_with_it():
    found = {info.name: info for info in registry.probe_all()}
    assert found["mock"].resumable == ("relax", "md")
    assert found["ase"].parallel == ()
    assert found["mock"].parallel == ("gpus",)
    assert found["tblite"].parallel == ("threads",)


def test_an_engine_that_derives_from_the_protocol_need_not_say_what_it_has_nothing_to_say_of(plugins):
    engine = registry.get("plain")
    engine.preload()
    assert (engine.steerable, engine.parallel) == (frozenset(), frozenset())


def test_a_name_that_several_packages_declare_is_refused_with_their_names(plugins):
    declare(plugins, "other-engines", "[nanoos_lab.engines]\nsound = other_engines:Sound\n")
    registry.forget()
    with pytest.raises(InputError, match=r"(?s)'sound'.*other-engines 1.0.*uninstall"):
        registry.get("sound")
    assert "uninstall" in registry.probe("sound").missing


def test_a_task_of_another_package_is_one_of_every_engine_that_it_runs_on(plugins):
    found = {info.name: info for info in registry.probe_all()}
    assert found["ase"].tasks == ("static", "relax", "md", "neb", "phonons", "dig")
    assert found["ase"].resumable == ("relax", "md", "neb", "phonons", "dig")
    assert "dig" not in found["mock"].tasks


def test_an_added_task_has_its_own_parameters_and_those_of_the_calculator(plugins):
    model = registry.calculation("ase", "dig").parameters
    given = validate(model, {"calculator": "emt", "depth": 2.0}, where="here")
    assert (given.calculator, given.depth, given.label) == ("emt", 2.0, "emt")
    with pytest.raises(InputError, match="depth=-1"):
        validate(model, {"calculator": "emt", "depth": -1}, where="here")
    assert registry.calculation("ase", "dig").parameters is model


def test_an_added_task_does_not_replace_one_of_the_engine(plugins):
    assert registry.calculation("ase", "static").added is None
    (static,) = (info for info in registry.probe_tasks() if info.name == "static")
    assert "ase" not in static.engines


def test_results_of_another_version_of_an_added_task_are_others(plugins):
    own, added = registry.calculation("ase", "static"), registry.calculation("ase", "dig")
    assert added.version == f"{own.version}, their-engines 1.0"


def test_an_added_task_that_does_not_run_on_an_engine_is_unknown_there(plugins):
    with pytest.raises(UnknownNameError) as caught:
        registry.calculation("mock", "dig")
    assert set(caught.value.allowed) == {"static", "relax", "md"}


def test_a_broken_task_is_listed_with_its_reason_and_never_raised(plugins):
    found = {info.name: info for info in registry.probe_tasks()}
    assert found["dig"].engines[0] == "ase"
    assert found["dig"].package == "their-engines 1.0"
    assert found["dig"].missing == ""
    assert "their_engines_of_old" in found["lost"].missing
    assert found["nowhere"].missing == found["refusing"].missing == "it runs on no engine here"


@pytest.mark.parametrize(("name", "says"), [("gone", "their_engines_of_old"), ("sour", "licence server is down")])
def test_a_broken_engine_says_so_when_it_is_asked_for(plugins, name: str, says: str):
    with pytest.raises(InputError, match=f"engine '{name}' cannot be used: its plug-in in their-engines 1.0 .*{says}"):
        registry.calculation(name, "static")
    # In the list it is not said twice.
    assert registry.probe(name).missing.count("plug-in") == 1
    assert registry.found(name).missing.count("plug-in") == 1


def test_a_broken_task_says_so_when_it_is_asked_for(plugins):
    with pytest.raises(InputError, match="their_engines_of_old"):
        registry.calculation("ase", "lost")


def test_importing_the_registry_loads_no_engine():
    script = "import sys, nanoos_lab.engines.registry; print([n for n in sys.modules if '.engines.' in n])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = done.stdout.strip()
    assert "mock" not in loaded
    assert "ase'" not in loaded.replace("base'", "")
    assert "lammps" not in loaded
