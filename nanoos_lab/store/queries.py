"""Which jobs: a question as a value, and as SQL."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.core.status import Status
from nanoos_lab.store.schema import jobs
from nanoos_lab.store.terms import RECORD

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Select

#: The largest limit; databases take no integer of any size.
_MOST = 10**9


@dataclass(frozen=True, kw_only=True)
class JobQuery:
    """Which jobs to find; all that is given must hold."""

    #: One status, or several.
    status: Status | str | Collection[Status | str] | None = None
    #: Name of the engine.
    engine: str | None = None
    #: Kind of calculation.
    task: str | None = None
    #: Queue.
    queue: str | None = None
    #: Name of the job, exactly.
    name: str | None = None
    #: Chemical formula, exactly.
    formula: str | None = None
    #: Content key of the request.
    key: str | None = None
    #: Ids.
    ids: Collection[str] | None = None
    #: Only jobs older than this id: the next page.
    before: str | None = None
    #: Most jobs to return, the newest; None for all.
    limit: int | None = 1000

    def __post_init__(self) -> None:
        limit: Any = self.limit
        whole = isinstance(limit, Integral) and not isinstance(limit, bool)
        if limit is not None and not (whole and 0 <= limit <= _MOST):
            raise ParameterError("limit", limit, f"an integer from 0 to {_MOST:,}, or None for all")

    def select(self) -> Select[Any]:
        """Return the statement that finds them, newest first."""
        query = select(*RECORD).order_by(jobs.c.id.desc()).limit(None if self.limit is None else int(self.limit))
        for name in ("engine", "task", "queue", "name", "formula", "key"):
            value = getattr(self, name)
            if value is not None:
                query = query.where(jobs.c[name] == value)
        if self.status is not None:
            wanted = [self.status] if isinstance(self.status, str) else self.status
            query = query.where(jobs.c.status.in_([Status(word).value for word in wanted]))
        if self.ids is not None:
            query = query.where(jobs.c.id.in_(self.ids))
        if self.before is not None:
            query = query.where(jobs.c.id < self.before)
        return query
