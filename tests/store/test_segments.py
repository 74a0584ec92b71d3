"""What an attempt writes: readable by anybody, at any moment, whatever happens to the writer."""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pytest
from ase import units

from nanoos_lab.core.frames import Sample
from nanoos_lab.store import SegmentWriter, TrajectoryReader, read_thermo
from nanoos_lab.store.segments import SegmentPlace
from tests.store.samples import COLUMNS, head, sample

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nanoos_lab.store.thermo import ThermoTable


def write(directory: Path, steps: Iterable[int], *, attempt: int = 1, moving: bool = True) -> Path:
    """Write the segment of an attempt with samples at these steps."""
    place = directory / str(attempt)
    place.mkdir()
    with SegmentWriter(place, head()) as writer:
        for step in steps:
            writer.append(sample(step, attempt=attempt, moving=moving))
    return place


class TestOneAttempt:
    def test_thermo_comes_back_with_its_units(self, tmp_path: Path) -> None:
        table = read_thermo(write(tmp_path, [0, 10, 20]))
        assert table.columns == COLUMNS
        assert table.steps.tolist() == [0, 10, 20]
        assert table.values.tolist() == [[0, 301, -14], [20, 301, -14], [40, 301, -14]]

    def test_numpy_opens_thermo_by_itself(self, tmp_path: Path) -> None:
        place = write(tmp_path, [0, 10])
        assert np.load(place / "thermo.npy", mmap_mode="r")["temperature"].tolist() == [301, 301]

    def test_frames_come_back_exactly(self, tmp_path: Path) -> None:
        trajectory = TrajectoryReader(write(tmp_path, range(0, 50, 10)))
        wanted = sample(30).frame
        frame = trajectory.frame(3)
        assert (frame.step, frame.time) == (30, 60.0)
        assert np.array_equal(frame.positions, wanted.positions)
        assert np.array_equal(frame.cell, wanted.cell)
        assert frame.velocities == pytest.approx(wanted.velocities, rel=1e-14)

    def test_frames_are_atoms_with_step_time_and_energy(self, tmp_path: Path) -> None:
        atoms = TrajectoryReader(write(tmp_path, range(0, 50, 10)))[-1]
        assert atoms.get_chemical_formula() == "Cu4"
        assert atoms.pbc.tolist() == [True, True, False]
        assert atoms.info == {"step": 40, "time": 80.0}
        assert atoms.get_potential_energy() == -14.0
        assert atoms.get_velocities() * units.fs == pytest.approx(sample(40).frame.velocities)

    def test_ase_reads_the_same(self, tmp_path: Path) -> None:
        place = write(tmp_path, range(0, 50, 10))
        ours = list(TrajectoryReader(place))
        theirs = ase.io.read(place / "trajectory.traj", ":")
        assert theirs == ours
        assert [atoms.info for atoms in theirs] == [atoms.info for atoms in ours]
        assert [atoms.get_potential_energy() for atoms in theirs] == [-14.0] * 5
        assert theirs[2].get_velocities() * units.fs == pytest.approx(sample(20).frame.velocities)

    def test_arrays_describe_every_frame(self, tmp_path: Path) -> None:
        trajectory = TrajectoryReader(write(tmp_path, range(0, 50, 10)))
        assert trajectory.steps.tolist() == [0, 10, 20, 30, 40]
        assert trajectory.times.tolist() == [0, 20, 40, 60, 80]
        assert trajectory.cells[:, 0, 0].tolist() == [10, 20, 30, 40, 50]
        assert trajectory.numbers.tolist() == [29] * 4
        assert trajectory.positions.shape == trajectory.velocities.shape == (5, 4, 3)
        assert np.asarray(trajectory.velocities) == pytest.approx(0.01 * np.asarray(trajectory.positions))

    def test_isotopes_keep_their_masses_and_so_their_kinetic_energy(self, tmp_path: Path) -> None:
        heavy = replace(head(), masses=np.array([63.0, 65.0, 63.0, 65.0]))
        with SegmentWriter(tmp_path, heavy) as segment:
            segment.append(sample(0))
            segment.append(sample(10))
        velocities = sample(10).frame.velocities
        kinetic = 0.5 * (heavy.masses[:, np.newaxis] * (velocities / units.fs) ** 2).sum()
        trajectory = TrajectoryReader(tmp_path)
        theirs = ase.io.read(tmp_path / "trajectory.traj", "-1")

        assert theirs == trajectory[-1]
        assert theirs.get_masses().tolist() == heavy.masses.tolist()
        assert theirs.get_kinetic_energy() == pytest.approx(kinetic)
        assert np.asarray(trajectory.velocities[1]) == pytest.approx(velocities)

    def test_a_slice_is_a_trajectory_too(self, tmp_path: Path) -> None:
        trajectory = TrajectoryReader(write(tmp_path, range(0, 50, 10)))
        part = trajectory[::-2]
        assert [atoms.info["step"] for atoms in part] == part.steps.tolist() == [40, 20, 0]
        assert part.cells[:, 0, 0].tolist() == [50, 30, 10]
        assert part.positions[:, 0, 0].tolist() == [40, 20, 0]
        assert part[1:].times.tolist() == [40, 0]
        assert (len(trajectory[5:]), trajectory[5:].steps.tolist()) == (0, [])

    def test_a_frame_that_is_not_there_is_an_index_error(self, tmp_path: Path) -> None:
        with pytest.raises(IndexError, match="frame 5 of a trajectory of 5"):
            TrajectoryReader(write(tmp_path, range(5)))[5]

    def test_without_velocities_there_are_none(self, tmp_path: Path) -> None:
        trajectory = TrajectoryReader(write(tmp_path, range(3), moving=False))
        assert trajectory.velocities is None
        assert trajectory.frame(0).velocities is None
        assert "momenta" not in trajectory[0].arrays

    def test_a_sample_may_have_no_frame_and_no_energy(self, tmp_path: Path) -> None:
        with SegmentWriter(tmp_path, head()) as writer:
            writer.append(Sample(step=0, row=(0.0, np.nan, np.nan), frame=sample(0).frame))
            writer.append(Sample(step=1, row=(2.0, 300.0, -1.0), frame=None))
        trajectory = TrajectoryReader(tmp_path)
        assert trajectory.steps.tolist() == [0]
        assert trajectory[0].calc is None
        assert read_thermo(tmp_path).steps.tolist() == [0, 1]

    def test_nothing_written_reads_as_nothing(self, tmp_path: Path) -> None:
        assert read_thermo(tmp_path) is None
        empty = TrajectoryReader(tmp_path)
        assert (len(empty), empty.steps.size, empty.positions.shape) == (0, 0, (0, 0, 3))
        SegmentWriter(tmp_path, head()).close()
        assert read_thermo(tmp_path).values.shape == (0, 3)
        assert len(TrajectoryReader(tmp_path)) == 0


