"""Following an engine whatever it does."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nanoos_lab.broker.live import LiveWriter, writing
from nanoos_lab.core.errors import StoreError
from nanoos_lab.core.record import Assignment
from nanoos_lab.core.request import JobRequest
from nanoos_lab.core.resources import Limits
from nanoos_lab.store.records import Orders
from nanoos_lab.worker import pipe
from nanoos_lab.worker.clocks import now
from nanoos_lab.worker.following import EndOfRun, Follower
from nanoos_lab.worker.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path

    from redis import Redis

    from nanoos_lab.worker.nursery import EngineProcess, Nursery

JOB = "0" * 32
NUMBERS = np.arange(50_000)
#: Seconds of a lease; how much earlier a lease was asked for than its renewal was answered, at most.
LEASE, EARLY = 3.0, 0.2
#: Seconds for which an engine may be quiet; for which it writes to a file.
PATIENCE, WRITING = 4.0, 10.0
#: Leases that an engine waits for.
LEASES = 4


def test_an_engine_that_stands_still_in_the_middle_of_a_message_is_heard_to_the_end(
    nursery_of: Callable[..., Nursery], broker: Redis, tmp_path: Path
) -> None:
    """As one does that is paused, for it is so wherever it is; the lease is renewed meanwhile."""
    engine = nursery_of(_wait_half_way).engine()
    engine.pipe.send_bytes(b"go")
    end = _followed(engine, LiveWriter(writing(broker), JOB, 1), tmp_path, lease=LEASE)
    assert end.message is not None
    assert end.message.kind == "done"
    np.testing.assert_array_equal(end.message.arrays["numbers"], NUMBERS)


def test_an_engine_is_told_of_a_longer_lease_before_the_one_that_it_knows_is_over(
    nursery_of: Callable[..., Nursery], broker: Redis, tmp_path: Path
) -> None:
    engine = nursery_of(_hear_leases).engine()
    engine.pipe.send_bytes(b"go")
    end = _followed(engine, LiveWriter(writing(broker), JOB, 1), tmp_path, lease=LEASE)
    assert end.message is not None
    assert len(end.message.fields["left"]) == LEASES - 1
    assert min(end.message.fields["left"]) > 0


def test_while_the_store_is_away_an_engine_knows_of_all_of_its_lease(
    nursery_of: Callable[..., Nursery], broker: Redis, tmp_path: Path
) -> None:
    """Of a renewal that it needed not know of, too."""
    engine = nursery_of(partial(_note_leases, tmp_path / "leases")).engine()
    engine.pipe.send_bytes(b"go")
    renewed = []

    def beat() -> Orders:
        if renewed:
            raise StoreError("the database does not answer")
        renewed.append(now())
        return Orders(current=True, cancel=False)

    end = _followed(engine, LiveWriter(writing(broker), JOB, 1), tmp_path, beat, lease=LEASE)
    assert end.message is None
    first, *_, last = map(float, (tmp_path / "leases").read_text().split())
    assert first < renewed[0] + LEASE - EARLY
    assert last > renewed[0] + LEASE - EARLY


def test_an_engine_that_only_writes_files_is_heard_until_it_writes_no_more(
    nursery_of: Callable[..., Nursery], broker: Redis, tmp_path: Path
) -> None:
    """As a program does that a calculator of the user's own runs."""
    engine = nursery_of(partial(_write_and_hang, tmp_path / "work" / "calculation")).engine()
    (tmp_path / "work" / "calculation").mkdir(parents=True)
    engine.pipe.send_bytes(b"go")
    end = _followed(engine, LiveWriter(writing(broker), JOB, 1), tmp_path, lease=LEASE)
    assert (end.cause, end.patience) == ("silence", PATIENCE)
    assert end.ran > WRITING + PATIENCE
    assert len((tmp_path / "work" / "calculation" / "program.out").read_text().split()) == WRITING / 0.1


@pytest.mark.parametrize(
    ("hard", "least", "most"), [(None, 300.0, 300.0), (100.0, 90.0, 99.5), (3600.0, 3590.0, 3599.5)]
)
def test_at_its_soft_limit_a_run_has_until_the_hard_one(
    nursery_of: Callable[..., Nursery], broker: Redis, tmp_path: Path, hard: float | None, least: float, most: float
) -> None:
    engine = nursery_of(_tell_of_the_stop).engine()
    engine.pipe.send_bytes(b"go")
    limits = Limits(soft=0.5, hard=hard)
    end = _followed(engine, LiveWriter(writing(broker), JOB, 1), tmp_path, lease=LEASE, limits=limits)
    assert end.message is not None
    assert end.message.fields["reason"] == "time_limit"
    assert least <= end.message.fields["grace"] <= most


def _tell_of_the_stop(connection: Connection) -> None:
    while (order := pipe.receive(connection)).kind != "stop":
        pass
    pipe.send(connection, "done", dict(order.fields))


def _write_and_hang(directory: Path, connection: Connection) -> None:
    pipe.send(connection, "patience", {"seconds": PATIENCE})
    for number in range(round(WRITING / 0.1)):
        time.sleep(0.1)
        with (directory / "program.out").open("a") as file:
            print(number, file=file)
    time.sleep(600)


def _hear_leases(connection: Connection) -> None:
    """Tell how much of each lease was left when the next one came."""
    left, until = [], None
    for _ in range(LEASES):
        order = pipe.receive(connection)
        assert order.kind == "lease"
        if until is not None:
            left.append(until - now())
        until = order.fields["until"]
    pipe.send(connection, "done", {"left": left})


def _note_leases(path: Path, connection: Connection) -> None:
    with path.open("w") as file:
        while True:
            print(pipe.receive(connection).fields["until"], file=file, flush=True)


def _wait_half_way(connection: Connection) -> None:
    """Send half a message, and the rest only when the lease has been renewed."""
    whole = pipe.packed("done", {}, {"numbers": NUMBERS})
    assert pipe.receive(connection).kind == "lease"
    os.write(connection.fileno(), whole[:5000])
    assert pipe.receive(connection).kind == "lease"
    left = memoryview(whole)[5000:]
    while left:
        left = left[os.write(connection.fileno(), left) :]


def _go_on() -> Orders:
    return Orders(current=True, cancel=False)


def _followed(
    engine: EngineProcess,
    live: LiveWriter,
    place: Path,
    beat: Callable[[], Orders] = _go_on,
    *,
    lease: float = 20.0,
    limits: Limits | None = None,
) -> EndOfRun:
    assignment = Assignment(
        request=JobRequest(structure=None, engine="mock", task="md", parameters={}), limits=limits or Limits(), ran=0.0
    )
    recorder = Recorder(place, live)
    follower = Follower(engine, recorder, live, beat, lease=lease, assignment=assignment, releasable=False)
    try:
        return follower.follow(now())
    finally:
        recorder.close()
        live.close()
        engine.join()
