"""What pw.x prints is read as it comes, wherever it is cut off, and whatever stands in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import units
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanoos_lab.engines.espresso import schema
from nanoos_lab.engines.espresso.output import Cycle, Iteration, Reader, read
from tests.engines.espresso.running import SILICON, Runner, silicon

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of a relaxation with a free cell."""
    run = Runner(tmp_path_factory.mktemp("output"))(silicon(shift=0.1, strain=0.02), "vc_relax", **SILICON, fmax=0.1)
    return (run.context.workdir / "espresso.out").read_text().splitlines()


def test_a_cut_output_gives_the_cycles_before_the_cut(printed: list[str]) -> None:
    _, whole = read(printed, 2)
    assert len(whole) >= 3
    for cut in range(0, len(printed), 7):
        reader, cycles = read(printed[:cut], 2)
        assert len(cycles) <= len(whole)
        for one, other in zip(cycles, whole, strict=False):
            assert (one.energy, one.iterations) == (other.energy, other.iterations)
            np.testing.assert_array_equal(one.forces, other.forces)
            np.testing.assert_array_equal(one.stress, other.stress)
        assert not reader.done


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damaged_output_never_stops_the_reader(printed: list[str], data: st.DataObject) -> None:
    lines = list(printed)
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(lines) - 1))
        harm = data.draw(st.sampled_from(["drop", "cut", "stars", "noise"]))
        if harm == "drop":
            del lines[at]
        elif harm == "cut":
            lines[at] = lines[at][: data.draw(st.integers(0, 40))]
        elif harm == "stars":
            lines[at] = "".join("*" if letter.isdigit() else letter for letter in lines[at])
        else:
            lines.insert(at, data.draw(st.text(max_size=80)))
    reader = Reader(natoms=2)
    events = [reader.feed(line) for line in lines]
    assert all(event is None or isinstance(event, (Iteration, Cycle)) for event in events)


HARMED = [
    # Fields without a gap, and one that does not fit.
    (r"(force =).*", r"\1-1234.12345678-1234.12345678    0.00000000", "forces", False),
    (r"^( +-?\d\.\d{8} .*?)-?\d+\.\d\d *$", r"\1********************", "stress", False),
    (r"(force = +-?\d+\.\d+).*", r"\1", "forces", True),
    (r"^( +-?\d\.\d{8} ).*", r"\1", "stress", True),
]


@pytest.mark.parametrize(("pattern", "harm", "name", "lost"), HARMED)
def test_a_line_that_cannot_be_read_costs_no_more_than_its_block(
    printed: list[str], pattern: str, harm: str, name: str, *, lost: bool
) -> None:
    at = next(i for i, line in enumerate(printed) if re.search(pattern, line))
    lines = [*printed[:at], re.sub(pattern, harm, printed[at]), *printed[at + 1 :]]
    assert lines[at] != printed[at]
    _, (first, *others) = read(printed, 2)
    reader, (harmed, *rest) = read(lines, 2)
    assert reader.done
    assert (getattr(harmed, name) is None) == lost
    for one, other in zip([harmed, *rest], [first, *others], strict=True):
        for each in ("energy", "forces", "stress", "positions", "cell"):
            if (one, each) != (harmed, name):
                np.testing.assert_array_equal(getattr(one, each), getattr(other, each))
    if name == "stress" and not lost:
        np.testing.assert_array_equal(harmed.stress, first.stress)
    if name == "forces" and not lost:
        expected = np.array([-1234.12345678, -1234.12345678, 0]) * units.Ry / units.Bohr
        assert harmed.forces[0] == pytest.approx(expected)


def test_energies_of_iterations_and_cycles_are_told_apart(printed: list[str]) -> None:
    reader = Reader(natoms=2)
    events = [event for event in map(reader.feed, printed) if event is not None]
    first = next(i for i, event in enumerate(events) if isinstance(event, Cycle))
    iterations = events[:first]
    assert [event.number for event in iterations] == list(range(1, first + 1))
    assert events[first].iterations == first + 1
    (line, *_) = [line for line in printed if line.startswith("!")]
    assert events[first].energy == float(line.split()[4]) * units.Ry
    assert events[first].accuracy < iterations[-1].accuracy


def test_a_schema_file_that_is_cut_off_or_missing_gives_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data-file-schema.xml"
    assert schema.read(path) == {}
    assert schema.structure(path) is None
    path.write_text("<espresso><output><total_energy><etot>-1.0</etot>")
    assert schema.read(path) == {}
    path.write_text("<espresso><output><total_energy><etot>-1.0</etot></total_energy></output></espresso>")
    assert schema.read(path) == {"energy": -units.Hartree, "free_energy": -units.Hartree}


def test_results_come_from_the_output_where_there_is_no_schema_file(
    pw: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = pw(silicon(shift=0.1), "static", **SILICON)
    monkeypatch.setattr(schema, "read", lambda path: {})
    run = pw(silicon(shift=0.1), "static", **SILICON)
    for name in ("energy", "forces", "stress", "fermi_level"):
        assert run[name] == pytest.approx(exact[name], abs=1e-4)
    assert any("its XML file is missing" in line for line in run.context.logged)