class TestWhileItRuns:
    def test_what_is_flushed_can_be_read(self, tmp_path: Path) -> None:
        with SegmentWriter(tmp_path, head()) as writer:
            for step in range(100):
                writer.append(sample(step))
                writer.flush()
                assert read_thermo(tmp_path).steps[-1] == step
                assert TrajectoryReader(tmp_path)[-1].info["step"] == step
                assert len(ase.io.read(tmp_path / "trajectory.traj", ":")) == step + 1

    def test_a_reader_keeps_showing_what_it_found(self, tmp_path: Path) -> None:
        with SegmentWriter(tmp_path, head()) as writer:
            writer.append(sample(0))
            writer.flush()
            early = TrajectoryReader(tmp_path)
            writer.append(sample(1))
            writer.flush()
            assert (len(early), len(TrajectoryReader(tmp_path))) == (1, 2)

    def test_a_second_writer_is_refused(self, tmp_path: Path) -> None:
        with SegmentWriter(tmp_path, head()), pytest.raises(FileExistsError):
            SegmentWriter(tmp_path, head())


class TestSeveralAttempts:
    def test_each_step_is_there_once_and_the_later_attempt_wins(self, tmp_path: Path) -> None:
        places = [
            write(tmp_path, [0, 10, 20, 30], attempt=1),
            write(tmp_path, [20, 30, 40, 50], attempt=2),
            write(tmp_path, [40, 50, 60], attempt=3),
        ]
        trajectory, thermo = TrajectoryReader(places), read_thermo(places)
        assert trajectory.steps.tolist() == thermo.steps.tolist() == [0, 10, 20, 30, 40, 50, 60]
        assert (trajectory.positions[:, 0, 1] / 100).tolist() == [1, 1, 2, 2, 3, 3, 3]
        assert (thermo.values[:, 1] - 300).tolist() == [1, 1, 2, 2, 3, 3, 3]
        assert [atoms.info["step"] for atoms in trajectory[2:5]] == [20, 30, 40]

    def test_a_retry_from_the_beginning_hides_the_first_try(self, tmp_path: Path) -> None:
        places = [write(tmp_path, range(0, 100, 10), attempt=1), write(tmp_path, [0, 10], attempt=2)]
        assert TrajectoryReader(places).steps.tolist() == [0, 10]
        assert TrajectoryReader(places).positions[0, 0, 1] == 200.0
        assert read_thermo(places).values[:, 1].tolist() == [302, 302]

    def test_an_attempt_that_wrote_nothing_hides_nothing(self, tmp_path: Path) -> None:
        places = [write(tmp_path, [0, 10], attempt=1), write(tmp_path, [], attempt=2), tmp_path / "missing"]
        assert TrajectoryReader(places).steps.tolist() == read_thermo(places).steps.tolist() == [0, 10]

    def test_a_column_that_an_attempt_lacks_is_not_a_number_there(self, tmp_path: Path) -> None:
        first = write(tmp_path, [0], attempt=1)
        text = json.loads((first / "head.json").read_text())
        text["columns"][1]["name"] = "pressure"
        (first / "head.json").write_text(json.dumps(text))
        table = read_thermo([first, write(tmp_path, [10], attempt=2)])
        assert table.columns == COLUMNS
        assert np.array_equal(table.values[:, 1], [np.nan, 302], equal_nan=True)


