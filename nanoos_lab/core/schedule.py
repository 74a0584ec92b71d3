"""When a job is submitted again and again: every so many seconds, or by a cron expression. All times are UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from nanoos_lab.core.durations import seconds_in
from nanoos_lab.core.errors import ParameterError

if TYPE_CHECKING:
    from nanoos_lab.core.request import JobRequest

#: Shortest and longest interval in s.
SHORTEST, LONGEST = 1.0, 3660 * 86400.0
#: A field that croniter would fill with a number of its own choice.
_RANDOM = re.compile(r"[rh](\W|$)", re.IGNORECASE)
_ALLOWED = (
    "seconds, a timedelta, a duration such as '6h' or '30min', or a cron expression of five fields in UTC, such as "
    "'0 3 * * mon'"
)


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """At which moments a schedule submits; one of the two is set."""

    #: Seconds between two submissions.
    interval: float | None = None
    #: A cron expression of five fields, in UTC.
    cron: str | None = None

    @classmethod
    def from_any(cls, value: Self | timedelta | float | str) -> Self:
        """Accept what a user passes: seconds, a timedelta, or a text that is a duration or a cron expression.

        Raises
        ------
        ParameterError
            If it is none of them, an interval that is too short or too long, or a cron expression for which there is
            no moment.
        """
        if isinstance(value, cls):
            return value
        seconds = _seconds(value)
        if seconds is None:
            return cls(cron=_checked(value))
        if not SHORTEST <= seconds <= LONGEST:
            raise ParameterError("repeat", value, "from one turn to the next, at least 1 s and at most 3660 days")
        return cls(interval=float(seconds))

    def first(self, now: datetime) -> datetime:
        """Return the first moment: with an interval now, else the first of the cron expression from now on."""
        return now if self.interval is not None else self._by_cron(now - timedelta(microseconds=1))

    def after(self, last: datetime, now: datetime) -> datetime:
        """Return the first moment after now, in the rhythm in which `last` was one; those between are left out."""
        if self.interval is None:
            return self._by_cron(max(last, now))
        interval = timedelta(seconds=self.interval)
        return last + (max(now - last, timedelta()) // interval + 1) * interval

    def __str__(self) -> str:
        """Say it in words."""
        return f"every {timedelta(seconds=self.interval)}" if self.interval is not None else f"{self.cron} (UTC)"

    def _by_cron(self, moment: datetime) -> datetime:
        from croniter import croniter

        following: datetime = croniter(self.cron, moment).get_next(datetime)
        return following


@dataclass(frozen=True, kw_only=True)
class ScheduleRecord:
    """What the store knows of one schedule at one moment."""

    #: Unique name, like that of a job.
    id: str
    #: Name for people, of the schedule and of its jobs.
    name: str
    #: What its jobs are asked for.
    request: JobRequest
    #: At which moments it submits.
    repeat: Repeat
    #: When it submits next.
    next: datetime
    #: How many submissions are left; None for ever.
    left: int | None
    #: Id of the job that it submitted last.
    last_job: str | None
    #: When it was made.
    created: datetime

    def to_json(self) -> dict[str, Any]:
        """Return plain values; times as ISO 8601."""
        return {
            "id": self.id,
            "name": self.name,
            "engine": self.request.engine,
            "task": self.request.task,
            "interval": self.repeat.interval,
            "cron": self.repeat.cron,
            "next": self.next.isoformat(),
            "left": self.left,
            "last_job": self.last_job,
            "created": self.created.isoformat(),
        }


def _seconds(value: Any) -> float | None:
    """Return the seconds of an interval; None if it is none."""
    if isinstance(value, str):
        return seconds_in(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _checked(text: Any) -> str:
    from croniter import CroniterError, croniter

    fields = text.split() if isinstance(text, str) else []
    if len(fields) != 5 or any(_RANDOM.match(field) for field in fields):
        raise ParameterError("repeat", text, _ALLOWED)
    cron = " ".join(fields)
    try:
        # A day that there is not, such as 31 February, shows only when a moment is asked for.
        croniter(cron, datetime.fromisoformat("2024-01-01T00:00:00+00:00")).get_next(datetime)
    except (CroniterError, ValueError, KeyError) as error:
        raise ParameterError("repeat", text, f"{_ALLOWED} ({error})") from None
    return cron
