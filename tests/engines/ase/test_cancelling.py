"""A calculator that is at work for long is cancelled in the middle of that."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from ase import Atoms

from nanoos_lab.engines.ase import cancelling
from nanoos_lab.engines.ase.cancelling import CancelledError, calculation, cancelled_in_time
from tests.engines.ase.running import run
from tests.waiting import until

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab
    from tests.engines.context import RecordingContext

SLOW = {"calculator": "tests.engines.ase.doubles:Slow"}
TASKS: dict[str, dict[str, Any]] = {
    "md": {"temperature": 300, "steps": 10, "every": 1},
    "relax": {"fmax": 1e-6},
}


@pytest.mark.parametrize("waits", [False, True], ids=["computes", "waits"])
@pytest.mark.parametrize("task", TASKS)
def test_a_cancel_ends_it(context: RecordingContext, monkeypatch: pytest.MonkeyPatch, task: str, waits: bool) -> None:
    monkeypatch.chdir(context.workdir)
    at_work = context.workdir / "at_work"

    def cancel() -> None:
        until(at_work.exists)
        context.ask_to_stop()

    asking = threading.Thread(target=cancel)
    asking.start()
    atoms = Atoms("H", positions=[[1, 0, 0]])
    results = run(context, atoms, task, **SLOW, calculator_options={"waits": waits}, **TASKS[task])
    asking.join()
    assert results.stopped
    assert context.steps == [0]
    assert not [child for child in psutil.Process().children() if child.name() == "sleep"]
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_only_a_cancel_does_and_only_where_something_is_computed(
    context: RecordingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancelling, "_WAIT", 0.05)
    with cancelled_in_time(context):
        context.stop_reason = "time_limit"
        with calculation():
            context.ask_to_stop()
            time.sleep(0.3)
        context.stop_reason = "cancel"
        context.ask_to_stop()
        time.sleep(0.3)
        with pytest.raises(CancelledError), calculation():
            signal.pause()


def test_in_a_lab_too(lab: Lab) -> None:
    job = lab.submit(Atoms("H", positions=[[1, 0, 0]]), engine="ase", task="md", **SLOW, **TASKS["md"])
    place = lab.services.artifacts.attempt_dir(job.id, 1) / "work"
    until((place / "at_work").exists)
    job.cancel()
    assert job.wait(60).status == "cancelled"
    # A process that was killed comes to nothing more.
    assert (place / "cut_off").exists()
