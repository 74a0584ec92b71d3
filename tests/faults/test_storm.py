"""Whatever is killed, stopped, flushed, doubled and cancelled: every job ends, once, with all of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nanoos_lab.broker import embedded
from nanoos_lab.worker.settings import Settings
from tests.faults.site import Redis, Site
from tests.faults.storm import Damage, run
from tests.fixtures.programs import program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fixtures.postgres import PostgresServer

    Note = Callable[[str, object], None]

JOBS, FAULTS = 150, 40


def stands(damage: Damage, record: Note) -> None:
    """Assert that nothing is wrong, and leave the figures in the report."""
    for name in ("faults", "ends", "attempts"):
        record(f"storm_{name}", dict(getattr(damage, name)))
    assert damage.wrong == []
    assert sum(damage.ends.values()) == JOBS
    assert sum(damage.faults.values()) == FAULTS
    # Most of what the storm did not kill on purpose has its results.
    assert damage.ends["succeeded"] > JOBS / 2


@pytest.mark.timeout(900)
def test_on_sqlite_and_a_valkey_that_keeps_a_log(tmp_path: Path, record_testsuite_property: Note) -> None:
    redis = Redis([embedded._program()], tmp_path / "redis", keeps=True)
    site = Site.open(tmp_path, redis, f"sqlite:///{tmp_path}/store.sqlite")
    stands(run(site, jobs=JOBS, faults=FAULTS, seed=20261125), record_testsuite_property)


@pytest.mark.timeout(900)
def test_with_the_lease_that_labs_have(tmp_path: Path) -> None:
    redis = Redis([embedded._program()], tmp_path / "redis", keeps=True)
    lease = Settings.model_fields["lease"].default
    site = Site.open(tmp_path, redis, f"sqlite:///{tmp_path}/store.sqlite", lease=lease)
    damage = run(site, jobs=40, faults=6, seed=20261127)
    assert damage.wrong == []
    assert (sum(damage.ends.values()), sum(damage.faults.values())) == (40, 6)


@pytest.mark.timeout(900)
def test_on_postgresql_and_a_redis_that_forgets(
    tmp_path: Path,
    postgres: PostgresServer,
    postgres_url: str,
    record_testsuite_property: Note,
) -> None:
    redis = Redis([program("redis-server", package="redis-server")], tmp_path / "redis", keeps=False)
    site = Site.open(tmp_path, redis, postgres_url)
    stands(run(site, jobs=JOBS, faults=FAULTS, seed=20261126, postgres=postgres), record_testsuite_property)
