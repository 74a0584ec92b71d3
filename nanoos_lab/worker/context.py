"""The engine's context inside the engine process: everything goes to the work-horse over the pipe."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from math import inf
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from nanoos_lab.core.record import Steering
from nanoos_lab.store.checkpoints import writing
from nanoos_lab.worker import pipe
from nanoos_lab.worker.clocks import now
from nanoos_lab.worker.processes import descendants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from nanoos_lab.core.frames import Checkpoint, RunHead, Sample
    from nanoos_lab.core.resources import Resources
    from nanoos_lab.engines.base import EnginePolicy, StopReason


@dataclass(frozen=True, kw_only=True)
class Past:
    """The checkpoints of a job, as one attempt sees them."""

    #: Where this attempt's own go.
    place: Path
    #: What earlier attempts left, newest first.
    checkpoints: tuple[Checkpoint, ...] = ()
    #: Seconds of running time between checkpoints, about; 0 for none.
    interval: float = 60.0
    #: Steps between checkpoints; None leaves it to the run to choose them for the interval.
    steps: int | None = None
    #: Changes of the parameters that were asked for so far, in order.
    steerings: tuple[Steering, ...] = ()


class PipeContext:
    """`RunContext` over a pipe.

    Parameters
    ----------
    connection
        The pipe to the work-horse.
    workdir
        Scratch directory of the attempt.
    files
        Input files by role.
    resources
        What the run may use.
    policy
        What the lab's settings allow.
    past
        What earlier attempts left, and what this one is to leave.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        workdir: Path,
        files: Mapping[str, Path],
        resources: Resources,
        policy: EnginePolicy,
        past: Past,
    ) -> None:
        self.checkpoints = past.checkpoints
        self.checkpoint_interval = past.interval
        self.checkpoint_steps = past.steps
        self.workdir = workdir
        self.files = files
        self.resources = resources
        self.policy = policy
        self.watched = False
        self.live_cost = 0.0
        self.stop: StopReason | None = None
        self.grace = 0.0
        self._pipe = connection
        self._place = past.place
        self._sampled: int | None = None
        self._interrupts: list[Callable[[], None]] = []
        self._steerings = list(past.steerings)
        self._steered: dict[int, int] = {}
        self._steer: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._patience = inf

    def listen(self) -> None:
        """Follow the work-horse's orders in a thread, so that they arrive during a long native call."""
        threading.Thread(target=self._listen, name="orders", daemon=True).start()

    def _listen(self) -> None:
        lease = inf
        while True:
            try:
                if lease < inf and not self._pipe.poll(max(0.0, lease - now())):
                    # The work-horse may stand still while another worker takes the job: no two engines at a time.
                    # The nursery ends this, or has it go on with a new lease, which is in the pipe then.
                    self._stand_still()
                order = pipe.receive(self._pipe)
            except (EOFError, OSError):
                return
            if order.kind == "lease":
                lease = order.fields["until"]
            elif order.kind == "look":
                self.watched = order.fields["watched"]
                self.live_cost = order.fields["cost"]
            elif order.kind == "stop":
                with self._lock:
                    self.grace = order.fields["grace"]
                    self.stop = cast("StopReason", order.fields["reason"])
                    interrupts = tuple(self._interrupts)
                for interrupt in interrupts:
                    interrupt()
            elif order.kind == "steer":
                self._steerings += [Steering(**one) for one in order.fields["steerings"]]
                if self._steer is not None:
                    self._steer()

    def _stand_still(self) -> None:
        """Stop this process and all that it has started, which may be in groups of their own, until it is continued."""
        others = descendants(os.getpid())
        _signal(others, signal.SIGSTOP)
        # That took a moment, in which the lease may have been renewed.
        if not self._pipe.poll():
            os.killpg(0, signal.SIGSTOP)
        _signal(others, signal.SIGCONT)

    def on_stop(self, interrupt: Callable[[], None]) -> None:
        """Name one more function that ends a long native call, or a wait, early."""
        with self._lock:
            self._interrupts.append(interrupt)
            late = self.stop is not None
        if late:
            interrupt()

    @property
    def steerings(self) -> Sequence[Steering]:
        """Changes of the parameters that were asked for, in order; more come in the thread that listens."""
        return self._steerings

    def on_steer(self, function: Callable[[], None]) -> None:
        """Name the function to be called when another steering has come."""
        self._steer = function

    def steered(self, number: int, step: int) -> None:
        """Say at which step a steering is applied."""
        self._steered[number] = step
        pipe.send(self._pipe, "steered", {"number": number, "step": step})

    def applied(self) -> list[dict[str, Any]]:
        """Return the steerings that the run has followed, each with its step, as plain values."""
        steps = [self._steered.get(one.number, one.step) for one in self._steerings]
        both = zip(self._steerings, steps, strict=True)
        return [{**one.to_json(), "step": step} for one, step in both if step is not None]

    def begin(self, head: RunHead) -> None:
        """Say what stays the same in the run."""
        fields = {
            "total": head.total,
            "first": head.first,
            "columns": [asdict(column) for column in head.columns],
            "pbc": list(head.pbc),
        }
        arrays = {"numbers": np.asarray(head.numbers, dtype="<i8")}
        if head.masses is not None:
            arrays["masses"] = np.asarray(head.masses, dtype="<f8")
        pipe.send(self._pipe, "begin", fields, arrays)

    def sample(self, sample: Sample) -> None:
        """Hand over a sample that must be kept."""
        self._send_sample("sample", sample, "<f8")
        self._sampled = sample.step

    def live(self, sample: Sample) -> None:
        """Hand over a sample for those who watch."""
        self._send_sample("live", sample, "<f4")

    def progress(self, step: int) -> None:
        """Say how far the run is."""
        pipe.send(self._pipe, "progress", {"step": step})

    @contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Say for how many seconds nothing may be heard of the run within a block."""
        before, self._patience = self._patience, seconds
        pipe.send(self._pipe, "patience", {"seconds": seconds})
        try:
            yield
        finally:
            self._patience = before
            # If nobody listens any more it is told by what comes next.
            with suppress(OSError):
                pipe.send(self._pipe, "patience", {"seconds": before})

    @contextmanager
    def checkpoint(self, step: int, facts: Mapping[str, Any]) -> Iterator[Path]:
        """Yield an empty directory, which is a checkpoint once the block has ended without an error."""
        started = time.monotonic()
        with writing(self._place, step, facts, sampled=self._sampled) as directory:
            yield directory
        self.log(f"checkpoint at step {step}, made in {time.monotonic() - started:.3f} s")
        pipe.send(self._pipe, "checkpoint", {"step": step})

    def log(self, text: str) -> None:
        """Append text to the job's log, where the engine's own output goes too."""
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()

    def _send_sample(self, kind: str, sample: Sample, dtype: str) -> None:
        fields: dict[str, Any] = {"step": sample.step, "row": list(sample.row)}
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        frame = sample.frame
        if frame is not None:
            fields["time"] = frame.time
            arrays = {
                "positions": np.asarray(frame.positions, dtype=dtype),
                "cell": np.asarray(frame.cell, dtype="<f8"),
            }
            if frame.velocities is not None and kind == "sample":
                arrays["velocities"] = np.asarray(frame.velocities, dtype="<f8")
        pipe.send(self._pipe, kind, fields, arrays)


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
