"""The nursery forks engine processes, tells how they end, and leaves nothing of a run behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from nanoos_lab.worker.clocks import now
from nanoos_lab.worker.nursery import EngineProcess, Nursery, NurseryGoneError
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from pathlib import Path


#: A program that leaves its session, its group and its parent, notes its process id, and lives on.
DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
with open(sys.argv[1], "w") as file: file.write(str(os.getpid()))
time.sleep(600)
"""


def started(nursery: Nursery) -> EngineProcess:
    """Return an engine process that has been asked to do its thing."""
    engine = nursery.engine()
    engine.pipe.send_bytes(b"go")
    return engine


def daemon(note: Path) -> int:
    """Start the program that escapes; return its process id."""
    subprocess.run([sys.executable, "-c", DAEMON, str(note)], check=True)
    until(lambda: note.exists() and note.read_text().isdigit())
    return int(note.read_text())


def test_an_engine_process_starts_without_waiting_for_a_fork_and_tells_how_it_ended(
    nursery_of: Callable[..., Nursery],
) -> None:
    nursery = nursery_of(lambda connection: connection.send_bytes(b"here"))
    engines = [started(nursery) for _ in range(3)]
    assert len({engine.pid for engine in engines}) == 3
    assert [engine.pipe.recv_bytes() for engine in engines] == [b"here"] * 3
    assert [engine.join().code for engine in reversed(engines)] == [0, 0, 0]


def test_what_an_engine_process_used_is_measured(nursery_of: Callable[..., Nursery]) -> None:
    def use(connection: Connection) -> None:
        block = bytearray(200 * 1024**2)
        while time.process_time() < 0.5:
            block[0] ^= 1
        connection.send_bytes(str(time.process_time()).encode())

    engine = started(nursery_of(use))
    used, end = float(engine.pipe.recv_bytes()), engine.join()
    assert used <= end.cpu < used + 0.5
    assert end.peak_memory > 200 * 1024**2


def test_an_engine_that_closes_its_pipe_and_lives_on_is_killed(nursery_of: Callable[..., Nursery]) -> None:
    def hang(connection: Connection) -> None:
        connection.close()
        time.sleep(600)

    assert started(nursery_of(hang)).join(0.2).code == -signal.SIGKILL


def test_a_crash_harms_neither_the_nursery_nor_the_next_run(nursery_of: Callable[..., Nursery]) -> None:
    nursery = nursery_of(lambda _connection: os.kill(os.getpid(), signal.SIGSEGV))
    assert [started(nursery).join().code for _ in range(2)] == [-signal.SIGSEGV] * 2


@pytest.mark.parametrize("how", ["returns", "crashes", "exits as if nothing were left", "is killed"])
def test_a_daemon_that_a_run_has_left_behind_ends_with_it(
    nursery_of: Callable[..., Nursery], tmp_path: Path, how: str
) -> None:
    def serve(connection: Connection) -> None:
        pid = daemon(tmp_path / "pid")
        connection.send_bytes(str(pid).encode())
        if how == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif how == "is killed":
            time.sleep(600)
        elif how == "exits as if nothing were left":
            os._exit(0)

    engine = started(nursery_of(serve))
    left = int(engine.pipe.recv_bytes())
    if how == "is killed":
        assert psutil.pid_exists(left)
        engine.kill()
    engine.join()
    assert not psutil.pid_exists(left)


def test_all_engines_end_with_their_nursery(nursery_of: Callable[..., Nursery], tmp_path: Path) -> None:
    def serve(connection: Connection) -> None:
        connection.send_bytes(str(daemon(tmp_path / "pid")).encode())
        time.sleep(600)

    nursery = nursery_of(serve)
    engine = started(nursery)
    left = int(engine.pipe.recv_bytes())
    nursery.close()
    assert not any(map(psutil.pid_exists, (engine.pid, left)))


def test_all_end_when_the_work_horse_is_killed(nursery_of: Callable[..., Nursery], tmp_path: Path) -> None:
    """The work-horse is a process of its own here, killed without a chance to clean up."""
    note = tmp_path / "pids"

    horse = os.fork()
    if horse == 0:
        nursery = nursery_of(hang)
        note.write_text(f"{started(nursery).pid} {nursery._pid}")
        time.sleep(600)
        os._exit(0)
    until(lambda: note.exists() and len(note.read_text().split()) == 2)
    pids = [int(word) for word in note.read_text().split()]
    assert all(map(psutil.pid_exists, pids))
    os.kill(horse, signal.SIGKILL)
    os.waitpid(horse, 0)
    until(lambda: not any(map(psutil.pid_exists, pids)))


