"""Where a job stands, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoos_lab.core.status import Status

if TYPE_CHECKING:
    from nanoos_lab.core.record import JobRecord


def standing(record: JobRecord) -> str:
    """Return the status of a job, and what a person wants to know with it."""
    if record.status is Status.PENDING:
        return f"pending ({', '.join(_waits_for(record))})"
    if record.status is Status.RUNNING and record.cancel_requested is not None:
        return "running (being cancelled)"
    if record.status is Status.RUNNING and record.paused is not None:
        return "running (paused)"
    if record.status is Status.SUCCEEDED and record.cached_from is not None:
        return "succeeded (cached)"
    return f"{record.status} ({record.reason})" if record.reason else str(record.status)


def _waits_for(record: JobRecord) -> list[str]:
    found = []
    if record.paused is not None:
        found.append("paused")
    if record.waits_for:
        found.append(f"waits for {record.waits_for} job{'' if record.waits_for == 1 else 's'}")
    if record.cached_from is not None:
        found.append(f"waits for the equal job {record.cached_from}")
    if record.run_after is not None:
        found.append(f"not before {record.run_after:%Y-%m-%d %H:%M:%S} UTC")
    return found or ["about to be queued"]
