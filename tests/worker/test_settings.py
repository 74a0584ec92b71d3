"""What of the environment are settings, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from platformdirs import user_data_path

from nanoos_lab.core.errors import SettingsError
from nanoos_lab.worker.settings import VARIABLES, Settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_only_the_variables_that_are_documented_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The names of the fields are nobody's business: HOME is set for everybody, and is no directory of a lab."""
    for name in set(Settings.model_fields) - {"redis_url", "database_url", "log_level"}:
        monkeypatch.setenv(name.upper(), str(tmp_path))
    settings = Settings.load()
    assert settings.home == user_data_path("nanoos_lab")
    assert settings.gpus is None
    assert settings.lease == 20.0


def test_a_variable_is_read_and_a_value_that_is_given_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NANOOS_HOME", str(tmp_path / "set"))
    assert Settings.load().home == tmp_path / "set"
    assert Settings.load(home=tmp_path / "given").home == tmp_path / "given"


def test_another_process_loads_the_same_from_its_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings.load(home=tmp_path, lease=7.0, gpus=("1", "3"))
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.load() == settings


def test_what_is_not_allowed_is_named_as_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="NANOOS_LEASE: "):
        Settings.load(lease=0)
    monkeypatch.setenv("WORKER_CONCURRENCY", "none")
    with pytest.raises(SettingsError, match="WORKER_CONCURRENCY: "):
        Settings.load()
