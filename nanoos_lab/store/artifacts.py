"""Where the files of jobs lie: each attempt's own directory, and input files under the name of their content."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from nanoos_lab.core.errors import InputError, JobNotFoundError, SettingsError, StoreError
from nanoos_lab.core.request import FileRef
from nanoos_lab.store import removal
from nanoos_lab.store.files import replacing, sync_directory

if TYPE_CHECKING:
    from collections.abc import Collection

_ID = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
#: Directory of an attempt in which its engine works.
WORK = "work"
#: For so long after it was last put, an input file is kept though no job names it: one that does may be on its way.
GRACE = 86_400.0


class Artifacts:
    """The files of one lab.

    ::

        <root>/files/<ab>/<sha256>              input files
        <root>/jobs/<yz>/<job id>/<attempt>/    what an attempt wrote; its engine's files in work/

    Parameters
    ----------
    root
        A directory, as a path or a ``file://`` URL; local, or shared between the hosts of the workers.

    Raises
    ------
    SettingsError
        If it is another kind of URL.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = _directory(root)

    def attempt_dir(self, job_id: str, attempt: int) -> Path:
        """Return the directory of an attempt, made (0700) if it is missing."""
        path = self._job(job_id) / str(int(attempt))
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def new_attempt_dir(self, job_id: str, attempt: int) -> Path:
        """Return the directory of an attempt that begins now.

        An engine has worked there before if the database was restored from a copy that did not know of it yet. What it
        has left is put aside, and goes with the job.
        """
        path = self.attempt_dir(job_id, attempt)
        if (path / WORK).exists():
            path.rename(path.with_name(f".{path.name}.{uuid4().hex}"))
        return self.attempt_dir(job_id, attempt)

    def attempt_dirs(self, job_id: str, *, last: int | None = None) -> list[Path]:
        """Return the directories of a job's attempts that exist, in their order.

        Parameters
        ----------
        job_id
            The job.
        last
            Only attempts up to this number.
        """
        job = self._job(job_id)
        found = [path for path in job.iterdir() if path.name.isdigit()] if job.is_dir() else []
        numbered = sorted((int(path.name), path) for path in found)
        return [path for number, path in numbered if last is None or number <= last]

    def files(self, job_id: str, attempt: int) -> dict[str, Path]:
        """Return what the engine left in its working directory, by name relative to it; links are left out."""
        work = self._job(job_id) / str(int(attempt)) / WORK
        found = [path for path in work.rglob("*") if path.is_file() and not path.is_symlink()]
        return {path.relative_to(work).as_posix(): path for path in sorted(found)}

    def put(self, path: Path, *, name: str | None = None) -> FileRef:
        """Keep a copy of a file under the name of its content.

        Parameters
        ----------
        path
            The file.
        name
            Its name in the engine's working directory; by default its own.

        Raises
        ------
        InputError
            If it cannot be read, or the name is not a plain file name.
        """
        name = path.name if name is None else name
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise InputError(f"{name!r} is not a file name")
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        place = self._file(digest)
        if not _renew(place):
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("rb") as source, replacing(place) as target:
                shutil.copyfileobj(source, target)
            sync_directory(place.parent)
        return FileRef(name=name, sha256=digest)

    def path(self, ref: FileRef) -> Path:
        """Return where a kept file lies.

        Raises
        ------
        StoreError
            If it is missing, or is no longer what it was.
        """
        place = self._input(ref.sha256)
        try:
            with place.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise StoreError(f"the input file {ref.name} is not in {self.root}: {error.strerror}") from None
        if digest != ref.sha256:
            raise StoreError(f"the input file {ref.name} in {self.root} is damaged; submit the job again")
        return place

    # -- deleting -----------------------------------------------------------------------------------------------

    def size(self, job_id: str, *, keep: Collection[str] = ()) -> int:
        """Return the bytes of a job's files, without those of an attempt that have one of the names in `keep`."""
        if not keep:
            return removal.size(self._job(job_id))
        entries = [entry for attempt in self._own_attempts(job_id) for entry in attempt.iterdir()]
        return sum(removal.size(entry) for entry in entries if entry.name not in keep)

    def remove_job(self, job_id: str) -> None:
        """Delete the directory of a job; links in it are deleted, not what they lead to.

        Raises
        ------
        OSError
            If something of it stays.
        """
        removal.remove(self._inside(self._job(job_id)))

    def strip_job(self, job_id: str, keep: Collection[str]) -> int:
        """Delete what the attempts at a job wrote, save for these names; return the bytes that were freed."""
        return sum(removal.remove_all_but(attempt, keep) for attempt in self._own_attempts(job_id))

    def file_size(self, digest: str) -> int:
        """Return the bytes of an input file; 0 if there is none."""
        return removal.size(self._input(digest))

    def remove_file(self, digest: str, *, grace: float = GRACE) -> bool:
        """Delete an input file that no job names, unless it was put within the last `grace` seconds.

        Returns
        -------
        bool
            Whether it is gone.
        """
        place = self._inside(self._input(digest))
        for left in place.parent.glob(f".{digest}.*"):
            # What a crash has left of a copy that was being made, or of a file that was put aside.
            if _is_old(left, GRACE):
                left.unlink(missing_ok=True)
        if not _is_old(place, grace):
            return not place.exists()
        # Put aside first: who puts it at this moment then finds it missing and copies it again, or has renewed it.
        aside = place.with_name(f".{place.name}.{uuid4().hex}")
        try:
            place.rename(aside)
        except FileNotFoundError:
            return True
        if _is_old(aside, grace):
            aside.unlink(missing_ok=True)
            return True
        aside.rename(place)
        return False

    def _own_attempts(self, job_id: str) -> list[Path]:
        """Return the directories of a job's attempts, without links to elsewhere."""
        attempts = self.attempt_dirs(job_id)
        return [self._inside(path) for path in attempts if not path.is_symlink()]

    def _inside(self, place: Path) -> Path:
        """Return a path whose directory lies in our root, and is not a link that leads elsewhere."""
        parent = place.parent
        if parent.exists() and parent.resolve() != self.root.resolve() / parent.relative_to(self.root):
            raise StoreError(f"{parent} is a link that leads out of {self.root}; nothing is deleted there")
        return place

    def _input(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise StoreError(f"{digest!r} is not a SHA-256 digest")
        return self._file(digest)

    def _job(self, job_id: str) -> Path:
        if not _ID.fullmatch(job_id):
            raise JobNotFoundError(job_id)
        # The end of an id is random, its beginning is the time.
        return self.root / "jobs" / job_id[-2:] / job_id

    def _file(self, digest: str) -> Path:
        return self.root / "files" / digest[:2] / digest


def _renew(place: Path) -> bool:
    """Have a kept file count as put now; False if it is not there."""
    try:
        os.utime(place)
    except (FileNotFoundError, PermissionError):
        # Another person's file cannot be renewed; a copy takes its place.
        return False
    # It may be put aside between the two.
    return place.exists()


def _is_old(place: Path, grace: float) -> bool:
    try:
        return time.time() - place.lstat().st_mtime >= grace
    except FileNotFoundError:
        return False


def _directory(root: Path | str) -> Path:
    if isinstance(root, Path):
        return root.absolute()
    parts = urlsplit(root)
    if parts.scheme == "":
        return Path(root).expanduser().absolute()
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise SettingsError(f"artifacts cannot be kept at {root!r}; give a directory or a file:///… URL")
    return Path(unquote(parts.path))
