"""What kind of file system a path is on."""

from __future__ import annotations

from pathlib import Path

#: File systems shared between hosts, on which SQLite's shared memory and locks do not work.
_NETWORK = frozenset(
    [
        "afs",
        "afpfs",
        "beegfs",
        "ceph",
        "cifs",
        "fhgfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb3",
        "smbfs",
        "wekafs",
    ]
)


def network_file_system(path: Path, *, mounts: Path = Path("/proc/self/mounts")) -> str | None:
    """Return the kind of network file system that a path is on, or None for a local one.

    Parameters
    ----------
    path
        Need not exist.
    mounts
        The system's table of mounts; where there is none, as on macOS, every path counts as local.
    """
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    place = path.resolve()
    found = (Path("/"), "")
    for line in lines:
        _, point, kind, *_ = line.split(" ")
        where = Path(point.replace("\\040", " "))
        # A later mount on the same point hides the earlier one.
        if place.is_relative_to(where) and len(where.parts) >= len(found[0].parts):
            found = (where, kind)
    kind = found[1]
    remote = kind in _NETWORK or kind.startswith(("fuse.sshfs", "fuse.gluster", "fuse.ceph", "fuse.s3", "fuse.rclone"))
    return kind if remote else None
