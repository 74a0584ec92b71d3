"""Dependencies, pauses, delays, limits, use of resources, equal jobs, schedules."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and tables; what is there stays as it is."""
    for column in _of_jobs():
        op.add_column("jobs", column)
    op.create_index("ix_jobs_structure", "jobs", ["structure"])
    _partial_index("ix_jobs_run_after", "run_after", "status = 'pending'")
    _partial_index("ix_jobs_cached_from", "cached_from", "cached_from IS NOT NULL")
    for column in _of_attempts():
        op.add_column("attempts", column)
    _dependencies()
    _schedules()


def _of_jobs() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("paused", _moment()),
        sa.Column("run_after", _moment()),
        sa.Column("waits_for", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
        sa.Column("lost", sa.Integer, nullable=False, server_default="0"),
        sa.Column("delay", sa.Float, nullable=False, server_default="60"),
        sa.Column("longest_delay", sa.Float, nullable=False, server_default="3600"),
        sa.Column("limits", sa.Text),
        sa.Column("ran", sa.Float, nullable=False, server_default="0"),
        sa.Column("cached_from", sa.String(32)),
    )


def _of_attempts() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("last_step", sa.BigInteger),
        sa.Column("ran", sa.Float),
        sa.Column("cpu", sa.Float),
        sa.Column("peak_memory", sa.BigInteger),
    )


def _dependencies() -> None:
    op.create_table(
        "dependencies",
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("parent_id", sa.String(32), nullable=False),
        sa.Column("after_failure", sa.String(8), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "parent_id", name=op.f("pk_dependencies")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_dependencies_job_id")),
        sa.ForeignKeyConstraint(["parent_id"], ["jobs.id"], name=op.f("fk_dependencies_parent_id")),
    )
    op.create_index("ix_dependencies_parent_id", "dependencies", ["parent_id"])


def _schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("structure", sa.String(64)),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("interval", sa.Float),
        sa.Column("cron", sa.Text),
        sa.Column("next", _moment(), nullable=False),
        sa.Column("left", sa.Integer),
        sa.Column("last_job", sa.String(32)),
        sa.Column("created", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
        sa.ForeignKeyConstraint(["structure"], ["structures.digest"], name=op.f("fk_schedules_structure")),
    )
    op.create_index("ix_schedules_next", "schedules", ["next"])
    op.create_index("ix_schedules_structure", "schedules", ["structure"])


def _moment() -> Any:
    return sa.DateTime(timezone=True).with_variant(sa.Text, "sqlite")


def _partial_index(name: str, column: str, where: str) -> None:
    op.create_index(name, "jobs", [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
