"""Tables that grow on disk."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nanoos_lab.store.growing import GrowingTable, open_table

if TYPE_CHECKING:
    from pathlib import Path

PAIR = np.dtype([("step", "<f8"), ("energy", "<f8")])


def row(number: float) -> bytes:
    return struct.pack("<2d", number, -number)


def test_numpy_opens_a_table_at_every_flush(tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    with GrowingTable(path, PAIR) as table:
        for count in (0, 1, 12, 12_345):
            for number in range(len(np.load(path, mmap_mode="r")) if count else 0, count):
                table.append(row(number))
            table.flush()
            assert np.load(path, mmap_mode="r")["step"].tolist() == list(range(count))
    assert np.load(path)["energy"].sum() == -sum(range(12_345))


def test_a_row_that_is_cut_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    with GrowingTable(path, PAIR) as table:
        table.append(row(1))
        table.append(row(2))
    whole = path.read_bytes()
    for cut in range(1, 17):
        path.write_bytes(whole[:-cut])
        assert open_table(path)["step"].tolist() == [1.0]


def test_rows_behind_an_old_header_are_found(tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    GrowingTable(path, PAIR).close()
    with path.open("ab") as file:
        file.write(row(1) + row(2))
    assert open_table(path)["step"].tolist() == [1.0, 2.0]


def test_a_table_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    GrowingTable(path, PAIR).close()
    with pytest.raises(FileExistsError):
        GrowingTable(path, PAIR)


def test_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    path.write_bytes(b"no table at all")
    with pytest.raises(ValueError, match="magic"):
        open_table(path)
