"""Whose schema a database has: made if there is none, refused if it is another version's, upgraded on demand.

A new database gets its tables straight from `schema.metadata`; Alembic, which costs most of a second to import, is
loaded only to upgrade an old one. A test holds both ways to the same result.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, select, text

from nanoos_lab.core.errors import SchemaError
from nanoos_lab.store.connect import Database, database
from nanoos_lab.store.schema import HEAD, metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select, TextClause

#: Alembic's own table.
version_table = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
#: Names the lock that starters on PostgreSQL race for.
_LOCK = 0x6E616E6F6F73


def ensure(base: Database) -> None:
    """See that the database has this code's schema; make it if there is none.

    Raises
    ------
    SchemaError
        If the schema is another version's, or the tables are somebody else's.
    StoreError
        If the database does not answer.
    """
    if base.checked:
        return
    version = _peek(base)
    if version is None:
        with base.schema_change() as connection:
            _lock(connection)
            version = _read(connection) or _create(connection, base)
    _judge(version, base)
    base.checked = True


def migrate(url: str) -> None:
    """Bring the schema of a database up to this code's version; make it if there is none.

    Raises
    ------
    SchemaError
        If it is newer than this code.
    StoreError
        If the database does not answer.
    """
    from alembic import command
    from alembic.config import Config

    base = database(url)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with base.schema_change() as connection:
        _lock(connection)
        version = _read(connection)
        if version is not None and version > HEAD:
            _judge(version, base)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _peek(base: Database) -> str | None:
    """Read the version with one statement where it exists."""
    with base.autocommit() as work:
        if base.is_sqlite:
            work.run(_write_ahead)
        if not work.run(_has_version, base.is_sqlite):
            return None
        rows = work.run(_version)
        return rows[0][0] if rows else None


def _write_ahead() -> TextClause:
    """Write: keep a write-ahead log from now on, so that readers and the writer do not wait for each other."""
    return text("PRAGMA journal_mode = WAL")


def _has_version(is_sqlite: bool) -> TextClause:
    """Write: whether Alembic's table is there."""
    if is_sqlite:
        return text(f"SELECT 1 FROM sqlite_master WHERE name = '{version_table.name}'")  # noqa: S608
    return text(f"SELECT 1 WHERE to_regclass('{version_table.name}') IS NOT NULL")


def _version() -> Select[tuple[str]]:
    """Write: the version in Alembic's table."""
    return select(version_table.c.version_num)


def _read(connection: Connection) -> str | None:
    if not inspect(connection).has_table(version_table.name):
        return None
    return connection.scalar(select(version_table.c.version_num))


def _lock(connection: Connection) -> None:
    """Let one starter at a time pass; on SQLite the transaction itself is that lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def _create(connection: Connection, base: Database) -> str:
    foreign = sorted(set(metadata.tables) & set(inspect(connection).get_table_names()))
    if foreign:
        raise SchemaError(
            f"{base.shown} already holds tables that nanoos_lab did not make ({', '.join(foreign)}); "
            "give nanoos_lab a database of its own"
        )
    metadata.create_all(connection, checkfirst=False)
    version_table.create(connection, checkfirst=False)
    connection.execute(insert(version_table), {"version_num": HEAD})
    return HEAD


def _judge(version: str, base: Database) -> None:
    if version < HEAD:
        raise SchemaError(
            f"{base.shown} was made by an older nanoos_lab (schema {version}, this one needs {HEAD}); "
            "run: nanoos-lab migrate"
        )
    if version > HEAD:
        raise SchemaError(
            f"{base.shown} was made by a newer nanoos_lab (schema {version}, this one knows {HEAD}); "
            "run: pip install --upgrade nanoos-lab"
        )
