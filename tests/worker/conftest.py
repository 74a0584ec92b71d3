"""Engine processes that do what a test wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nanoos_lab.worker import child
from nanoos_lab.worker.nursery import Nursery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection


@pytest.fixture
def nursery_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[Connection], None]], Nursery]]:
    """Return what makes a nursery whose engine processes do the given thing."""
    made: list[Nursery] = []

    def make(serve: Callable[[Connection], None]) -> Nursery:
        def serve_when_asked(connection: Connection) -> None:
            connection.recv_bytes()
            serve(connection)

        monkeypatch.setattr(child, "_serve", serve_when_asked)
        made.append(Nursery.fork())
        return made[-1]

    yield make
    for nursery in made:
        nursery.close()
