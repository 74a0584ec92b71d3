from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines.context import RecordingContext
from tests.engines.vasp.synthetic import potcar

if TYPE_CHECKING:
    from collections.abc import Callable

REPLAY = Path(__file__).with_name("vasp_replay.py")


@pytest.fixture
def potentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of POTCARs without potentials in them, where VASP_PP_PATH says."""
    root = tmp_path / "potentials"
    for folder in ("potpaw_PBE", "potpaw_PBE.54"):
        for name, enmax in (
            ("Si", 245.345),
            ("In", 95.9),
            ("In_d", 239.2),
            ("As", 208.7),
            ("Fe", 267.9),
            ("Fe_pv", 293.2),
        ):
            symbol, sign, rest = name.partition("_")
            place = root / folder / name
            place.mkdir(parents=True)
            (place / "POTCAR").write_text(potcar(symbol, suffix=sign + rest, enmax=enmax))
    monkeypatch.setenv("VASP_PP_PATH", str(root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return root


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """An attempt's working directory."""
    place = tmp_path / "work"
    place.mkdir()
    return place


@pytest.fixture
def context(workdir: Path) -> RecordingContext:
    return RecordingContext(workdir=workdir)


@pytest.fixture
def replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, potentials: Path) -> Callable[..., Path]:
    """Have the replay stand in for vasp_std; called with recordings, one for each start; returns its diary."""
    monkeypatch.delenv("NANOOS_VASP_GAM", raising=False)
    program = tmp_path / "vasp_std"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -I {REPLAY}\n")
    program.chmod(0o755)
    monkeypatch.setenv("NANOOS_VASP_STD", str(program))
    diary = tmp_path / "diary.jsonl"

    def play(*recordings: Path, speed: float = 1000.0, code: int = 0, deaf: bool = False) -> Path:
        monkeypatch.setenv("VASP_REPLAY", ":".join(map(str, recordings)))
        monkeypatch.setenv("VASP_REPLAY_SPEED", str(speed))
        monkeypatch.setenv("VASP_REPLAY_EXIT", str(code))
        monkeypatch.setenv("VASP_REPLAY_DIARY", str(diary))
        if deaf:
            monkeypatch.setenv("VASP_REPLAY_DEAF", "1")
        return diary

    return play
