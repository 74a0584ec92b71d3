"""What the work-horse does with what the engine produces: keep it, and show it to those who look."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.frames import Frame, RunHead, Sample
from nanoos_lab.core.rhythm import unwatched_interval
from nanoos_lab.core.units import Column
from nanoos_lab.store.segments import SegmentWriter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nanoos_lab.broker.live import LiveWriter
    from nanoos_lab.worker.pipe import Message

#: Shortest time in seconds between two frames on the live channel.
FRAME_INTERVAL = 0.05
#: Shortest time in seconds between two progress events while somebody looks.
PROGRESS_INTERVAL = 0.1


class Recorder:
    """Durable and live side of one attempt's output.

    Parameters
    ----------
    directory
        Directory of the attempt.
    live
        The live channel.
    """

    def __init__(self, directory: Path, live: LiveWriter) -> None:
        self.step = 0
        self.total: int | None = None
        #: What the run was begun with: versions, inputs, host; nothing if it has not come so far.
        self.made_by: Mapping[str, Any] = {}
        #: The steps at which the engine has applied steerings, by their numbers.
        self.steered: dict[int, int] = {}
        #: Frames that were shown.
        self.shown = 0
        #: Where the run writes.
        self.directory = directory
        self._live = live
        self._head: RunHead | None = None
        self._segment: SegmentWriter | None = None
        self._watched_until = 0.0
        self._watched = False
        self._began = time.monotonic()
        self._next_frame = 0.0
        self._next_progress = 0.0
        self._told_step: int | None = None
        self._rate = _Rate()

    def take(self, message: Message) -> None:
        """Take one message of the engine."""
        if message.kind == "progress":
            self._tell(self._told(int(message.fields["step"]), None))
        elif message.kind == "made_by":
            self.made_by = message.fields
        elif message.kind == "begin":
            self._begin(message)
        elif message.kind == "steered":
            self.steered[message.fields["number"]] = message.fields["step"]
            self._live.event({"kind": "steered", **message.fields})
        elif message.kind in ("sample", "live"):
            sample = _sample(message)
            if message.kind == "sample" and self._segment is not None:
                self._segment.append(sample)
            self._show(sample)

    def look(self, seconds: float) -> None:
        """Somebody looks for that long."""
        self._watched_until = time.monotonic() + seconds
        self._watched = True

    @property
    def watched(self) -> bool:
        """Whether somebody looks."""
        return time.monotonic() <= self._watched_until

    def left(self) -> bool:
        """Whether the last viewer has just gone."""
        left = self._watched and not self.watched
        self._watched = self.watched
        return left

    def flush(self) -> None:
        """Make what was taken durable."""
        if self._segment is not None:
            self._segment.flush()

    def close(self) -> None:
        """Flush and close."""
        if self._segment is not None:
            self._segment.close()

    def _begin(self, message: Message) -> None:
        self.total = message.fields["total"]
        self.step = message.fields.get("first", 0)
        first, second, third = message.fields["pbc"]
        self._head = RunHead(
            total=self.total,
            columns=tuple(Column(**column) for column in message.fields["columns"]),
            numbers=message.arrays["numbers"],
            pbc=(first, second, third),
            masses=message.arrays.get("masses"),
            first=self.step,
        )
        self._segment = SegmentWriter(self.directory, self._head)

    def _show(self, sample: Sample) -> None:
        """Tell of a sample, with its frame if somebody looks."""
        event = self._told(sample.step, sample.row or None)
        now = time.monotonic()
        if sample.frame is None or not self._watched or now < self._next_frame:
            self._tell(event)
            return
        self._next_frame = now + FRAME_INTERVAL
        self._live.frame(sample.frame.pack(), sample.step, event)
        self.shown += 1

    def _tell(self, event: Mapping[str, Any] | None) -> None:
        if event is not None:
            self._live.event(event)

    def _told(self, step: int, row: tuple[float, ...] | None) -> dict[str, Any] | None:
        """Note how far the run is; return the event that says so, if it is time for one."""
        self.step = step
        now = time.monotonic()
        self._rate.add(now, step)
        if now < self._next_progress and (step != self.total or step == self._told_step):
            return None
        self._told_step = step
        self._next_progress = now + (PROGRESS_INTERVAL if self._watched else unwatched_interval(now - self._began))
        event: dict[str, Any] = {
            "kind": "progress",
            "at": time.time(),
            "step": step,
            "total": self.total,
            "rate": self._rate.value,
        }
        if row is not None and self._head is not None:
            names = (column.name for column in self._head.columns)
            event["row"] = dict(zip(names, row, strict=True))
        return event


class _Rate:
    """Steps per second over the last seconds."""

    def __init__(self, window: float = 5.0) -> None:
        self._window = window
        self._points: list[tuple[float, int]] = []

    def add(self, now: float, step: int) -> None:
        if self._points and now - self._points[-1][0] < 0.1:
            return
        self._points.append((now, step))
        while len(self._points) > 2 and now - self._points[0][0] > self._window:
            self._points.pop(0)

    @property
    def value(self) -> float | None:
        if len(self._points) < 2:
            return None
        (t0, s0), (t1, s1) = self._points[0], self._points[-1]
        return (s1 - s0) / (t1 - t0)


def _sample(message: Message) -> Sample:
    fields, arrays = message.fields, message.arrays
    frame = None
    if "positions" in arrays:
        frame = Frame(
            step=fields["step"],
            time=fields["time"],
            positions=arrays["positions"],
            cell=arrays["cell"],
            velocities=arrays.get("velocities"),
        )
    return Sample(step=fields["step"], row=tuple(fields["row"]), frame=frame)
