"""The command line on the labs that tests have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.command import Cli

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.lab.lab import Lab


@pytest.fixture
def cli(lab: Lab, tmp_path: Path) -> Cli:
    """The command line on the lab that all tests share."""
    return Cli(lab.settings.environment(), tmp_path)


@pytest.fixture
def own_cli(own_lab: Lab, tmp_path: Path) -> Cli:
    """The command line on a lab of the test's own, which does not run yet."""
    return Cli(own_lab.settings.environment(), tmp_path)
