"""Where files lie."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nanoos_lab.core.errors import InputError, JobNotFoundError, SettingsError, StoreError
from nanoos_lab.core.request import FileRef
from nanoos_lab.store import Artifacts

JOB = "0198" + "a" * 26 + "7f"


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


@pytest.fixture
def potential(tmp_path: Path) -> Path:
    path = tmp_path / "Cu.eam"
    path.write_bytes(b"rho and F")
    return path


def test_a_root_is_a_directory_or_a_file_url(tmp_path: Path) -> None:
    roots = [tmp_path, str(tmp_path), f"file://{tmp_path}", f"file://localhost{tmp_path}"]
    assert {Artifacts(root).root for root in roots} == {tmp_path}
    assert Artifacts("file:///a%20b").root == Path("/a b")


@pytest.mark.parametrize("url", ["s3://bucket/lab", "file://other-host/lab", "https://host/lab"])
def test_other_places_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="file:///"):
        Artifacts(url)


def test_an_attempt_has_a_private_directory_of_its_own(artifacts: Artifacts) -> None:
    place = artifacts.attempt_dir(JOB, 2)
    assert place == artifacts.root / "jobs" / "7f" / JOB / "2"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert artifacts.attempt_dir(JOB, 2) == place


def test_an_attempt_begins_anew_and_what_an_engine_has_left_there_is_put_aside(artifacts: Artifacts) -> None:
    place = artifacts.new_attempt_dir(JOB, 1)
    (place / "work").mkdir()
    (place / "thermo.npy").write_bytes(b"of another life")
    assert artifacts.new_attempt_dir(JOB, 1) == place
    assert list(place.iterdir()) == []
    assert artifacts.attempt_dirs(JOB) == [place]
    assert [path.read_bytes() for path in place.parent.rglob("thermo.npy")] == [b"of another life"]


def test_attempts_are_listed_in_their_order(artifacts: Artifacts) -> None:
    assert artifacts.attempt_dirs(JOB) == []
    made = {number: artifacts.attempt_dir(JOB, number) for number in (10, 2, 1)}
    assert artifacts.attempt_dirs(JOB) == [made[1], made[2], made[10]]
    assert artifacts.attempt_dirs(JOB, last=2) == [made[1], made[2]]


@pytest.mark.parametrize("job_id", ["", "../etc", "a" * 31, "A" * 32, JOB + "/.."])
def test_what_is_no_job_has_no_directory(artifacts: Artifacts, job_id: str) -> None:
    with pytest.raises(JobNotFoundError):
        artifacts.attempt_dir(job_id, 1)
    assert not artifacts.root.exists()


def test_the_files_of_an_engine_are_listed_without_links(artifacts: Artifacts) -> None:
    work = artifacts.attempt_dir(JOB, 1) / "work"
    (work / "restart").mkdir(parents=True)
    (work / "log.lammps").touch()
    (work / "restart" / "1000.bin").touch()
    (work / "passwd").symlink_to("/etc/passwd")
    assert artifacts.files(JOB, 1) == {
        "log.lammps": work / "log.lammps",
        "restart/1000.bin": work / "restart" / "1000.bin",
    }
    assert artifacts.files(JOB, 2) == {}


def test_a_file_is_kept_under_its_content(artifacts: Artifacts, potential: Path) -> None:
    ref = artifacts.put(potential)
    assert ref == artifacts.put(potential)
    assert (ref.name, artifacts.put(potential, name="other").sha256) == ("Cu.eam", ref.sha256)
    assert artifacts.path(ref).read_bytes() == b"rho and F"
    assert len([path for path in artifacts.root.rglob("*") if path.is_file()]) == 1


def test_a_file_that_has_changed_or_gone_is_noticed(artifacts: Artifacts, potential: Path) -> None:
    ref = artifacts.put(potential)
    artifacts.path(ref).write_bytes(b"rho and G")
    with pytest.raises(StoreError, match="damaged"):
        artifacts.path(ref)
    os.remove(artifacts.root / "files" / ref.sha256[:2] / ref.sha256)
    with pytest.raises(StoreError, match=r"Cu\.eam is not in"):
        artifacts.path(ref)
    with pytest.raises(StoreError, match="digest"):
        artifacts.path(FileRef(name="x", sha256="../../../etc/passwd"))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "a\0b"])
def test_a_name_that_is_no_file_name_is_refused(artifacts: Artifacts, potential: Path, name: str) -> None:
    with pytest.raises(InputError, match="not a file name"):
        artifacts.put(potential, name=name)


def test_a_file_that_cannot_be_read_is_an_input_error(artifacts: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        artifacts.put(tmp_path / "missing.eam")
    with pytest.raises(InputError, match="cannot read"):
        artifacts.put(tmp_path, name="directory")


def test_who_puts_a_file_while_it_is_deleted_has_it_afterwards(artifacts: Artifacts, potential: Path) -> None:
    ref = artifacts.put(potential)
    for _ in range(300):
        os.utime(artifacts.path(ref), (0, 0))
        gate = threading.Barrier(2)

        def delete(gate: threading.Barrier = gate) -> None:
            gate.wait()
            artifacts.remove_file(ref.sha256)

        with ThreadPoolExecutor(1) as pool:
            deleted = pool.submit(delete)
            gate.wait()
            artifacts.put(potential)
            deleted.result()
        assert artifacts.path(ref).read_bytes() == b"rho and F"


def test_a_file_that_is_put_when_it_has_been_judged_old_comes_back(
    artifacts: Artifacts, potential: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = artifacts.put(potential)
    os.utime(artifacts.path(ref), (0, 0))
    rename = Path.rename

    def rename_late(path: Path, target: Path) -> Path:
        artifacts.put(potential)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_late)
    assert artifacts.remove_file(ref.sha256) is False
    assert artifacts.path(ref).read_bytes() == b"rho and F"


def test_a_file_that_is_put_aside_while_it_is_put_is_copied_again(
    artifacts: Artifacts, potential: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = artifacts.path(artifacts.put(potential))
    renew = os.utime

    def renew_early(path: Path) -> None:
        renew(path)
        place.rename(place.with_name(".aside"))

    monkeypatch.setattr(os, "utime", renew_early)
    assert artifacts.path(artifacts.put(potential)) == place


def test_what_a_crash_has_left_of_a_copy_goes_with_the_file(artifacts: Artifacts, potential: Path) -> None:
    place = artifacts.path(artifacts.put(potential))
    left = place.with_name(f".{place.name}.{'0' * 32}")
    left.touch()
    for path in (place, left):
        os.utime(path, (0, 0))
    assert artifacts.remove_file(place.name) is True
    assert list(place.parent.iterdir()) == []
