"""Ended jobs are deleted from a shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from nanoos_lab.store.schema import clock, jobs
from tests.cli.command import OURS, Cli
from tests.store.samples import HOLDER, submission

if TYPE_CHECKING:
    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.lab.lab import Lab
    from nanoos_lab.store import Store


@pytest.fixture
def prune(own_lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line on a lab of the test's own, which does not run."""
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NANOOS_HOME", str(own_lab.settings.home))
    monkeypatch.setenv("COLUMNS", "200")
    return Cli(monkeypatch, capsys)


@pytest.fixture
def store(own_lab: Lab) -> Store:
    return own_lab.services.store


@pytest.fixture
def old(own_lab: Lab, store: Store) -> JobRecord:
    """A job that succeeded 40 days ago and has left a file of 5000 bytes."""
    (job,) = store.add([submission("old one")])
    store.claim(job.id, 1, HOLDER)
    (own_lab.services.artifacts.attempt_dir(job.id, 1) / "dump").write_bytes(b"x" * 5000)
    store.succeed(job.id, 1, step=10, scalars={}, provenance={})
    with store._writing() as work:
        work.query(update(jobs).where(jobs.c.id == job.id).values(ended=clock(-40 * 86_400.0)))
    return store.get(job.id)


def test_unless_told_to_it_only_shows_what_would_go(prune: Cli, store: Store, old: JobRecord) -> None:
    answer = prune("prune", "--older-than", "30d")
    assert old.id in answer.out
    assert "5.0 kB" in answer.out
    assert "would go: 1 job, 5.0 kB" in answer.err
    assert store.get(old.id) == old
    assert "would go" in prune("prune", old.id, "--dry-run").err


def test_yes_deletes(prune: Cli, own_lab: Lab, store: Store, old: JobRecord) -> None:
    assert "deleted: 1 job, 5.0 kB" in prune("prune", "--older-than", "30d", "--yes").err
    assert store.get_many([old.id]) == {}
    assert own_lab.services.artifacts.attempt_dirs(old.id) == []


def test_what_is_not_old_or_of_another_status_stays(prune: Cli, store: Store, old: JobRecord) -> None:
    assert "deleted: 0 jobs" in prune("prune", "--older-than", "50d", "--yes").err
    assert "deleted: 0 jobs" in prune("prune", "--older-than", "30d", "--status", "failed,cancelled", "--yes").err
    assert store.get(old.id) == old


def test_a_script_reads_what_goes_and_what_stays(prune: Cli, store: Store, old: JobRecord) -> None:
    (equal,) = store.add([submission("equal", cache=True)])
    found = prune("prune", "--older-than", "30d", "--json").json()
    assert found == {"deleted": False, "bytes": 0, "jobs": [], "kept": {old.id: equal.id}}
    assert f"{old.id} stays" in prune("prune", "--older-than", "30d").err

    found = prune("prune", old.id, equal.id, "--yes", "--json").json()
    assert (found["deleted"], found["bytes"]) == (True, 5000)
    assert sorted(job["name"] for job in found["jobs"]) == ["equal", "old one"]


def test_results_can_be_kept(prune: Cli, own_lab: Lab, store: Store, old: JobRecord) -> None:
    place = own_lab.services.artifacts.attempt_dir(old.id, 1)
    (place / "results.json").write_text("{}")
    assert "deleted: 1 job, 5.0 kB" in prune("prune", "--older-than", "30d", "--keep-results", "--yes").err
    assert [path.name for path in place.iterdir()] == ["results.json"]
    assert store.get(old.id) == old


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "--older-than"),
        (("--older-than", "long"), 2, "30d"),
        (("--older-than", "30d", "--status", "runing"), 1, "succeeded"),
        (("--older-than", "30d", "--status", "running"), 1, "succeeded"),
        (("ffffffff", "--older-than", "30d"), 2, "ids go without"),
        (("ffffffff", "--yes"), 1, "no job 'ffffffff'"),
    ],
)
def test_a_wrong_wish_deletes_nothing(
    prune: Cli, store: Store, old: JobRecord, arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert says in prune("prune", *arguments, code=code).err
    assert store.get(old.id) == old


def test_a_job_that_has_not_ended_is_not_deleted(prune: Cli, store: Store, old: JobRecord) -> None:
    (waiting,) = store.add([submission("waiting")])
    (line,) = prune("prune", old.id, waiting.id, "--yes", code=1).err.splitlines()
    assert "is queued" in line
    assert len(store.get_many([old.id, waiting.id])) == 2
