"""The engine's context over the pipe."""

from __future__ import annotations

from multiprocessing import Pipe
from typing import TYPE_CHECKING

from nanoos_lab.core.resources import Resources
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.worker import pipe
from nanoos_lab.worker.context import Past, PipeContext
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


def test_a_stop_is_told_to_all_who_wait(tmp_path: Path) -> None:
    horse, engine = Pipe()
    context = PipeContext(
        engine,
        workdir=tmp_path,
        files={},
        resources=Resources(),
        policy=EnginePolicy(),
        past=Past(place=tmp_path),
    )
    context.listen()
    told: list[str] = []
    context.on_stop(lambda: told.append("a long call"))
    context.on_stop(lambda: told.append("a program"))
    with horse:
        pipe.send(horse, "stop", {"reason": "cancel", "grace": 5.0})
        until(lambda: len(told) == 2)
        # It is told at once to who comes later.
        context.on_stop(lambda: told.append("another program"))
    assert told == ["a long call", "a program", "another program"]
