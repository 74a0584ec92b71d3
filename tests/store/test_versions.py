"""Whose schema it is: made once, upgraded on demand, and refused when it is not ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from nanoos_lab.core.errors import SchemaError
from nanoos_lab.core.record import Segment
from nanoos_lab.core.request import FileRef
from nanoos_lab.core.resources import Limits, Resources
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.store import JobQuery, Orders, Store, migrate
from nanoos_lab.store.schema import HEAD, metadata
from tests.store.samples import HOLDER, submission

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Engine

    from nanoos_lab.core.record import JobRecord

RECORDED = Path(__file__).parents[1] / "recorded"


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


def migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", "nanoos_lab:store/migrations")
    return config


def load_first_store(engine: Engine) -> None:
    """Make the tables of schema 0001, and put into them what its code wrote."""
    config, rows = migrations(), (RECORDED / "store_0001.sql").read_text()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    driver: Any = engine.raw_connection().driver_connection
    if engine.dialect.name == "sqlite":
        driver.create_function("decode", 2, lambda text, _: bytes.fromhex(text))
        driver.executescript(rows)
    else:
        driver.execute("SET TIME ZONE 'UTC'")
        driver.execute(rows)
        driver.execute("SELECT setval(pg_get_serial_sequence('events', 'number'), (SELECT max(number) FROM events))")
    driver.commit()
    driver.close()
    engine.dispose()


def test_the_newest_migration_is_the_version_of_the_code() -> None:
    assert ScriptDirectory.from_config(migrations()).get_current_head() == HEAD


def test_a_migrated_schema_is_the_one_in_the_code(new_url: str, engine: Engine) -> None:
    migrate(new_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_new_database_gets_what_the_migrations_make(new_url: str, engine: Engine) -> None:
    migrate(new_url)
    migrated = describe(engine)
    for table in reversed([*metadata.sorted_tables, "alembic_version"]):
        run_sql(engine, f"DROP TABLE {table}")
    Store(new_url).count()
    engine.dispose()
    assert sorted(migrated) == sorted([*metadata.tables, "alembic_version"])
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
    assert [(starter.communicate(timeout=90)[1], starter.returncode) for starter in starters] == [("", 0)] * 3
    assert inspect(engine).has_table("jobs")


def test_the_usual_way_never_loads_alembic(sqlite_url: str) -> None:
    use = (
        "import sys; from nanoos_lab.store import Store; Store(sys.argv[1]).count(); "
        "assert 'alembic' not in sys.modules; assert 'psycopg' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", use, sqlite_url], check=True)


class TestTheFirstStore:
    @pytest.fixture
    def store(self, new_url: str, engine: Engine) -> Iterator[Store]:
        """A store that the code of schema 0001 has filled, after its migration."""
        load_first_store(engine)
        migrate(new_url)
        store = Store(new_url)
        yield store
        store.close()

    def test_it_is_refused_before_its_migration(self, new_url: str, engine: Engine) -> None:
        load_first_store(engine)
        with pytest.raises(SchemaError, match="nanoos-lab migrate"):
            Store(new_url).count()

    def test_its_schema_is_that_of_the_code_then(self, store: Store, engine: Engine) -> None:
        with engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []

    def test_every_job_is_read_as_it_was(self, store: Store) -> None:
        counts = {status: number for status, number in store.count().items() if number}
        assert counts == {
            Status.QUEUED: 3,
            Status.RUNNING: 2,
            Status.SUCCEEDED: 1,
            Status.FAILED: 2,
            Status.CANCELLED: 2,
        }
        for job in store.find(JobQuery()):
            assert store.request(job.id).key == job.key
            assert store.assignment(job.id).limits == Limits()
            assert (job.failures, job.lost, job.waits_for, job.paused, job.run_after) == (0, 0, 0, None, None)
            assert store.holder(job.id) == job
            assert store.events(job.id)[0].text == "queued"
            assert store.parents(job.id) == []

    def test_requests_and_results_are_whole(self, store: Store) -> None:
        script, done, failed = (one(store, name) for name in ("script", "succeeded", "failed"))
        request = store.request(script.id)
        assert (request.structure, request.resources) == (None, Resources(ranks=4))
        assert request.parameters == {"text": "units metal\nrun 0  # 'quoted' Å"}
        assert request.files == {"potential": FileRef(name="Cu_u3.eam", sha256="ab" * 32)}
        assert store.request(done.id).structure.natoms == 4
        assert done.scalars == {"energy": -3.5, "converged": True, "phase": "fcc"}
        assert store.attempts(done.id)[0].provenance == {"engine": "mock 1.0", "seed": 3}
        assert store.segments(done.id) == [Segment(attempt=1, last_step=None)]
        assert (failed.reason, failed.failure.remedy) == (Reason.ENGINE, "Use a smaller timestep.")
        assert failed.failure.message == "ERROR: Lost atoms\nLast command: run 100"
        assert [attempt.outcome for attempt in store.attempts(one(store, "failed, lost").id)] == ["lost", "failed"]

    def test_what_was_queued_runs_to_its_end(self, store: Store) -> None:
        for name in ("queued", "script", "queued again"):
            job = one(store, name)
            assert store.claim(job.id, job.attempt, HOLDER) is not None
            assert store.beat(job.id, job.attempt, step=3, total=10) == Orders(current=True, cancel=False)
            assert store.succeed(job.id, job.attempt, step=10, scalars={}, provenance={})
            assert store.attempts(job.id)[-1].last_step == 10
        assert store.events(one(store, "queued again").id)[-1].text == "succeeded"

    def test_what_ran_goes_on_under_its_worker(self, store: Store) -> None:
        job = one(store, "running")
        assert store.beat(job.id, 1, step=50, total=100) == Orders(current=True, cancel=False)
        assert store.succeed(job.id, 1, step=100, scalars={}, provenance={})

    def test_what_ran_is_offered_again_where_its_worker_is_gone(self, store: Store) -> None:
        store.expire()
        job = one(store, "running")
        assert (job.status, job.attempt, job.failures, job.lost) == (Status.QUEUED, 2, 1, 1)
        assert store.segments(job.id) == [Segment(attempt=1, last_step=40)]
        assert one(store, "running, to be cancelled").status is Status.CANCELLED

    def test_what_failed_can_be_retried(self, store: Store) -> None:
        for name, attempt in (("failed", 2), ("failed, lost", 3)):
            job = store.retry(one(store, name).id)
            assert (job.status, job.attempt) == (Status.QUEUED, attempt)
            assert store.claim(job.id, attempt, HOLDER) is not None

    def test_results_serve_equal_jobs(self, store: Store) -> None:
        done = one(store, "succeeded")
        request = store.request(done.id)
        item = submission()
        (job,) = store.add([type(item)(request=request, name="again", cache=True)])
        assert (job.status, job.cached_from) == (Status.SUCCEEDED, done.id)


def one(store: Store, name: str) -> JobRecord:
    """Return the one job of that name."""
    (found,) = store.find(JobQuery(name=name))
    return found
