"""Alembic's migrations; loaded only by `nanoos_lab.store.versions.migrate`."""
