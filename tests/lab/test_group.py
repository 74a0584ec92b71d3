"""A group says of many jobs what a job says of itself, with one question to the store."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from nanoos_lab.core.errors import InputError, JobCancelledError, JobError, JobFailedError, JobNotFoundError
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.group import Group
from nanoos_lab.lab.summary import Summary
from nanoos_lab.store.jobs import Store
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nanoos_lab.lab.lab import Lab

COPPER = bulk("Cu", cubic=True)
LATER = datetime.now(UTC) + timedelta(days=30)


def drafts(count: int, **options) -> list[Draft]:
    first = Draft(COPPER, **{"engine": "mock", "task": "md", "steps": 20, "every": 10, **options})
    return [first.but(seed=seed) for seed in range(1, count + 1)]


@pytest.fixture(scope="module")
def finished(lab: Lab) -> Group:
    return lab.submit_many(drafts(3)).wait(60)


@pytest.fixture
def thousand(lab: Lab) -> Iterator[Group]:
    group = lab.submit_many(drafts(1000, not_before=LATER))
    yield group
    group.cancel()


def test_it_is_a_sequence_of_jobs(lab: Lab, finished: Group) -> None:
    assert len(finished) == 3
    assert [job.id for job in finished] == list(finished.ids)
    assert finished[-1] == lab.load(finished.ids[2])
    assert finished[1:].ids == finished.ids[1:]
    assert finished[0] in finished


def test_the_jobs_and_their_results_are_tables_with_a_row_per_job(finished: Group) -> None:
    assert finished.jobs.index.tolist() == list(finished.ids)
    assert finished.jobs["status"].tolist() == ["succeeded"] * 3
    assert finished.results["energy"].tolist() == [job.results["energy"] for job in finished]
    assert finished.results.attrs["units"] == {"energy": "eV"}


def test_a_thousand_jobs_are_one_table_one_bar_and_one_question_to_the_store(thousand: Group, monkeypatch) -> None:
    asked: Counter[str] = Counter()
    for name in ("get", "get_many", "find", "request", "tally"):
        monkeypatch.setattr(Store, name, counted(name, getattr(Store, name), asked))
    for question, look in (
        ("tally", lambda: thousand.status["pending"] == 1000),
        ("tally", lambda: thousand.progress == 0.0),
        ("get_many", lambda: len(thousand.jobs) == 1000),
        ("get_many", lambda: len(thousand.results) == 1000),
        ("tally", lambda: "1000 pending" in thousand._repr_mimebundle_()["text/html"]),
        ("tally", lambda: str(thousand).endswith("1000 jobs: 1000 pending")),
        ("tally", lambda: not thousand.done()),
    ):
        asked.clear()
        assert look()
        assert asked == {question: 1}


def counted(name: str, method, asked: Counter[str]):
    def called(*args):
        asked[name] += 1
        return method(*args)

    return called


def test_cancel_ends_all_and_says_how_many(thousand: Group) -> None:
    assert thousand[:300].cancel() == 300
    assert thousand.cancel() == 700
    assert thousand.cancel() == 0
    assert thousand.wait(90).status["cancelled"] == 1000


def test_cancelling_many_costs_few_transactions(thousand: Group, monkeypatch) -> None:
    asked: Counter[str] = Counter()
    monkeypatch.setattr(Store, "cancel_many", counted("cancel_many", Store.cancel_many, asked))
    assert thousand.cancel() == 1000
    assert asked == {"cancel_many": 5}


def test_waiting_too_short_says_how_many_are_left(lab: Lab, finished: Group, thousand: Group) -> None:
    group = Group(lab, [*finished.ids, *thousand.ids])
    with pytest.raises(TimeoutError, match="1000 of 1003"):
        group.wait(0.1)


def test_waiting_for_more_jobs_than_are_watched_at_once(lab: Lab, monkeypatch) -> None:
    monkeypatch.setattr("nanoos_lab.lab.group._WATCHED", 4)
    group = lab.submit_many(drafts(10, duration=0.05))
    assert group.wait(60).status["succeeded"] == 10


def test_awaiting_a_group_leaves_the_event_loop_free(lab: Lab) -> None:
    async def both() -> Group:
        group = lab.submit_many(drafts(3, not_before=LATER))
        waiting = asyncio.ensure_future(_wait(group))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        # Nobody ends the jobs but what else runs in the loop.
        assert group.cancel() == 3
        return await waiting

    async def _wait(group: Group) -> Group:
        return await group

    # In a thread of its own: a browser that other tests have open keeps the main thread's event loop running.
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(lambda: asyncio.run(both())).result(60).done()


def test_what_follows_from_all_results_needs_all_results(lab: Lab, finished: Group) -> None:
    assert [record.id for record in finished.succeeded()] == list(finished.ids)
    failed = lab.submit(COPPER, engine="mock", task="md", steps=10, fail_at=5).wait(60)
    waiting = lab.submit(COPPER, engine="mock", task="md", steps=10, not_before=LATER)
    with pytest.raises(JobError, match="1 of 4 jobs have not ended"):
        Group(lab, [*finished.ids, waiting.id]).succeeded()
    with pytest.raises(JobFailedError, match=failed.id):
        Group(lab, [waiting.id, failed.id]).succeeded()
    waiting.cancel()
    with pytest.raises(JobCancelledError, match=waiting.id):
        Group(lab, [waiting.id]).succeeded()


def test_a_job_that_does_not_exist_is_named(lab: Lab) -> None:
    with pytest.raises(JobNotFoundError, match="no job"):
        _ = Group(lab, ["0" * 32]).status


def test_the_bar_shows_what_has_ended_how_and_what_is_done_of_the_rest(lab: Lab, finished: Group) -> None:
    failed = lab.submit(COPPER, engine="mock", task="md", steps=10, fail_at=5).wait(60)
    summary = Summary.of([*finished.records, failed.record])
    assert (summary.progress, summary.words) == (1.0, "4 jobs: 3 succeeded, 1 failed")
    assert summary.text == "█" * 30 + " 100%  4 jobs: 3 succeeded, 1 failed"
    assert summary.html.count("width:75.00%") == summary.html.count("width:25.00%") == 1
    assert repr(finished) == "<Group of 3 jobs>"


def test_a_thousand_jobs_rest_and_go_on_by_few_transactions(thousand: Group, monkeypatch) -> None:
    asked: Counter[str] = Counter()
    for name in ("pause_many", "resume_many"):
        monkeypatch.setattr(Store, name, counted(name, getattr(Store, name), asked))
    assert thousand[:10].cancel() == 10
    assert thousand.pause() == 990
    assert {record.paused is not None for record in thousand[10:].records} == {True}
    assert thousand[:500].resume() == 490
    assert thousand.resume() == 500
    assert thousand.resume() == 0
    assert {record.paused for record in thousand.records} == {None}
    assert asked == {"pause_many": 1, "resume_many": 2}


def test_a_run_of_a_group_stands_still_until_the_group_goes_on(lab: Lab) -> None:
    group = lab.submit_many(drafts(3, steps=2000, duration=20.0))
    until(lambda: group.status["running"] > 0)
    assert group.pause() == 3
    assert all(job.paused for job in group)
    assert group.status["queued"] == 0
    assert group.resume() == 3
    until(lambda: group.status["running"] > 0)
    assert group.cancel() == 3
    assert group.wait(90).status["cancelled"] == 3


def test_the_failed_jobs_of_a_group_are_tried_again(lab: Lab, finished: Group) -> None:
    failing = lab.submit_many(drafts(2, duration=1.0, limits={"hard": 0.2})).wait(60)
    assert failing.status["failed"] == 2
    group = Group(lab, [*finished.ids, *failing.ids])
    assert group.retry(limits={"hard": 60}) is group
    assert group.wait(60).status["succeeded"] == 5
    assert [job.record.attempt for job in group] == [1, 1, 1, 2, 2]
    assert group.retry().done()


def test_a_group_is_deleted_whole_or_not_at_all(lab: Lab) -> None:
    group = lab.submit_many(drafts(2)).wait(60)
    waiting = lab.submit(COPPER, engine="mock", task="md", steps=10, not_before=LATER)
    with pytest.raises(InputError, match="only jobs that have ended are deleted"):
        Group(lab, [*group.ids, waiting.id]).delete()
    assert group.status["succeeded"] == 2
    assert len(group.delete().jobs) == 2
    with pytest.raises(JobNotFoundError):
        _ = group.status
    waiting.cancel()


def test_the_foremost_jobs_of_a_small_group_are_all_in_their_order(lab: Lab, finished: Group, thousand: Group) -> None:
    assert [record.id for record in finished.foremost(3)] == list(finished.ids)
    mixed = Group(lab, [finished.ids[2], *thousand.ids, finished.ids[0]])
    assert [record.id for record in mixed.foremost(20)] == list(thousand.ids[:20])
