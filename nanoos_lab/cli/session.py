"""The lab that a command works with."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nanoos_lab.lab.lab import Lab


@contextmanager
def open_lab() -> Iterator[Lab]:
    """Open the lab that the environment names; nothing is started."""
    from nanoos_lab.lab.lab import Lab

    with Lab() as lab:
        yield lab
