"""Whose schema it is: made once, upgraded on demand, and refused when it is not ours."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from nanoos_lab.core.errors import SchemaError
from nanoos_lab.store import Store, migrate
from nanoos_lab.store.schema import HEAD, metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Engine


@pytest.fixture
def engine(new_url: str, tmp_path: Path) -> Iterator[Engine]:
    (tmp_path / "store").mkdir(exist_ok=True)
    engine = create_engine(new_url)
    yield engine
    engine.dispose()


def describe(engine: Engine) -> dict[str, Any]:
    """All that the database says of its tables, without the order in which it says it."""
    found = inspect(engine)
    return {
        table: {
            "columns": [plain(column) for column in found.get_columns(table)],
            "key": plain(found.get_pk_constraint(table)),
            "foreign keys": sorted(map(plain, found.get_foreign_keys(table))),
            "checks": sorted(map(plain, found.get_check_constraints(table))),
            "indexes": sorted(map(plain, found.get_indexes(table))),
        }
        for table in found.get_table_names()
    }


def plain(found: Mapping[str, Any]) -> str:
    return json.dumps(found, default=str, sort_keys=True)


def run_sql(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_the_newest_migration_is_the_version_of_the_code() -> None:
    config = Config()
    config.set_main_option("script_location", "nanoos_lab:store/migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_a_migrated_schema_is_the_one_in_the_code(new_url: str, engine: Engine) -> None:
    migrate(new_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_new_database_gets_what_the_migrations_make(new_url: str, engine: Engine) -> None:
    migrate(new_url)
    migrated = describe(engine)
    run_sql(engine, "DROP TABLE events")
    for table in ("attempts", "jobs", "structures", "alembic_version"):
        run_sql(engine, f"DROP TABLE {table}")
    Store(new_url).count()
    engine.dispose()
    assert sorted(migrated) == ["alembic_version", "attempts", "events", "jobs", "structures"]
    assert describe(engine) == migrated


def test_migrating_twice_changes_nothing(new_url: str, engine: Engine) -> None:
    migrate(new_url)
    before = describe(engine)
    migrate(new_url)
    assert describe(engine) == before
    assert sum(Store(new_url).count().values()) == 0


def test_a_schema_of_an_older_version_names_the_command(new_url: str, engine: Engine) -> None:
    migrate(new_url)
    run_sql(engine, "UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(SchemaError, match=r"older.*nanoos-lab migrate"):
        Store(new_url).count()


def test_a_schema_of_a_newer_version_says_to_upgrade(new_url: str, engine: Engine) -> None:
    migrate(new_url)
    run_sql(engine, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match=r"newer.*upgrade nanoos-lab"):
        Store(new_url).count()
    with pytest.raises(SchemaError, match="newer"):
        migrate(new_url)


def test_tables_of_somebody_else_are_left_alone(new_url: str, engine: Engine) -> None:
    run_sql(engine, "CREATE TABLE jobs (id INTEGER)")
    with pytest.raises(SchemaError, match="a database of its own"):
        Store(new_url).count()
    assert inspect(engine).get_table_names() == ["jobs"]


def test_racing_starters_make_one_schema(new_url: str, engine: Engine) -> None:
    start = "import sys; from nanoos_lab.store import Store; Store(sys.argv[1]).count()"
    starters = [
        subprocess.Popen([sys.executable, "-c", start, new_url], stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [(starter.communicate(timeout=60)[1], starter.returncode) for starter in starters] == [("", 0)] * 3
    assert inspect(engine).has_table("jobs")


def test_the_usual_way_never_loads_alembic(sqlite_url: str) -> None:
    use = (
        "import sys; from nanoos_lab.store import Store; Store(sys.argv[1]).count(); "
        "assert 'alembic' not in sys.modules; assert 'psycopg' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", use, sqlite_url], check=True)
