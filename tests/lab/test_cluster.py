"""The same API on a cluster's services: PostgreSQL and Redis by two URLs, workers that others start."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from ase.build import bulk

from nanoos_lab.core.errors import BrokerError, InputError, ParameterError, SettingsError, StoreError
from nanoos_lab.core.resources import cores
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.lab import Lab
from nanoos_lab.store.records import delivery
from nanoos_lab.worker.settings import Settings
from tests.processes import kill_tree
from tests.waiting import quickest, until

if TYPE_CHECKING:
    from collections.abc import Iterator

COPPER = bulk("Cu", cubic=True)
RQ = str(Path(sys.executable).with_name("rq"))
QUEUES = ["high_priority", "simulations", "default"]
CLASSES = {
    "plain": {},
    "ours": {"RQ_WORKER_CLASS": "nanoos_lab.worker.rq_worker.NanoosWorker"},
    # One process for everything, for debugging.
    "simple": {"RQ_WORKER_CLASS": "rq.SimpleWorker"},
}


@pytest.fixture
def settings(postgres_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings.load(
        redis_url=redis_url, database_url=postgres_url, artifacts_url=str(tmp_path / "shared"), home=tmp_path / "home"
    )


@pytest.fixture
def cluster(settings: Settings) -> Iterator[Lab]:
    with Lab(settings) as lab:
        yield lab


@pytest.fixture(params=CLASSES)
def worker(request: pytest.FixtureRequest, settings: Settings, redis_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """What a site starts on its nodes."""
    environment = os.environ | settings.environment() | {"RQ_REDIS_URL": redis_url} | CLASSES[request.param]
    process = subprocess.Popen([RQ, "worker", *QUEUES], env=environment)
    yield process
    kill_tree(psutil.Process(process.pid))
    process.wait(90)


def test_a_worker_that_the_site_starts_runs_our_jobs(cluster: Lab, worker: subprocess.Popen[bytes]) -> None:
    first, job = (cluster.submit(COPPER, engine="mock", task="md", steps=100, every=10, seed=seed) for seed in (1, 2))

    assert first.wait(60).status == job.wait(60).status == "succeeded"
    assert len(job.trajectory) == 11
    assert cluster.settings.home.exists() is False
    assert worker.poll() is None


def test_a_chain_of_jobs_runs_on_the_cluster_too(cluster: Lab, worker: subprocess.Popen[bytes]) -> None:
    relax = Draft(COPPER, engine="mock", task="relax", fmax=0.001)
    md = Draft(relax, engine="mock", task="md", steps=10, every=10)
    parent, child, bad = cluster.submit_many([relax, md, md.but(fail_at=5)]).wait(60)

    assert [job.status for job in (parent, child, bad)] == ["succeeded", "succeeded", "failed"]
    assert (child.trajectory[0].positions == parent.structure.positions).all()


def test_a_running_job_is_cancelled_over_the_cluster_too(cluster: Lab, worker: subprocess.Popen[bytes]) -> None:
    job = cluster.submit(COPPER, engine="mock", task="md", steps=100, every=10, duration=60.0)
    until(lambda: len(job.thermo) > 0)
    job.cancel()
    assert job.wait(90).status == "cancelled"
    assert worker.poll() is None


@pytest.mark.parametrize("worker", ["ours"], indirect=True)
def test_more_than_any_worker_has_is_refused(cluster: Lab, worker: subprocess.Popen[bytes]) -> None:
    until(lambda: cluster.services.queue.workers())
    says = rf"the best worker of queue 'simulations', on .* has {cores()} cores"
    with pytest.raises(ParameterError, match=says):
        cluster.submit(COPPER, engine="mock", task="md", steps=1, resources={"gpus": 10_000})
    with pytest.raises(ParameterError, match=says):
        cluster.submit(COPPER, engine="lammps", task="static", potential="Cu_u3.eam", resources={"ranks": 10_000})
    assert len(cluster.jobs()) == 0


@pytest.mark.parametrize("worker", ["plain"], indirect=True)
def test_what_a_worker_has_that_does_not_say_is_not_guessed(cluster: Lab, worker: subprocess.Popen[bytes]) -> None:
    until(lambda: cluster.services.queue.workers())
    job = cluster.submit(COPPER, engine="mock", task="md", steps=1, resources={"gpus": 10_000})
    assert job.cancel()


def test_without_a_worker_the_job_says_which_command_starts_one(cluster: Lab) -> None:
    job = cluster.submit(COPPER, engine="mock", task="md", steps=1)
    assert "no worker listens on queue 'simulations'" in job.warning
    assert "nanoos-lab worker" in job.warning
    assert job.cancel()
    assert job.wait(90).status == "cancelled"
    assert job.warning is None


def test_a_queued_job_that_is_cancelled_leaves_the_queue(cluster: Lab) -> None:
    job = cluster.submit(COPPER, engine="mock", task="md", steps=1)
    assert cluster.services.queue.depths()["simulations"] == 1
    job.cancel()
    assert cluster.services.queue.depths()["simulations"] == 0


def test_a_group_that_rests_leaves_the_queue_until_it_goes_on(cluster: Lab) -> None:
    md = Draft(COPPER, engine="mock", task="md", steps=10, ensemble="nvt", temperature=300.0)
    group = cluster.submit_many([md.but(seed=seed) for seed in (1, 2, 3)])

    def waiting() -> int:
        return cluster.services.queue.depths()["simulations"]

    assert waiting() == 3
    assert (group.pause(), waiting()) == (3, 0)
    assert group.steer(temperature=600)["steering"].tolist() == [1, 1, 1]
    assert waiting() == 0
    assert (group[:2].resume(), waiting()) == (2, 2)
    assert (group.resume(), waiting()) == (1, 3)
    assert (group.cancel(), waiting()) == (3, 0)


@pytest.mark.parametrize(
    ("gone", "error"),
    [
        ({"redis_url": "redis://127.0.0.1:1/0"}, BrokerError),
        ({"database_url": "postgresql://127.0.0.1:1/x"}, StoreError),
    ],
)
def test_a_server_that_is_down_is_said_within_three_seconds_and_nothing_is_stored(
    settings: Settings, gone: dict[str, str], error: type[Exception]
) -> None:
    urls = {
        "redis_url": settings.redis_url.get_secret_value(),
        "database_url": settings.database_url.get_secret_value(),
    }
    broken = Settings.load(artifacts_url=settings.artifacts_url, home=settings.home, **(urls | gone))
    with Lab(broken) as lab:

        def seconds() -> float:
            begun = time.monotonic()
            with pytest.raises(error, match=r"127\.0\.0\.1"):
                lab.submit(COPPER, engine="mock", task="md", steps=1)
            return time.monotonic() - begun

        assert quickest(seconds, limit=4.0) < 4.0
    with Lab(settings) as lab:
        assert len(lab.jobs()) == 0


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"redis_url": "redis://x"}, "DATABASE_URL"),
        ({"database_url": "postgresql://x"}, "REDIS_URL"),
        ({"redis_url": "redis://x", "database_url": "postgresql://x"}, "NANOOS_ARTIFACTS_URL"),
        ({"log_level": "LOUD"}, "LOG_LEVEL"),
        ({"concurrency": 0}, "WORKER_CONCURRENCY"),
    ],
)
def test_settings_that_cannot_work_name_what_is_missing(values: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        Settings.load(**values)


def test_secrets_are_not_shown(settings: Settings) -> None:
    secret = Settings.load(redis_url="redis://:hunter2@x", database_url="postgresql://u:hunter2@x", artifacts_url="/x")
    assert "hunter2" not in repr(secret)
    assert secret.environment()["REDIS_URL"] == "redis://:hunter2@x"


def test_a_bad_request_is_refused_before_any_service_is_asked(settings: Settings) -> None:
    broken = Settings.load(
        redis_url="redis://127.0.0.1:1/0", database_url="postgresql://127.0.0.1:1/x", artifacts_url="/nowhere"
    )
    with Lab(broken) as lab, pytest.raises(InputError, match="steps"):
        lab.submit(COPPER, engine="mock", task="md", step=1, steps=1)


def test_calculators_by_name_are_free_at_home_and_listed_on_a_cluster(settings: Settings, tmp_path: Path) -> None:
    assert Settings.load(home=tmp_path).policy.calculators is None
    assert settings.policy.calculators == ()
    listed = Settings.load(home=tmp_path, calculators="a.b:C, d:E")
    assert listed.policy.calculators == ("a.b:C", "d:E")


def test_what_a_cancel_frees_is_offered_at_once(cluster: Lab) -> None:
    """Where no worker runs yet, nobody else would do it."""
    later = datetime.now(UTC) + timedelta(days=1)
    parent = cluster.submit(COPPER, engine="mock", task="md", steps=10, not_before=later)
    child = cluster.submit(COPPER, engine="mock", task="md", steps=10, after=parent, after_failure="run")
    assert child.status == "pending"
    assert parent.cancel()
    assert child.status == "queued"
    assert cluster.services.queue.held([delivery(child.record)]) == {f"{child.id}_1"}
