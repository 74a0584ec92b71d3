"""What a job card shows, as a frozen value that changes job by job event; no widget, thread or clock in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.record import CAVEAT
from nanoos_lab.core.status import Status
from nanoos_lab.core.units import unit_of
from nanoos_lab.widgets.series import Series
from nanoos_lab.widgets.steering import Steering

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from nanoos_lab.core.record import JobRecord

#: Most atoms for which the structure is shown without being asked for.
SHOWN_ATOMS = 20_000
#: Lines of the log that a card keeps.
LOG_LINES = 200
#: Characters of one event of the log that it keeps.
LOG_CHARACTERS = 100_000


@dataclass(frozen=True, kw_only=True)
class CardModel:
    """All that a card shows."""

    #: The job as the store last told it.
    record: JobRecord
    #: Steps done, by the newest of record and live events.
    step: int = 0
    #: Steps in all; None if nobody knows.
    total: int | None = None
    #: Steps per second; None until it was measured.
    rate: float | None = None
    #: The thermo curve.
    series: Series = field(default_factory=Series)
    #: The newest lines of the log.
    log: tuple[str, ...] = ()
    #: Whether the log panel is open.
    log_shown: bool = False
    #: Whether the structure is shown.
    structure_shown: bool = False
    #: What can be changed of the run, and what was.
    steering: Steering = field(default_factory=Steering)
    #: How many changes the kernel has answered that pages asked for, well or with a notice.
    answers: int = 0
    #: What stands in the way of the job, such as no worker; empty if nothing does.
    warning: str = ""
    #: What went wrong with the last button; empty if nothing did.
    notice: str = ""

    @classmethod
    def of(
        cls,
        record: JobRecord,
        *,
        series: Series | None = None,
        steering: Steering | None = None,
        warning: str = "",
    ) -> CardModel:
        """Begin with a job's record, its durable thermo, how it is steered and what stands in its way."""
        return cls(
            record=record,
            step=record.step,
            total=record.total,
            series=series or Series(),
            steering=steering or Steering(),
            warning=warning,
        )

    def with_record(self, record: JobRecord) -> CardModel:
        """Take in a newer record."""
        same_attempt = record.attempt == self.record.attempt
        running = record.status is Status.RUNNING
        return replace(
            self,
            record=record,
            step=max(record.step, self.step) if same_attempt else record.step,
            total=record.total,
            rate=self.rate if same_attempt and running else None,
            warning="" if running or record.status.finished else self.warning,
        )

    def with_event(self, event: Mapping[str, Any]) -> CardModel:
        """Take in a live event; kinds that a card does not show change nothing."""
        kind = event.get("kind")
        if kind == "progress":
            return self._with_progress(event)
        if kind == "log":
            lines = str(event.get("text", ""))[-LOG_CHARACTERS:].splitlines()
            return replace(self, log=(*self.log, *lines)[-LOG_LINES:])
        return self

    def _with_progress(self, event: Mapping[str, Any]) -> CardModel:
        if self.record.status.finished:
            return self
        step, total, rate = (_number(event.get(name)) for name in ("step", "total", "rate"))
        if step is None:
            return self
        row = _numbers(event.get("row"))
        return replace(
            self,
            step=int(step),
            total=int(total) if total else self.total,
            rate=rate or self.rate,
            series=self.series.add(int(step), row) if row else self.series,
        )

    @property
    def eta(self) -> float | None:
        """Seconds until the last step; None unless it runs with a known rate and total."""
        if self.record.status is not Status.RUNNING or not self.rate or not self.total:
            return None
        return max(self.total - self.step, 0) / self.rate

    def elapsed(self, now: datetime) -> float | None:
        """Seconds since the current attempt began, until `now` or its end; None before it began."""
        if self.record.started is None:
            return None
        return max(((self.record.ended or now) - self.record.started).total_seconds(), 0.0)

    def to_json(self, now: datetime) -> dict[str, Any]:
        """Return the plain `state` object that static/card.js shows."""
        record = self.record
        failure = record.failure
        return {
            "id": record.id,
            "name": record.name,
            "formula": record.formula,
            "atoms": record.atoms,
            "engine": record.engine,
            "task": record.task,
            "queue": record.queue,
            "status": str(record.status),
            "attempt": record.attempt,
            "maxAttempts": record.max_attempts,
            "step": self.total if record.status is Status.SUCCEEDED and self.total else self.step,
            "total": self.total,
            "rate": self.rate,
            "eta": self.eta,
            "elapsed": self.elapsed(now),
            "cancelling": record.cancel_requested is not None and not record.status.finished,
            "warning": self.warning,
            "caveat": record.caveat or "",
            "notice": self.notice,
            "hint": _hint(record, self.steering),
            "steering": {**self.steering.to_json(record), "answers": self.answers},
            "failure": failure
            and {
                "reason": str(failure.reason),
                "message": failure.message,
                "remedy": failure.remedy,
            },
            "results": [
                [name, value, unit_of(name)]
                for name, value in record.scalars.items()
                if isinstance(value, (int, float, str)) and not isinstance(value, bool) and name != CAVEAT
            ],
            "logShown": self.log_shown,
            "structureShown": self.structure_shown,
        }


def _hint(record: JobRecord, steering: Steering) -> list[str] | None:
    """Say, as a head and a text, what the status alone does not tell."""
    if record.paused is not None and not record.status.finished:
        return ["Paused", "job.resume() has it go on."]
    if record.cached_from is not None and record.status is Status.SUCCEEDED:
        return ["From an equal job", f"These are the results of {record.cached_from}; cache=False runs it again."]
    if record.steerings and record.status in (Status.RUNNING, Status.SUCCEEDED):
        newest = f"{_times(record.steerings)}: {steering.newest}" if steering.changes else _times(record.steerings)
        return ["Steered", f"{newest}; job.steerings has the changes, and the steps."]
    if record.status is not Status.PENDING:
        return None
    if record.cached_from is not None:
        return ["Waiting", f"for the results of the equal job {record.cached_from}."]
    if record.waits_for:
        return ["Waiting", f"for {record.waits_for} other {'job' if record.waits_for == 1 else 'jobs'} to end."]
    return ["Waiting", f"until {record.run_after:%Y-%m-%d %H:%M:%S} UTC."] if record.run_after else None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def shows_structure(record: JobRecord) -> bool:
    """Whether a card shows the structure without being asked: while it runs or waits, if it is not too large."""
    return not record.status.finished and 0 < record.atoms <= SHOWN_ATOMS


def _number(value: object) -> float | None:
    """Return a value of a live event if it is a number: whoever can write to the server can write anything there."""
    try:
        return value if isinstance(value, (int, float)) and isfinite(value) else None
    except OverflowError:
        return None


def _numbers(row: object) -> dict[str, float]:
    pairs = row.items() if isinstance(row, dict) else ()
    return {name: number for name, value in pairs if (number := _number(value)) is not None}
