"""Between what a user types and values: durations, moments, sizes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import typer

from nanoos_lab.core.durations import seconds_in


def duration(text: str) -> float:
    """Read a duration such as "90", "90s", "30min", "1.5h", "30d" or "2w"; return it in s."""
    seconds = seconds_in(text)
    if seconds is None:
        raise typer.BadParameter(f"{text!r} is no duration; write seconds, or 30min, 12h, 30d, 2w")
    return seconds


def moment(text: str) -> datetime:
    """Read a moment: ISO 8601, without a zone in the user's own, or a duration from now on such as "+2h"."""
    try:
        if text.startswith("+"):
            return datetime.now(UTC) + timedelta(seconds=duration(text[1:]))
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, typer.BadParameter):
        raise typer.BadParameter(
            f"{text!r} is no moment; write 2026-03-02T18:00, or +2h for two hours from now"
        ) from None


def in_bytes(count: int) -> str:
    """Say a number of bytes, such as "1.2 GB"."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
