"""What a program says is heard in few pieces, soon, and without holding it up."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from nanoos_lab.engines import hearing
from nanoos_lab.engines.hearing import Ear
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONG = 600.0


@pytest.fixture
def gathering(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Have words gathered for so many seconds from the beginning."""

    def choose(seconds: float) -> None:
        monkeypatch.setattr(hearing, "GATHERING", seconds)
        monkeypatch.setattr(hearing, "OF_AGE", 1e9)

    return choose


@contextmanager
def said_by(code: str) -> Iterator[Ear]:
    """Hear what a Python program writes to its standard output, ``out``."""
    command = [sys.executable, "-c", f"import os, time\nout = 1\n{code}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ear = Ear(process.stdout.fileno())
        try:
            yield ear
        finally:
            ear.close()
            process.kill()


def end_with(pipe: int, word: bytes) -> None:
    """Say a last word."""
    os.write(pipe, word)
    os.close(pipe)


def test_words_that_follow_each_other_are_heard_in_one_piece(gathering: Callable[[float], None]) -> None:
    gathering(LONG)
    # Its end is not waited for any longer than it takes.
    with said_by("for _ in range(50): os.write(out, b'word '); time.sleep(0.002)") as ear:
        assert ear.hear(LONG) == b"word " * 50
        assert ear.hear(LONG) == b""


def test_words_are_heard_though_more_may_come() -> None:
    with said_by(f"os.write(out, b'word'); time.sleep({LONG})") as ear:
        assert ear.hear(LONG) == b"word"
        assert ear.hear(0.01) is None


def test_a_program_that_says_much_is_not_held_up(gathering: Callable[[float], None]) -> None:
    # With its pipe full for so long each time it would take a minute and more.
    gathering(2.0)
    with said_by("for _ in range(32): os.write(out, b'.' * 65536)") as ear:
        heard: list[bytes] = []

        def listen() -> None:
            while data := ear.hear(LONG):
                heard.append(data)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        until(lambda: not thread.is_alive(), seconds=30.0)
        assert sum(map(len, heard)) == 32 * 65536


def test_a_young_program_is_heard_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hearing, "GATHERING", LONG)
    with said_by(f"os.write(out, b'word'); time.sleep({LONG})") as ear:
        heard: list[bytes | None] = []
        thread = threading.Thread(target=lambda: heard.append(ear.hear(LONG)), daemon=True)
        thread.start()
        until(lambda: heard == [b"word"], seconds=60.0)


def test_a_bell_ends_the_waiting_for_words_and_for_more_of_them(gathering: Callable[[float], None]) -> None:
    gathering(LONG)
    reading, writing = os.pipe()
    ear = Ear(reading)
    threading.Timer(0.1, ear.ring).start()
    assert ear.hear(LONG) is None
    os.write(writing, b"word")
    threading.Timer(0.1, ear.ring).start()
    assert ear.hear(LONG) == b"word"
    # It is heard then, and once.
    assert ear.hear(LONG) is None
    threading.Timer(0.1, end_with, (writing, b"last word")).start()
    assert ear.hear(LONG) == b"last word"
    ear.close()
    os.close(reading)


def test_a_bell_may_ring_often_and_too_late() -> None:
    reading, writing = os.pipe()
    ear = Ear(reading)
    for _ in range(100_000):
        ear.ring()
    assert ear.hear(LONG) is None
    ear.close()
    # The number of its descriptor may be somebody else's by now.
    ends = [os.pipe() for _ in range(2)]
    ear.ring()
    for each in (reading, writing, *(end for pair in ends for end in pair)):
        os.close(each)
