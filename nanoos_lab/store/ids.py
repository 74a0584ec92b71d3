"""Names of jobs: UUIDs of version 7 (RFC 9562), which sort by the time they were made."""

from __future__ import annotations

import secrets
import time

from nanoos_lab.core.errors import JobNotFoundError


def new_ids(count: int) -> list[str]:
    """Return new job ids of 32 hexadecimal digits, in ascending order.

    The 12 bits after the milliseconds are the fraction of the millisecond (RFC 9562, section 6.2, method 3), and each
    id of a batch is at least one such tick after the one before, so that a batch keeps its order.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    first = (milliseconds << 12) | (rest * 4096 // 1_000_000)
    return [_uuid7(first + offset) for offset in range(count)]


def require_possible(job_id: str) -> None:
    """Raise a JobNotFoundError for what can be no id; a database may refuse to look for it."""
    if not (isinstance(job_id, str) and job_id.isascii() and job_id.isprintable()):
        raise JobNotFoundError(job_id)


def _uuid7(tick: int) -> str:
    """Lay out 60 bits of time (milliseconds, then 1/4096 ms) and 62 random bits."""
    high = (tick >> 12 << 16) | 0x7000 | (tick & 0xFFF)
    low = (0b10 << 62) | secrets.randbits(62)
    return f"{high << 64 | low:032x}"
