"""Which file systems are shared between hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanoos_lab.store.places import network_file_system

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/me/scratch tmpfs rw 0 0
me@host: /mnt/with\\040space fuse.sshfs rw 0 0
server:/old /data nfs rw 0 0
/dev/sdb1 /data xfs rw 0 0
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    path = tmp_path / "mounts"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/nanoos", None),
        ("/home/me/.local/share", "nfs4"),
        ("/home/me/scratch/store", None),
        ("/homely", None),
        ("/mnt/with space/store", "fuse.sshfs"),
        ("/data/store", None),
    ],
)
def test_the_innermost_and_latest_mount_decides(path: str, kind: str | None, mounts: Path) -> None:
    assert network_file_system(Path(path), mounts=mounts) == kind


def test_a_system_without_a_table_of_mounts_counts_as_local(tmp_path: Path) -> None:
    assert network_file_system(tmp_path, mounts=tmp_path / "none") is None
