"""Engines by name, through entry points."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nanoos_lab.core.errors import UnknownNameError
from nanoos_lab.core.parameters import TaskParameters
from nanoos_lab.engines import registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = ("ase", "lammps", "mock")


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that somebody else installed, with one sound and two broken engines."""
    (tmp_path / "their_engines.py").write_text(
        "from nanoos_lab.engines.mock import MockEngine\n"
        "class Sound(MockEngine):\n    name = 'sound'\n"
        "class Sour:\n    def __init__(self):\n        raise RuntimeError('licence server is down')\n"
    )
    info = tmp_path / "their_engines-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-engines\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[nanoos_lab.engines]\n"
        "sound = their_engines:Sound\n"
        "sour = their_engines:Sour\n"
        "gone = their_engines_of_old:Gone\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry.get.cache_clear()
    yield tmp_path
    registry.get.cache_clear()


def test_our_engines_are_declared():
    assert set(OURS) <= set(registry.names())


@pytest.mark.parametrize("name", OURS)
def test_an_engine_answers_to_its_name_and_models_its_tasks(name):
    engine = registry.get(name)
    assert engine.name == name
    assert {"static", "relax", "md"} <= set(engine.tasks)
    for task in engine.tasks:
        model = registry.parameters_of(engine, task)
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
        registry.parameters_of(registry.get("mock"), "relaxx")
    assert caught.value.nearest == "relax"
    assert "engine 'mock'" in str(caught.value)


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


def test_importing_the_registry_loads_no_engine():
    script = "import sys, nanoos_lab.engines.registry; print([n for n in sys.modules if '.engines.' in n])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = done.stdout.strip()
    assert "mock" not in loaded
    assert "ase'" not in loaded.replace("base'", "")
    assert "lammps" not in loaded
