"""What every store must keep when several processes change it at the same moment."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from ase import Atoms

from nanoos_lab.core.record import Failure
from nanoos_lab.core.request import Dependency
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.core.structures import Structure
from nanoos_lab.store import Holder, Store
from tests.store.samples import submission
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    OpenStore = Callable[..., Store]

HOLDER = Holder(worker="racer", host="here", pid=1)
BROKEN = Failure(reason=Reason.ENGINE, message="broken")
#: A lease that is over as soon as it begins.
OVER = -1.0
HOT = {"temperature": 900.0}
#: How often two meet.
TIMES = 40


def race(url: str, *racers: tuple[Callable[[Store, Any], Any], Sequence[Any]]) -> list[list[Any]]:
    """Do something with each of some things in a process for each racer: all with the first, then all with the second.

    Returns
    -------
    list of list
        What was returned for each thing, by racer.
    """
    fork = multiprocessing.get_context("fork")
    barrier, results = fork.Barrier(len(racers)), fork.SimpleQueue()
    processes = [
        fork.Process(target=_run, args=(url, barrier, results, number, *racer)) for number, racer in enumerate(racers)
    ]
    for process in processes:
        process.start()
    returned = dict(results.get() for _ in processes)
    for process in processes:
        process.join(90)
        assert process.exitcode == 0
    return [returned[number] for number in range(len(racers))]


def _run(
    url: str, barrier: Any, results: Any, number: int, act: Callable[[Store, Any], Any], things: Sequence[Any]
) -> None:
    store = Store(url)
    store.count()
    returned: list[Any] = []
    for thing in things:
        barrier.wait(90)
        try:
            returned.append(act(store, thing))
        except Exception as error:
            returned.append(repr(error))
    results.put((number, returned))
    store.close()


def add_running(store: Store) -> list[str]:
    """Add running jobs."""
    jobs = [record.id for record in store.add([submission() for _ in range(TIMES)])]
    for job_id in jobs:
        assert store.claim(job_id, 1, HOLDER) is not None
    return jobs


def add_leaders(store: Store) -> list[str]:
    """Add running jobs for whose results equal ones can wait."""
    leaders = [add_equal(store, number) for number in range(TIMES)]
    for job_id in leaders:
        assert store.claim(job_id, 1, HOLDER) is not None
    return leaders


def add_child(store: Store, parents: Sequence[str]) -> str:
    return store.add([submission(after=tuple(Dependency(parent=one) for one in parents))])[0].id


def add_equal(store: Store, number: int) -> str:
    """Add a job for which the results of another one of this number will do."""
    return store.add([submission(cache=True, parameters={"number": number})])[0].id


def add_batch(store: Store, structures: Sequence[Structure]) -> int:
    return len(store.add([submission(structure=one) for one in structures]))


def succeed(store: Store, job_id: str) -> bool:
    return store.succeed(job_id, 1, step=1, scalars={}, provenance={})


def fail(store: Store, job_id: str) -> bool:
    return store.fail(job_id, 1, BROKEN) is not None


def cancel(store: Store, job_id: str) -> str:
    return store.cancel(job_id).id


def expire(store: Store, most: int) -> list[str]:
    return [record.id for record in store.expire(limit=most)]


def times_queued(store: Store, job_id: str) -> int:
    return sum(event.text == "queued" for event in store.events(job_id))


def statuses(store: Store, ids: Sequence[str]) -> set[Status]:
    return {record.status for record in store.get_many(ids).values()}


def test_two_parents_that_end_at_the_same_moment_queue_their_child_once(store: Store, database_url: str) -> None:
    left, right = add_running(store), add_running(store)
    children = [add_child(store, parents) for parents in zip(left, right, strict=True)]
    assert race(database_url, (succeed, left), (succeed, right)) == [[True] * TIMES] * 2
    assert statuses(store, children) == {Status.QUEUED}
    assert {times_queued(store, child) for child in children} == {1}


def test_a_parent_that_fails_beside_one_that_succeeds_cancels_the_child(store: Store, database_url: str) -> None:
    good, bad = add_running(store), add_running(store)
    children = [add_child(store, parents) for parents in zip(good, bad, strict=True)]
    assert race(database_url, (succeed, good), (fail, bad)) == [[True] * TIMES] * 2
    assert statuses(store, children) == {Status.CANCELLED}


def test_a_child_that_is_added_while_its_parent_ends_does_not_wait_for_ever(store: Store, database_url: str) -> None:
    parents = add_running(store)
    children, _ = race(database_url, (add_child, [[parent] for parent in parents]), (succeed, parents))
    assert statuses(store, parents) == {Status.SUCCEEDED}
    assert statuses(store, children) == {Status.QUEUED}


def test_a_job_that_joins_while_the_equal_one_ends_does_not_wait_for_ever(store: Store, database_url: str) -> None:
    leaders = add_leaders(store)
    joined, _ = race(database_url, (add_equal, range(TIMES)), (succeed, leaders))
    assert statuses(store, joined) == {Status.SUCCEEDED}
    assert [store.get(job_id).cached_from for job_id in joined] == leaders


def test_a_job_that_joins_while_the_equal_one_fails_does_not_wait_for_ever(store: Store, database_url: str) -> None:
    leaders = add_leaders(store)
    joined, _ = race(database_url, (add_equal, range(TIMES)), (fail, leaders))
    assert statuses(store, leaders) == {Status.FAILED}
    assert statuses(store, joined) == {Status.QUEUED}


def test_equal_jobs_that_are_added_at_the_same_moment_run_once(store: Store, database_url: str) -> None:
    store.count()
    added = race(database_url, *[(add_equal, range(TIMES))] * 3)
    for same in (list(store.get_many(ids).values()) for ids in zip(*added, strict=True)):
        (leader,) = (record.id for record in same if record.status is Status.QUEUED)
        assert {record.cached_from for record in same} == {None, leader}


def test_the_last_to_want_a_run_may_cancel_at_the_moment_when_it_ends(store: Store, database_url: str) -> None:
    leaders = add_leaders(store)
    joined = [add_equal(store, number) for number in range(TIMES)]
    assert race(database_url, (cancel, joined), (succeed, leaders)) == [joined, [True] * TIMES]
    assert statuses(store, leaders) == {Status.SUCCEEDED}
    assert statuses(store, joined) <= {Status.SUCCEEDED, Status.CANCELLED}


def test_structures_may_be_added_in_any_order_at_the_same_moment(store: Store, database_url: str) -> None:
    store.count()
    batches = [
        [Structure.encode(Atoms(symbol, cell=[edge] * 3)) for symbol in ("H", "He", "Li", "Be")]
        for edge in range(1, TIMES + 1)
    ]
    turned = [batch[::-1] for batch in batches]
    assert race(database_url, (add_batch, batches), (add_batch, turned)) == [[4] * TIMES] * 2


def test_reconcilers_side_by_side_take_each_lost_attempt_once(open_store: OpenStore, database_url: str) -> None:
    jobs = add_running(open_store(lease=OVER))
    taken = race(database_url, *[(expire, [5] * TIMES)] * 3)
    assert sorted(itertools.chain(*itertools.chain(*taken))) == sorted(jobs)
    assert {record.attempt for record in open_store().get_many(jobs).values()} == {2}


def test_a_deadlock_is_undone_and_the_change_made_again(postgres_url: str) -> None:
    store = Store(postgres_url)
    leader, joined = (record.id for record in store.add([submission(cache=True)] * 2))
    assert store.claim(leader, 1, HOLDER) is not None
    with locked(postgres_url, joined) as connection:
        results: list[bool] = []
        arguments = {"step": 1, "scalars": {}, "provenance": {}}
        ending = threading.Thread(target=lambda: results.append(store.succeed(leader, 1, **arguments)))
        ending.start()
        until(lambda: waiters(postgres_url) == 1, what="the end of the leader waits for the joined job")
        # It waits for us and we for it: PostgreSQL ends the one that has waited for longer.
        connection.execute("SELECT 1 FROM jobs WHERE id = %s FOR UPDATE", [leader])
    ending.join(90)
    assert results == [True]
    assert store.get(joined).status is Status.SUCCEEDED
    store.close()


@contextmanager
def locked(url: str, job_id: str) -> Iterator[psycopg.Connection[Any]]:
    """Hold the row of a job, in a transaction that changes nothing."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT 1 FROM jobs WHERE id = %s FOR UPDATE", [job_id])
        yield connection
        connection.rollback()


def waiters(url: str) -> int:
    """How many statements of the database wait for a lock."""
    with psycopg.connect(url, autocommit=True) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return connection.execute(query).fetchone()[0]


def test_many_that_are_paused_steered_and_cancelled_at_once_end_cancelled(store: Store, database_url: str) -> None:
    """They are named in different orders, and locked in one: none waits for another that waits for it."""
    groups = [[record.id for record in store.add([submission() for _ in range(10)])] for _ in range(TIMES)]
    returned = race(
        database_url,
        (lambda racer, ids: len(racer.pause_many(ids)), groups),
        (lambda racer, ids: len(racer.steer_many(dict.fromkeys(ids[::-1], HOT))) in (0, 10), groups),
        (lambda racer, ids: len(racer.cancel_many(ids[::-1])), groups),
    )
    assert returned == [[10] * TIMES, [True] * TIMES, [10] * TIMES]
    found = store.get_many([job_id for ids in groups for job_id in ids]).values()
    assert {(record.status, record.paused) for record in found} == {(Status.CANCELLED, None)}
