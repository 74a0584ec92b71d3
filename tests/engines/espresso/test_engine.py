"""What the engine says of itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nanoos_lab.engines import program, registry
from nanoos_lab.engines.base import Cites, GivesRecipes, HasBinary, ListsPotentials
from nanoos_lab.engines.espresso import EspressoEngine

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_pwx_is_found_with_its_version() -> None:
    info = EspressoEngine().probe()
    assert info.found
    assert re.fullmatch(r"\d+\.\d\S*", info.version)
    assert info.where == str(program.find("pw.x"))
    assert set(info.tasks) == {"static", "relax", "vc_relax", "md", "bands", "dos", "gamma_phonons"}


def test_one_that_is_missing_is_told_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    info = EspressoEngine().probe()
    assert (info.found, info.version) == (False, "")
    assert "NANOOS_PW_X" in info.missing
    assert "quantum-espresso" in info.missing


def test_a_program_that_a_task_lacks_is_told_though_the_others_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EspressoEngine().probe().lacking == {}
    monkeypatch.setenv("NANOOS_DOS_X", "/no/such/dos.x")
    info = registry.probe("espresso")
    assert info.found
    assert list(info.lacking) == ["dos"]
    assert info.lacking["dos"].startswith(
        "NANOOS_DOS_X is '/no/such/dos.x', where no program is; correct it, or install"
    )


def test_it_can_all_that_engines_may() -> None:
    engine = registry.get("espresso")
    for protocol in (Cites, GivesRecipes, HasBinary, ListsPotentials):
        assert isinstance(engine, protocol)


def test_a_program_that_says_nothing_in_time_has_no_answer(tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\necho early\nexec sleep 600\n")
    slow.chmod(0o755)
    assert program.answer(slow, seconds=0.3) == ""
    assert program.answer(tmp_path / "none") == ""
    slow.write_text('#!/bin/sh\necho "$1"\nexit 3\n')
    assert program.answer(slow, "here") == "here\n"
