"""Corrections of parameters between attempts."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns; what is there stays as it is."""
    op.add_column("jobs", sa.Column("corrections", sa.Integer, nullable=False, server_default="5"))
    op.add_column("jobs", sa.Column("corrected", sa.Text))
    op.add_column("attempts", sa.Column("correction", sa.Text))
