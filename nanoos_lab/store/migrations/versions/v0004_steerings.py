"""Changes of parameters of jobs on their way."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and a table; what is there stays as it is."""
    op.add_column("jobs", sa.Column("steerings", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("varied", sa.Integer, nullable=False, server_default="0"))
    op.create_table(
        "steerings",
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("changes", sa.Text, nullable=False),
        sa.Column("asked", _moment(), nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("step", sa.BigInteger),
        sa.Column("attempt", sa.Integer),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_steerings")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_steerings_job_id")),
    )


def _moment() -> Any:
    return sa.DateTime(timezone=True).with_variant(sa.Text, "sqlite")
