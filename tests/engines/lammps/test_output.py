"""Rows and frames of an executable, read while it writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nanoos_lab.engines.lammps.batch.output import DumpReader, Table

if TYPE_CHECKING:
    from pathlib import Path


def test_rows_are_found_between_other_lines() -> None:
    table = Table()
    assert table.feed("   Step          Temp     ") is None
    assert table.feed("         0   300 ") == {"Step": 0.0, "Temp": 300.0}
    assert table.feed("WARNING: something 1 2") is None
    assert table.feed("        10   nan ") is not None
    assert table.feed("Loop time of 0.1 on 2 procs") is None
    assert table.feed("        20   300 ") is None


def test_a_dump_is_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "frames.dump"
    reader = DumpReader(path)
    assert reader.read(0) is None
    frame = (
        "ITEM: TIMESTEP\n{}\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n0 1\n0 1\n0 1\nITEM: ATOMS id xu\n"
    )
    whole = "".join(frame.format(step) + f"1 {step}.5\n2 3.25\n" for step in (0, 5, 10))
    for end in range(len(whole) + 1):
        path.write_text(whole[:end])
        found = reader.read(10)
        assert (found is not None) == (end == len(whole))
    assert found is not None
    assert found.columns["xu"].tolist() == [10.5, 3.25]
    reader.close()


@pytest.mark.parametrize("piece", [1, 7, 40, 90])
def test_a_dump_that_grows_while_a_frame_is_read_is_read_right(tmp_path: Path, piece: int) -> None:
    path = tmp_path / "frames.dump"
    frame = (
        "ITEM: TIMESTEP\n{}\nITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n0 1\n0 1\n0 1\nITEM: ATOMS id xu\n"
    )
    rest = "".join(frame.format(step) + f"1 {step}.5\n2 3.25\n" for step in range(0, 50, 5))
    path.write_text("")
    reader = DumpReader(path)
    assert reader.read(0) is None
    file = reader._file

    class Growing:
        """The file, to which LAMMPS has written some more whenever a line is read from it."""

        def readline(self) -> str:
            nonlocal rest
            with path.open("a") as more:
                more.write(rest[:piece])
            rest = rest[piece:]
            return file.readline()

        def __getattr__(self, name: str) -> Any:
            return getattr(file, name)

    reader._file = Growing()
    found: list[float] = []
    while len(found) < 10:
        one = reader.read(5 * len(found))
        if one is not None:
            found.append(one.columns["xu"][0])
    assert found == [step + 0.5 for step in range(0, 50, 5)]
    reader.close()
