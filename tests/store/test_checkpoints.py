"""Checkpoints on disk: whole or not there, verified, and never ahead of the samples."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from nanoos_lab.store.checkpoints import KEEP, MANIFEST, discard, find, writing
from nanoos_lab.store.segments import SegmentWriter
from tests.store.samples import head, sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the first attempt keeps its checkpoints."""
    return attempt(tmp_path, 1)


def attempt(job: Path, number: int, sampled: Iterable[int] = ()) -> Path:
    """Make the directory of an attempt with samples at some steps; return its place for checkpoints."""
    directory = job / str(number)
    directory.mkdir()
    with SegmentWriter(directory, head()) as writer:
        for step in sampled:
            writer.append(sample(step, attempt=number))
    return directory / "checkpoints"


def write(place: Path, *steps: int, sampled: int | None = None) -> None:
    """Make checkpoints that hold their step."""
    for step in steps:
        with writing(place, step, {"grid": 10}, sampled=sampled) as directory:
            (directory / "state").write_text(f"state at {step}")
            (directory / "more.npz").write_bytes(bytes(range(256)) * 100)


def steps(*places: Path, last_steps: tuple[int | None, ...] = ()) -> list[int]:
    """Return the steps from which a job can go on."""
    return [found.step for found in find(places, last_steps).checkpoints]


def test_what_was_written_is_found(place: Path) -> None:
    write(place, 10)
    (found,) = find([place]).checkpoints
    assert (found.step, found.facts) == (10, {"grid": 10})
    assert (found.directory / "state").read_text() == "state at 10"
    assert found.directory == place / "10"


def test_the_newest_comes_first_and_two_generations_are_kept(place: Path) -> None:
    write(place, 8, 9, 10, 100)
    assert steps(place) == [100, 10]
    assert sorted(path.name for path in place.iterdir()) == ["10", "100"]
    assert KEEP == 2


def test_the_same_step_is_written_anew(place: Path) -> None:
    write(place, 10, 10)
    assert steps(place) == [10]


def test_an_error_leaves_what_was_there(place: Path) -> None:
    write(place, 10)

    def fail() -> None:
        with writing(place, 20, {}) as directory:
            (directory / "state").write_text("half")
            raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError, match="full"):
        fail()
    assert [path.name for path in place.iterdir()] == ["10"]


def test_a_writer_that_was_killed_leaves_nothing_that_is_found(place: Path) -> None:
    write(place, 10)
    with writing(place, 20, {}) as directory:
        (directory / "state").write_text("half")
        shutil.copytree(directory, place / ".killed")
    shutil.rmtree(place / "20")
    found = find([place])
    assert [checkpoint.step for checkpoint in found.checkpoints] == [10]
    assert found.refused == ()


def truncate(directory: Path) -> None:
    os.truncate(directory / "state", 3)


def flip(directory: Path) -> None:
    data = bytearray((directory / "more.npz").read_bytes())
    data[1234] ^= 1
    (directory / "more.npz").write_bytes(data)


def lose_a_file(directory: Path) -> None:
    (directory / "state").unlink()


def lose_the_manifest(directory: Path) -> None:
    (directory / MANIFEST).unlink()


def cut_the_manifest(directory: Path) -> None:
    os.truncate(directory / MANIFEST, 40)


def add_a_file(directory: Path) -> None:
    (directory / "planted").write_text("not in the manifest")


def link_elsewhere(directory: Path) -> None:
    target = directory.parent.parent / "elsewhere"
    (directory / "state").rename(target)
    (directory / "state").symlink_to(target)


def link_itself(directory: Path) -> None:
    target = directory.parent.parent / "elsewhere"
    directory.rename(target)
    directory.symlink_to(target)


def name_a_path(directory: Path) -> None:
    manifest = json.loads((directory / MANIFEST).read_text())
    manifest["files"]["../../secret"] = manifest["files"].pop("state")
    (directory / MANIFEST).write_text(json.dumps(manifest))