class TestWhatIsNotRead:
    def test_what_a_lost_attempt_writes_after_its_last_beat_is_not_read(self, tmp_path: Path) -> None:
        place = write(tmp_path, [0, 10, 20, 30, 40])
        trajectory, thermo = both([SegmentPlace(directory=place, last_step=25)])
        assert trajectory.steps.tolist() == thermo.steps.tolist() == [0, 10, 20]
        assert trajectory[-1].info["step"] == 20
        assert trajectory.positions.shape == (3, 4, 3)
        assert thermo.values.shape == (3, 3)

    def test_a_step_that_the_last_beat_told_of_counts(self, tmp_path: Path) -> None:
        trajectory, thermo = both([SegmentPlace(directory=write(tmp_path, [0, 10, 20]), last_step=10)])
        assert trajectory.steps.tolist() == thermo.steps.tolist() == [0, 10]

    def test_a_stale_attempt_that_goes_on_writing_is_not_read(self, tmp_path: Path) -> None:
        stale = SegmentPlace(directory=write(tmp_path, range(0, 100, 10), attempt=1), last_step=30)
        current = SegmentPlace(directory=write(tmp_path, [20, 30, 40], attempt=2))
        trajectory, thermo = both([stale, current])
        assert trajectory.steps.tolist() == thermo.steps.tolist() == [0, 10, 20, 30, 40]
        assert (trajectory.positions[:, 0, 1] / 100).tolist() == [1, 1, 2, 2, 2]
        assert (thermo.values[:, 1] - 300).tolist() == [1, 1, 2, 2, 2]

    def test_before_the_next_attempt_has_written_the_lost_one_shows_what_counts(self, tmp_path: Path) -> None:
        lost = SegmentPlace(directory=write(tmp_path, range(0, 50, 10)), last_step=20)
        trajectory, thermo = both([lost, SegmentPlace(directory=tmp_path / "not begun")])
        assert trajectory.steps.tolist() == thermo.steps.tolist() == [0, 10, 20]

    def test_what_does_not_count_hides_nothing_of_an_earlier_attempt(self, tmp_path: Path) -> None:
        first = SegmentPlace(directory=write(tmp_path, [0, 10, 20, 30], attempt=1), last_step=30)
        second = SegmentPlace(directory=write(tmp_path, [20, 30], attempt=2), last_step=0)
        third = SegmentPlace(directory=write(tmp_path, [30, 40], attempt=3))
        trajectory, thermo = both([first, second, third])
        assert trajectory.steps.tolist() == thermo.steps.tolist() == [0, 10, 20, 30, 40]
        assert (trajectory.positions[:, 0, 1] / 100).tolist() == [1, 1, 1, 3, 3]

    def test_nothing_that_counts_reads_as_nothing(self, tmp_path: Path) -> None:
        trajectory, thermo = both([SegmentPlace(directory=write(tmp_path, [10, 20]), last_step=5)])
        assert (len(trajectory), trajectory.steps.size, thermo.values.shape) == (0, 0, (0, 3))
        assert np.asarray(trajectory.positions).size == 0

    def test_a_part_of_what_counts_is_a_trajectory_too(self, tmp_path: Path) -> None:
        stale = SegmentPlace(directory=write(tmp_path, range(0, 100, 10), attempt=1), last_step=30)
        trajectory, _ = both([stale, SegmentPlace(directory=write(tmp_path, [40, 50], attempt=2))])
        assert [atoms.info["step"] for atoms in trajectory[::2]] == [0, 20, 40]
        assert trajectory.frame(-1).step == 50


