"""Names of jobs."""

from __future__ import annotations

import time
from uuid import UUID

from nanoos_lab.store.ids import new_ids


def test_ids_are_uuids_of_version_7() -> None:
    (name,) = new_ids(1)
    assert UUID(name).hex == name
    assert UUID(name).version == 7
    assert UUID(name).variant == "specified in RFC 4122"


def test_ids_begin_with_the_time() -> None:
    (name,) = new_ids(1)
    assert abs(int(name[:12], 16) / 1000 - time.time()) < 10


def test_ids_sort_by_the_order_in_which_they_were_made() -> None:
    batch = new_ids(10_000)
    assert batch == sorted(set(batch))
