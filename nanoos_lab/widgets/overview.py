"""What the overview of a group shows, as a frozen value that changes look by look; no widget, thread or clock in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from nanoos_lab.core.status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.lab.group import Group
    from nanoos_lab.lab.summary import Summary

#: Most jobs that have a row.
ROWS = 20
#: Seconds over which the pace is measured, and least seconds for a pace.
WINDOW = 120.0
SHORTEST = 3.0
#: Most characters of the words of a row.
_LONGEST = 200
#: The status of a group: the first of these that a job has.
_LEADING = (
    Status.RUNNING,
    Status.QUEUED,
    Status.PENDING,
    Status.FAILED,
    Status.CANCELLED,
    Status.SUCCEEDED,
)


@dataclass(frozen=True, kw_only=True)
class OverviewModel:
    """All that an overview shows."""

    #: What kind of group it is.
    title: str
    #: What is known of it beforehand.
    about: str
    #: How far the jobs are.
    summary: Summary
    #: The foremost jobs.
    rows: tuple[JobRecord, ...]
    #: When it was looked at, in s of any clock, and what fraction was done then; the newest last.
    marks: tuple[tuple[float, float], ...] = ()
    #: What went wrong with the button; empty if nothing did.
    notice: str = ""

    @classmethod
    def of(cls, group: Group, now: float) -> Self:
        """Look at a group for the first time."""
        summary, rows = group.summary, tuple(group.foremost(ROWS))
        return cls(
            title=_title(group), about=_about(group), summary=summary, rows=rows, marks=((now, summary.progress),)
        )

    def after(self, summary: Summary, rows: Sequence[JobRecord], now: float) -> Self:
        """Take in another look."""
        # A job that is tried again has done less than before.
        known = self.marks if self.marks and self.marks[-1][1] <= summary.progress else ()
        recent = tuple(mark for mark in known if now - mark[0] <= WINDOW)
        return replace(self, summary=summary, rows=tuple(rows), marks=(*recent, (now, summary.progress)))

    @property
    def eta(self) -> float | None:
        """Seconds until the last end, at the pace of the last minutes; None while that is unknown."""
        (begin, before), (now, done) = self.marks[0], self.marks[-1]
        if self.summary.done or now - begin < SHORTEST or done <= before:
            return None
        return (1.0 - done) * (now - begin) / (done - before)

    @property
    def status(self) -> Status:
        """Where the group as a whole stands."""
        return next((status for status in _LEADING if self.summary.counts[status]), Status.SUCCEEDED)

    @property
    def cancelling(self) -> bool:
        """Whether all that is left are runs that are being cancelled, as far as can be seen."""
        counts = self.summary.counts
        running = [record for record in self.rows if record.status is Status.RUNNING]
        waiting = counts[Status.QUEUED] + counts[Status.PENDING]
        return bool(running) and not waiting and all(record.cancel_requested is not None for record in running)

    def differs(self, before: Self) -> bool:
        """Whether it shows something else than before; the time that is left goes on by itself."""
        return {**self.to_json(), "eta": None} != {**before.to_json(), "eta": None}

    def to_json(self) -> dict[str, Any]:
        """Return the plain `OverviewState` that static/overview.js shows."""
        counts = self.summary.counts
        return {
            "title": self.title,
            "about": self.about,
            "status": str(self.status),
            "done": self.summary.done,
            "counts": [[str(status), counts[status]] for status in Status if counts[status]],
            "shares": [[str(status), share] for status, share in self.summary.shares.items()],
            "progress": self.summary.progress,
            "left": sum(count for status, count in counts.items() if not status.finished),
            "eta": self.eta,
            "cancelling": self.cancelling,
            "notice": self.notice,
            "rows": [_row(record) for record in self.rows],
            "others": self.summary.total - len(self.rows),
        }


def _title(group: Group) -> str:
    """Name the kind of group in words: a sweep, or the workflow."""
    name = re.sub(r"(?<!^)(?=[A-Z])", " ", type(group).__name__).capitalize()
    return "Sweep" if name == "Group" and group.columns else name


def _about(group: Group) -> str:
    count = f"{len(group)} {'job' if len(group) == 1 else 'jobs'}"
    return f"{count} over {', '.join(group.columns).replace('_', ' ')}" if group.columns else count


def _row(record: JobRecord) -> dict[str, Any]:
    known = record.total or record.status is Status.SUCCEEDED
    return {
        "id": record.id,
        "name": record.name,
        "status": str(record.status),
        "done": record.progress if known else None,
        "words": _words(record)[:_LONGEST],
    }


def _words(record: JobRecord) -> str:
    """Say how far a job is, or what has become of it."""
    if record.failure is not None:
        reason, first_line = str(record.failure.reason).replace("_", " "), record.failure.message.partition("\n")[0]
        return f"{reason}: {first_line}"
    if record.status.finished:
        return "from an equal job" if record.cached_from else ""
    if record.cancel_requested is not None:
        return "is being cancelled"
    if record.paused is not None:
        return "paused"
    if record.status is Status.RUNNING and record.step:
        steps = f"{record.step:,}" + (f" / {record.total:,}" if record.total else "")
        return f"{steps} steps"
    return (
        f"waits for {record.waits_for} other {'job' if record.waits_for == 1 else 'jobs'}" if record.waits_for else ""
    )
