"""pw.x, for real."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nanoos_lab.engines import program
from nanoos_lab.engines.espresso import pseudos
from tests.engines.espresso.running import FAST, SHRINKING, ByHand, Runner, silicon, text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def pw(tmp_path: Path) -> Runner:
    """Run a task of pw.x: ``pw(atoms, "relax", **parameters)``."""
    return Runner(tmp_path)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a script in place of pw.x, which has the real one as ``$PW``."""

    def put(script: str) -> None:
        path = tmp_path / "pw.x"
        path.write_text(f"#!/bin/sh\nPW={program.find('pw.x')}\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("NANOOS_PSEUDO_DIR", str(pseudos.directory(None)))
        monkeypatch.setenv("NANOOS_PW_X", str(path))

    return put


@pytest.fixture(scope="session")
def texts() -> dict[str, str]:
    """Inputs that work, by the name of the task."""
    return {
        "static": text_of(silicon(), **FAST),
        "relax": text_of(silicon(shift=0.2), "relax", **FAST),
        "vc_relax": text_of(SHRINKING[0], "vc_relax", **SHRINKING[1]),
    }


@pytest.fixture
def hand(tmp_path: Path, texts: dict[str, str]) -> ByHand:
    """Run pw.x on a changed input: ``hand((old, new), task="relax")``."""
    return ByHand(tmp_path / "by hand", texts)
