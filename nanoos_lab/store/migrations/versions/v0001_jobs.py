"""Jobs, their structures, attempts and events."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the first tables."""
    _structures()
    _jobs()
    _attempts()
    _events()


def _structures() -> None:
    op.create_table(
        "structures",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_structures")),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("formula", sa.Text, nullable=False),
        sa.Column("atoms", sa.Integer, nullable=False),
        sa.Column("engine", sa.String(64), nullable=False),
        sa.Column("task", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        *_failure(),
        sa.Column("queue", sa.String(64), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger),
        sa.Column("worker", sa.Text),
        sa.Column("created", _moment(), nullable=False),
        sa.Column("started", _moment()),
        sa.Column("ended", _moment()),
        sa.Column("cancel_requested", _moment()),
        sa.Column("lease_until", _moment()),
        sa.Column("send_after", _moment()),
        sa.Column("scalars", sa.Text),
        sa.Column("structure", sa.String(64)),
        sa.Column("request", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.CheckConstraint(
            "status IN ('pending', 'queued', 'running', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_jobs_status"),
        ),
        _reasons(op.f("ck_jobs_reason")),
        sa.ForeignKeyConstraint(["structure"], ["structures.digest"], name=op.f("fk_jobs_structure")),
    )
    op.create_index("ix_jobs_status_id", "jobs", ["status", "id"])
    op.create_index("ix_jobs_key", "jobs", ["key"])
    _partial_index("ix_jobs_lease_until", "lease_until", "status = 'running'")
    _partial_index("ix_jobs_send_after", "send_after", "status = 'queued'")


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started", _moment(), nullable=False),
        sa.Column("ended", _moment()),
        sa.Column("outcome", sa.String(16)),
        *_failure(),
        sa.Column("provenance", sa.Text),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_attempts")),
        _reasons(op.f("ck_attempts_reason")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id")),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("time", _moment(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_events")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_events_job_id")),
    )
    op.create_index("ix_events_job_id_number", "events", ["job_id", "number"])


def _moment() -> Any:
    return sa.DateTime(timezone=True).with_variant(sa.Text, "sqlite")


def _failure() -> tuple[sa.Column[Any], ...]:
    return sa.Column("reason", sa.String(16)), sa.Column("message", sa.Text), sa.Column("remedy", sa.Text)


def _reasons(name: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(
        "reason IN ('input', 'convergence', 'resource', 'time_limit', 'memory', 'lost', 'engine', 'bug')",
        name=name,
    )


def _partial_index(name: str, column: str, where: str) -> None:
    op.create_index(name, "jobs", [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