def claim_another_step(directory: Path) -> None:
    manifest = json.loads((directory / MANIFEST).read_text())
    (directory / MANIFEST).write_text(json.dumps({**manifest, "step": 10}))


def be_a_list(directory: Path) -> None:
    (directory / MANIFEST).write_text("[" * 100_000)


def be_of_wrong_types(directory: Path) -> None:
    wrong = {"version": 1, "step": 20, "sampled": "x", "facts": {}, "files": ["state"]}
    (directory / MANIFEST).write_text(json.dumps(wrong))


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        flip,
        lose_a_file,
        lose_the_manifest,
        cut_the_manifest,
        add_a_file,
        link_elsewhere,
        link_itself,
        name_a_path,
        claim_another_step,
        be_a_list,
        be_of_wrong_types,
    ],
)
def test_a_damaged_one_is_passed_over_for_the_one_before_and_reported(
    place: Path, damage: Callable[[Path], None]
) -> None:
    write(place, 10, 20)
    damage(place / "20")
    found = find([place])
    assert [checkpoint.step for checkpoint in found.checkpoints] == [10]
    assert [refused.directory for refused in found.refused] == [place / "20"]
    assert found.refused[0].why


def test_only_plain_files_are_kept(place: Path) -> None:
    def plant(make: Callable[[Path], None]) -> None:
        with writing(place, 10, {}) as directory:
            make(directory)

    for make in (
        lambda directory: (directory / "folder").mkdir(),
        lambda directory: (directory / "link").symlink_to("/etc/passwd"),
        lambda directory: (directory / "a name").write_text(""),
        lambda directory: os.mkfifo(directory / "pipe"),
    ):
        with pytest.raises((ValueError, OSError)):
            plant(make)
    assert steps(place) == []


def test_attempts_are_searched_from_the_newest_step(tmp_path: Path) -> None:
    first, second, third = (attempt(tmp_path, number) for number in (1, 2, 3))
    write(first, 10, 20)
    write(second, 30)
    assert steps(first, second, third) == [30, 20]


def test_one_whose_samples_were_lost_does_not_count(tmp_path: Path) -> None:
    """A kill may take the last second of samples; to begin after them would leave a gap."""
    place = attempt(tmp_path, 1, sampled=range(0, 91, 10))
    write(place, 80, sampled=70)
    write(place, 120, sampled=110)
    found = find([place])
    assert [checkpoint.step for checkpoint in found.checkpoints] == [80]
    assert "110 was not kept" in found.refused[0].why


def test_one_whose_samples_do_not_count_does_not_count(tmp_path: Path) -> None:
    """What a stale attempt went on to write is not read."""
    place = attempt(tmp_path, 1, sampled=range(0, 121, 10))
    write(place, 80, sampled=70)
    write(place, 120, sampled=110)
    assert steps(place) == [120, 80]
    assert steps(place, last_steps=(95,)) == [80]


def test_one_behind_the_beginning_of_a_later_attempt_does_not_count(tmp_path: Path) -> None:
    """The later attempt did without it, and its samples replace those that led there."""
    first = attempt(tmp_path, 1, sampled=range(0, 51, 10))
    second = attempt(tmp_path, 2, sampled=range(0, 21, 10))
    write(first, 50, sampled=40)
    assert steps(first) == [50]
    assert steps(first, second) == []
    write(second, 20, sampled=10)
    assert steps(first, second) == [20]


def test_a_later_attempt_without_samples_changes_nothing(tmp_path: Path) -> None:
    first = attempt(tmp_path, 1, sampled=range(0, 51, 10))
    write(first, 50, sampled=40)
    assert steps(first, attempt(tmp_path, 2), tmp_path / "never" / "checkpoints") == [50]


def test_checkpoints_that_nobody_needs_are_deleted(place: Path) -> None:
    write(place, 10)
    discard([place, place.parent.parent / "never" / "checkpoints"])
    assert not place.exists()