class TestKilled:
    WRITER = textwrap.dedent("""
        import itertools, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        from tests.store.samples import head, sample
        from nanoos_lab.store import SegmentWriter
        with SegmentWriter(Path(sys.argv[2]), head(500)) as writer:
            for step in itertools.count():
                writer.append(sample(step, atoms=500))
                if step % 3 == 0:
                    writer.flush()
                    print(step, flush=True)
    """)

    def test_every_flushed_sample_outlives_a_kill_at_any_moment(
        self, tmp_path: Path, pytestconfig: pytest.Config
    ) -> None:
        chance = random.Random(20260101)
        for trial in range(5):
            place = tmp_path / f"{trial}"
            place.mkdir()
            last = self.kill_while_writing(place, pytestconfig.rootpath, chance.randint(10, 300))
            for steps in (TrajectoryReader(place).steps, read_thermo(place).steps):
                assert len(steps) > last
                assert steps.tolist() == list(range(len(steps)))
            frames = ase.io.read(place / "trajectory.traj", ":")
            assert len(frames) > last
            for step in (0, last // 2, last):
                wanted = sample(step, atoms=500).frame.positions
                assert np.array_equal(TrajectoryReader(place).positions[step], wanted)
                assert np.array_equal(frames[step].positions, wanted)

    def test_the_next_attempt_goes_on_from_there(self, tmp_path: Path, pytestconfig: pytest.Config) -> None:
        place = tmp_path / "killed"
        place.mkdir()
        last = self.kill_while_writing(place, pytestconfig.rootpath, 100)
        with SegmentWriter(make(tmp_path / "next"), head(500)) as writer:
            for step in range(last, last + 10):
                writer.append(sample(step, atoms=500, attempt=2))
        trajectory = TrajectoryReader([place, tmp_path / "next"])
        assert trajectory.steps.tolist() == list(range(last + 10))
        assert (trajectory.positions[last - 1 : last + 1, 0, 1] / 100).tolist() == [1, 2]

    def kill_while_writing(self, place: Path, root: Path, after: int) -> int:
        """Start a writer, kill it when it has acknowledged a step ≥ `after`; return the last acknowledged step."""
        command = [sys.executable, "-c", self.WRITER, str(root), str(place)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        ) as writer:
            steps = map(int, writer.stdout)
            reached = next(step for step in steps if step >= after)
            writer.send_signal(signal.SIGKILL)
            return max(itertools.chain([reached], steps))


class TestBig:
    def test_a_long_thermo_is_mapped_not_loaded(self, tmp_path: Path) -> None:
        with SegmentWriter(tmp_path, head()) as writer:
            for step in range(1_000_000):
                writer.append(Sample(step=step, row=(1.0, 2.0, 3.0), frame=None))
        before = memory()
        table = read_thermo(tmp_path)
        assert isinstance(table.values, np.memmap)
        assert table.values.shape == (1_000_000, 3)
        assert table.steps[-1] == 999_999
        assert memory() - before < 5e6

    def test_a_long_trajectory_opens_without_being_loaded(self, tmp_path: Path) -> None:
        atoms, frames = 10_000, 300
        still = sample(0, atoms=atoms, moving=False).frame
        with SegmentWriter(tmp_path, head(atoms)) as writer:
            for step in range(frames):
                writer.append(Sample(step=step, row=(0.0, 0.0, 0.0), frame=still))
        before = memory()
        trajectory = TrajectoryReader(tmp_path)
        assert trajectory.positions.nbytes == 72_000_000
        assert np.array_equal(trajectory.positions[frames // 2], still.positions)
        assert trajectory.positions[:, 17].shape == (frames, 3)
        assert memory() - before < 5e6


def both(places: list[SegmentPlace]) -> tuple[TrajectoryReader, ThermoTable]:
    """Read the trajectory and the thermo of these segments."""
    thermo = read_thermo(places)
    assert thermo is not None
    return TrajectoryReader(places), thermo


def make(path: Path) -> Path:
    path.mkdir()
    return path


def memory() -> int:
    """Memory of this process that lies in RAM, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
