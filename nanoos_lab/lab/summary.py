"""How far many jobs are, in one line and one bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nanoos_lab.core.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from nanoos_lab.core.record import JobRecord

#: Characters of the bar as text.
_WIDTH = 30
_PARTS = {
    Status.SUCCEEDED: "#2e7d32",
    Status.FAILED: "#c62828",
    Status.CANCELLED: "#757575",
    Status.RUNNING: "#1565c0",
}


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How far many jobs are."""

    #: How many there are in each status.
    counts: dict[Status, int]
    #: Fraction done, 0–1.
    progress: float
    #: Fraction of all that is done of the running ones, 0–1.
    running: float

    @classmethod
    def of_tally(cls, tally: Mapping[Status, tuple[int, float]]) -> Self:
        """Count from how many jobs there are in each status, and the sum of what fraction of each is done."""
        counts = {status: tally[status][0] for status in Status}
        many = max(sum(counts.values()), 1)
        going = sum(done for status, (_, done) in tally.items() if not status.finished)
        ended = sum(count for status, count in counts.items() if status.finished)
        return cls(
            counts=counts,
            progress=(ended + going) / many if any(counts.values()) else 1.0,
            running=going / many,
        )

    @classmethod
    def of(cls, records: Sequence[JobRecord]) -> Self:
        """Count; a job that has ended is done, in whatever way it did."""
        alike = {status: [record for record in records if record.status is status] for status in Status}
        return cls.of_tally({status: (len(some), sum(one.progress for one in some)) for status, some in alike.items()})

    @property
    def done(self) -> bool:
        """Whether all have ended, in whatever way."""
        return all(status.finished for status, count in self.counts.items() if count)

    @property
    def shares(self) -> dict[Status, float]:
        """What part of the whole bar each kind has, 0–1, from left to right."""
        ended = {status: self.counts[status] / max(self.total, 1) for status in _PARTS}
        return {**ended, Status.RUNNING: self.running}

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    @property
    def words(self) -> str:
        """The counts that are not zero."""
        parts = [f"{count} {status}" for status, count in self.counts.items() if count]
        return f"{self.total} jobs: {', '.join(parts)}" if parts else "no jobs"

    @property
    def text(self) -> str:
        """A bar of characters, the percentage and the counts."""
        full = round(self.progress * _WIDTH)
        return f"{'█' * full}{'░' * (_WIDTH - full)} {self.progress:4.0%}  {self.words}"

    @property
    def html(self) -> str:
        """The same for a page, by colours of how the jobs ended."""
        bars = "".join(
            f'<span style="display:inline-block;height:100%;width:{share:.2%};background:{_PARTS[status]}"></span>'
            for status, share in self.shares.items()
            if share
        )
        return (
            f'<div role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{100 * self.progress:.0f}" '
            'style="width:100%;max-width:40em;height:.8em;font-size:1em;line-height:0;border-radius:.2em;'
            f'overflow:hidden;background:rgba(128,128,128,.25)">{bars}</div>'
            f"<div>{self.progress:.0%} · {self.words}</div>"
        )