def test_a_nursery_that_is_gone_says_so_and_nobody_knows_how_its_engines_ended(
    nursery_of: Callable[..., Nursery],
) -> None:
    nursery = nursery_of(hang)
    engine = started(nursery)
    os.kill(nursery._pid, signal.SIGKILL)
    assert engine.join().code is None
    with pytest.raises(NurseryGoneError):
        nursery.engine()


def test_a_nursery_that_does_not_answer_is_killed_with_what_it_holds(
    nursery_of: Callable[..., Nursery], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nanoos_lab.worker.nursery.PATIENCE", 0.3)
    nursery = nursery_of(hang)
    engine = started(nursery)
    os.kill(nursery._pid, signal.SIGSTOP)
    assert engine.join(0.1).code is None
    until(lambda: not psutil.pid_exists(engine.pid))


def test_engines_inherit_no_threads_and_no_handlers(nursery_of: Callable[..., Nursery]) -> None:
    def serve(connection: Connection) -> None:
        handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)]
        connection.send_bytes(f"{threading.active_count()} {handlers == [signal.SIG_DFL] * 3}".encode())

    assert started(nursery_of(serve)).pipe.recv_bytes() == b"1 True"


class TestLeases:
    def test_an_engine_whose_lease_is_over_stands_still_at_once_and_is_killed(
        self, nursery_of: Callable[..., Nursery]
    ) -> None:
        engine = started(nursery_of(hang))
        engine.lease(now() + 0.5)
        until(lambda: psutil.Process(engine.pid).status() == psutil.STATUS_STOPPED)
        assert engine.join(90).code == -signal.SIGKILL

    def test_one_that_is_renewed_in_time_goes_on(self, nursery_of: Callable[..., Nursery]) -> None:
        engine = started(nursery_of(hang))
        engine.lease(now() - 10)
        until(lambda: psutil.Process(engine.pid).status() == psutil.STATUS_STOPPED)
        engine.lease(now() + 60)
        until(lambda: psutil.Process(engine.pid).status() != psutil.STATUS_STOPPED)

    def test_what_an_engine_has_started_stands_still_with_it(self, nursery_of: Callable[..., Nursery]) -> None:
        """In a session of its own it is in no group of the engine's."""

        def serve(connection: Connection) -> None:
            with subprocess.Popen(
                [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
            ) as one:
                connection.send_bytes(str(one.pid).encode())

        engine = started(nursery_of(serve))
        program = psutil.Process(int(engine.pipe.recv_bytes()))
        engine.lease(now() - 10)
        until(lambda: program.status() == psutil.STATUS_STOPPED)
        engine.lease(now() + 60)
        until(lambda: program.status() != psutil.STATUS_STOPPED)
        engine.pause()
        until(lambda: program.status() == psutil.STATUS_STOPPED)
        engine.kill()
        engine.join()
        assert not program.is_running() or program.status() == psutil.STATUS_ZOMBIE

    def test_a_renewed_lease_does_not_end_a_pause(self, nursery_of: Callable[..., Nursery]) -> None:
        nursery = nursery_of(hang)
        engine = started(nursery)
        engine.pause()
        engine.lease(now() - 10)
        engine.lease(now() + 60)
        # The nursery has done all that was asked of it once it gives another engine.
        nursery.engine()
        assert psutil.Process(engine.pid).status() == psutil.STATUS_STOPPED
        engine.resume()
        until(lambda: psutil.Process(engine.pid).status() != psutil.STATUS_STOPPED)


def hang(_connection: Connection) -> None:
    time.sleep(600)


def test_an_engine_that_reads_nothing_for_long_holds_nobody_up(nursery_of: Callable[..., Nursery]) -> None:
    engine = started(nursery_of(lambda _: time.sleep(600)))
    for _ in range(2000):
        engine.lease(now() + 60)
        engine.tell("look", watched=True, cost=0.0)
    engine.kill()
    assert engine.join().code == -signal.SIGKILL
