"""Paths that users name."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.engines.paths import users_path


def test_the_home_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert users_path("~/Cu.eam", "potential") == Path("/somewhere/Cu.eam")


@pytest.mark.parametrize("name", ["x" * 10_000, "~nobody_of_that_name/Cu.eam"])
def test_a_path_that_cannot_be_is_told_by_the_name_of_the_parameter(name: str) -> None:
    with pytest.raises(ParameterError, match="a path that can exist here") as caught:
        users_path(name, "potential")
    assert (caught.value.field, caught.value.value) == ("potential", name)
