"""A run context that keeps in memory what an engine hands over, for tests without store and broker."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.record import Steering
from nanoos_lab.core.resources import Resources
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.store.checkpoints import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from nanoos_lab.core.frames import Checkpoint, RunHead, Sample
    from nanoos_lab.engines.base import StopReason


@dataclass
class RecordingContext:
    """Implements `RunContext`; what the engine said is in its public attributes."""

    workdir: Path
    resources: Resources = field(default_factory=Resources)
    policy: EnginePolicy = field(default_factory=EnginePolicy)
    files: Mapping[str, Path] = field(default_factory=dict)
    watched: bool = False
    live_cost: float = 0.0
    #: Asked for by the context itself once this many samples have come.
    stop_after_samples: int | None = None
    #: Asked for by the context itself once this many live samples have come.
    stop_after_live: int | None = None
    #: And frames alone.
    stop_after_glimpses: int = 0
    #: Asked for by the context itself once this step is reported.
    stop_at_step: int | None = None
    #: The reason with which the context itself asks.
    stop_reason: StopReason = "cancel"
    stop: StopReason | None = None
    #: Seconds that it has then.
    grace: float = 300.0
    checkpoint_interval: float = 0.0
    checkpoint_steps: int | None = None
    checkpoints: tuple[Checkpoint, ...] = ()
    #: Changes of the parameters that are asked for so far.
    steerings: list[Steering] = field(default_factory=list)
    #: Changes that the context itself asks for once a step is reported.
    steer_at: dict[int, dict[str, Any]] = field(default_factory=dict)

    head: RunHead | None = None
    samples: list[Sample] = field(default_factory=list)
    live_samples: list[Sample] = field(default_factory=list)
    progress_steps: list[int] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    #: For how many seconds the run might be quiet, in turn; None when that was over.
    patiences: list[float | None] = field(default_factory=list)
    interrupts: list[Callable[[], None]] = field(default_factory=list)
    #: Steps of the checkpoints that were made.
    checkpoint_made: list[int] = field(default_factory=list)
    #: At which step each steering was applied, by its number.
    steps_steered: dict[int, int] = field(default_factory=dict)
    helmsmen: list[Callable[[], None]] = field(default_factory=list)
    #: Set when the first sample has come.
    begun: threading.Event = field(default_factory=threading.Event)

    def begin(self, head: RunHead) -> None:
        assert self.head is None, "a run has one head"
        assert not self.samples, "the head comes before the first sample"
        self.head = head

    def sample(self, sample: Sample) -> None:
        assert self.head is not None, "the head comes before the first sample"
        assert len(sample.row) == len(self.head.columns)
        self.samples.append(sample)
        self.begun.set()
        if self.stop_after_samples is not None and len(self.samples) >= self.stop_after_samples:
            self.ask_to_stop()

    def live(self, sample: Sample) -> None:
        assert self.head is not None, "the head comes before the first sample"
        self.live_samples.append(sample)
        whole = sum(1 for each in self.live_samples if each.row)
        glimpses = len(self.live_samples) - whole
        if self.stop_after_live is not None and whole >= self.stop_after_live and glimpses >= self.stop_after_glimpses:
            self.ask_to_stop()

    def progress(self, step: int) -> None:
        self.progress_steps.append(step)
        for due in [one for one in self.steer_at if one <= step]:
            self.steer(**self.steer_at.pop(due))
        if self.stop_at_step is not None and step >= self.stop_at_step:
            self.ask_to_stop()

    @contextmanager
    def checkpoint(self, step: int, facts: Mapping[str, Any]) -> Iterator[Path]:
        with writing(self.place, step, facts) as directory:
            yield directory
        self.checkpoint_made.append(step)

    @property
    def place(self) -> Path:
        """Where checkpoints go."""
        return self.workdir / "checkpoints"

    @contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        self.patiences.append(seconds)
        yield
        self.patiences.append(None)

    def log(self, text: str) -> None:
        self.logged.append(text)

    def on_stop(self, interrupt: Callable[[], None]) -> None:
        self.interrupts.append(interrupt)

    def on_steer(self, function: Callable[[], None]) -> None:
        self.helmsmen.append(function)

    def steered(self, number: int, step: int) -> None:
        assert number not in self.steps_steered, "a steering is applied once"
        self.steps_steered[number] = step

    def steer(self, **changes: Any) -> None:
        """Ask for a change of parameters, as the worker does from another thread."""
        self.steerings.append(Steering(number=len(self.steerings) + 1, changes=changes))
        for function in self.helmsmen:
            function()

    def ask_to_stop(self) -> None:
        """Ask for a stop, as the worker does from another thread."""
        self.stop = self.stop_reason
        for interrupt in self.interrupts:
            interrupt()

    @property
    def columns(self) -> list[str]:
        """Names of the columns of thermo."""
        assert self.head is not None
        return [column.name for column in self.head.columns]

    @property
    def steps(self) -> list[int]:
        """Steps of the kept samples."""
        return [sample.step for sample in self.samples]

    def series(self, column: str) -> np.ndarray[Any, Any]:
        """Return the kept values of one column of thermo."""
        index = self.columns.index(column)
        return np.array([sample.row[index] for sample in self.samples])
