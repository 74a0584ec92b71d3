from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engines.context import RecordingContext

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def context(tmp_path: Path) -> RecordingContext:
    return RecordingContext(workdir=tmp_path)
