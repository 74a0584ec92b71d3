"""pw.x, for real."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engines.espresso.running import Runner

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pw(tmp_path: Path) -> Runner:
    """Run a task of pw.x: ``pw(atoms, "relax", **parameters)``."""
    return Runner(tmp_path)
