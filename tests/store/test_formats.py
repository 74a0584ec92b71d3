"""Trajectories for other programs."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pytest

from nanoos_lab.core.errors import UnknownNameError
from nanoos_lab.store import SegmentWriter, TrajectoryReader, export
from tests.store.samples import head, sample

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def trajectory(tmp_path: Path) -> TrajectoryReader:
    place = tmp_path / "attempt"
    place.mkdir()
    with SegmentWriter(place, head()) as writer:
        for step in range(0, 50, 10):
            writer.append(sample(step))
    return TrajectoryReader(place)


@pytest.mark.parametrize("name", ["run.extxyz", "run.traj"])
def test_an_export_holds_every_frame(trajectory: TrajectoryReader, tmp_path: Path, name: str) -> None:
    path = export(trajectory, tmp_path / name)
    found = ase.io.read(path, ":")
    assert [atoms.info["step"] for atoms in found] == [0, 10, 20, 30, 40]
    assert found[3].positions == pytest.approx(trajectory.positions[3])
    assert found[3].get_potential_energy() == -14.0


def test_a_slice_exports_its_frames(trajectory: TrajectoryReader, tmp_path: Path) -> None:
    path = export(trajectory[-2:], tmp_path / "end", format="extxyz")
    assert [atoms.info["step"] for atoms in ase.io.read(path, ":", format="extxyz")] == [30, 40]


def test_mdanalysis_opens_an_export(trajectory: TrajectoryReader, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        # MDAnalysis and what it imports warn about themselves.
        warnings.simplefilter("ignore")
        import MDAnalysis

        universe = MDAnalysis.Universe(str(export(trajectory, tmp_path / "run.xyz", format="xyz")))
        positions = np.array([universe.atoms.positions for _ in universe.trajectory])
    assert positions == pytest.approx(np.asarray(trajectory.positions), abs=1e-4)


def test_a_format_of_one_structure_gets_the_last(trajectory: TrajectoryReader, tmp_path: Path) -> None:
    path = export(trajectory, tmp_path / "end.cif")
    assert ase.io.read(path).cell[0, 0] == pytest.approx(50)


def test_an_unknown_format_names_a_near_one(trajectory: TrajectoryReader, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="extxyz"):
        export(trajectory, tmp_path / "run.dat", format="extxy")
    with pytest.raises(UnknownNameError):
        export(trajectory, tmp_path / "run.nonsense")
    assert [path.name for path in tmp_path.iterdir()] == ["attempt"]
