"""The tables, and the database's own clock.

The newest migration in `migrations/versions` makes exactly these tables; a test compares the two.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    literal,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from nanoos_lab.core.status import Reason, Status

#: The newest migration: the version that this code reads and writes.
HEAD = "0004"


class UtcTime(TypeDecorator[datetime]):
    """A moment: ``timestamptz`` on PostgreSQL, sortable ISO text with milliseconds, in UTC, on SQLite.

    Only the database makes moments (see `clock`), and `records.moment` reads both forms.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        """Return the column's type in this database."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else DateTime(timezone=True))


class clock(FunctionElement[datetime]):
    """The database's clock plus a number of seconds: the only clock that deadlines know.

    Parameters
    ----------
    seconds
        How far from now, in s; a number, or a parameter of type Float.
    """

    type = UtcTime()
    inherit_cache = True
    name = "clock"

    def __init__(self, seconds: float | BindParameter[float] = 0.0) -> None:
        super().__init__(seconds if isinstance(seconds, BindParameter) else literal(seconds, Float()))


@compiles(clock, "sqlite")
def _clock_on_sqlite(element: clock, compiler: Any, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', printf('%+.3f seconds', {seconds}))"


@compiles(clock, "postgresql")
def _clock_on_postgresql(element: clock, compiler: Any, **options: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **options)}))"


def _one_of(column: str, words: type[Status | Reason]) -> CheckConstraint:
    allowed = ", ".join(f"'{word}'" for word in words)
    return CheckConstraint(f"{column} IN ({allowed})", name=column)


def _failure() -> tuple[Column[Any], ...]:
    return Column("reason", String(16)), Column("message", Text), Column("remedy", Text)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

#: Structures by the digest of their canonical bytes; shared by all jobs that start from the same one.
structures = Table(
    "structures",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

#: One row a job: what tables show first, the big request last.
jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("formula", Text, nullable=False),
    Column("atoms", Integer, nullable=False),
    Column("engine", String(64), nullable=False),
    Column("task", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    *_failure(),
    Column("queue", String(64), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("total", BigInteger),
    Column("worker", Text),
    Column("created", UtcTime, nullable=False),
    Column("started", UtcTime),
    Column("ended", UtcTime),
    Column("cancel_requested", UtcTime),
    # While the job runs: until when the attempt is its worker's.
    Column("lease_until", UtcTime),
    # While the job is queued: from when its message is to be sent, or sent again.
    Column("send_after", UtcTime),
    # JSON: scalar results by name.
    Column("scalars", Text),
    Column("structure", String(64), ForeignKey("structures.digest")),
    # JSON: JobRequest.to_json().
    Column("request", Text, nullable=False),
    Column("paused", UtcTime),
    # While the job is pending: not to be queued earlier.
    Column("run_after", UtcTime),
    # How many of the jobs that it depends on have not ended.
    Column("waits_for", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("lost", Integer, nullable=False, server_default="0"),
    # Seconds before the next attempt, and at most.
    Column("delay", Float, nullable=False, server_default="60"),
    Column("longest_delay", Float, nullable=False, server_default="3600"),
    # JSON: Limits.to_json().
    Column("limits", Text),
    # Seconds that earlier attempts ran, of those that the limits count.
    Column("ran", Float, nullable=False, server_default="0"),
    # The equal job whose results these are, or whose results are waited for.
    Column("cached_from", String(32)),
    # How many more attempts may follow a correction.
    Column("corrections", Integer, nullable=False, server_default="5"),
    # JSON: parameters that corrections have changed.
    Column("corrected", Text),
    # How many changes of its parameters were asked for while it was on its way.
    Column("steerings", Integer, nullable=False, server_default="0"),
    # 1 if such a change, of its own or of a job before it, makes its results others than its key says.
    Column("varied", Integer, nullable=False, server_default="0"),
    _one_of("status", Status),
    _one_of("reason", Reason),
)
Index(None, jobs.c.status, jobs.c.id)
Index(None, jobs.c.key)
# Whoever deletes a structure looks for jobs that have it.
Index(None, jobs.c.structure)
Index(
    None,
    jobs.c.lease_until,
    sqlite_where=jobs.c.status == literal("running", literal_execute=True),
    postgresql_where=jobs.c.status == literal("running", literal_execute=True),
)
Index(
    None,
    jobs.c.send_after,
    sqlite_where=jobs.c.status == literal("queued", literal_execute=True),
    postgresql_where=jobs.c.status == literal("queued", literal_execute=True),
)

Index(
    None,
    jobs.c.run_after,
    sqlite_where=jobs.c.status == literal("pending", literal_execute=True),
    postgresql_where=jobs.c.status == literal("pending", literal_execute=True),
)
Index(
    None,
    jobs.c.cached_from,
    sqlite_where=jobs.c.cached_from.is_not(None),
    postgresql_where=jobs.c.cached_from.is_not(None),
)

#: Which job waits for which.
dependencies = Table(
    "dependencies",
    metadata,
    Column("job_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    Column("parent_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    # "run" or "cancel".
    Column("after_failure", String(8), nullable=False),
)
Index(None, dependencies.c.parent_id)

#: One row a try at a job.
attempts = Table(
    "attempts",
    metadata,
    Column("job_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("worker", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", UtcTime, nullable=False),
    Column("ended", UtcTime),
    Column("outcome", String(16)),
    *_failure(),
    # JSON: what made the result.
    Column("provenance", Text),
    # What it wrote after this step is not read.
    Column("last_step", BigInteger),
    Column("ran", Float),
    Column("cpu", Float),
    Column("peak_memory", BigInteger),
    # JSON: Correction.to_json().
    Column("correction", Text),
    _one_of("reason", Reason),
)

#: Changes of parameters of jobs on their way, in order.
steerings = Table(
    "steerings",
    metadata,
    Column("job_id", String(32), ForeignKey("jobs.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    # JSON: parameters by name.
    Column("changes", Text, nullable=False),
    Column("asked", UtcTime, nullable=False),
    Column("who", Text, nullable=False),
    # From which step on it holds, and the attempt that first came there; NULL until one has.
    Column("step", BigInteger),
    Column("attempt", Integer),
)

#: Append-only history.
events = Table(
    "events",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("job_id", String(32), ForeignKey("jobs.id"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("time", UtcTime, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("text", Text, nullable=False),
)
Index(None, events.c.job_id, events.c.number)

#: Jobs that are submitted by themselves, at times.
schedules = Table(
    "schedules",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("structure", String(64), ForeignKey("structures.digest")),
    # JSON: JobRequest.to_json().
    Column("request", Text, nullable=False),
    # JSON: queue, priority, retries, limits.
    Column("options", Text, nullable=False),
    # Seconds between two submissions, or a cron expression in UTC.
    Column("interval", Float),
    Column("cron", Text),
    Column("next", UtcTime, nullable=False),
    # How many submissions are left; NULL for ever.
    Column("left", Integer),
    Column("last_job", String(32)),
    Column("created", UtcTime, nullable=False),
)
Index(None, schedules.c.next)
Index(None, schedules.c.structure)
