"""Where the files of jobs lie: each attempt's own directory, and input files under the name of their content."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nanoos_lab.core.errors import InputError, JobNotFoundError, SettingsError, StoreError
from nanoos_lab.core.request import FileRef
from nanoos_lab.store.files import replacing, sync_directory

_ID = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
#: Directory of an attempt in which its engine works.
WORK = "work"


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
        if not place.exists():
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
        if not _DIGEST.fullmatch(ref.sha256):
            raise StoreError(f"{ref.sha256!r} is not a SHA-256 digest")
        place = self._file(ref.sha256)
        try:
            with place.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise StoreError(f"the input file {ref.name} is not in {self.root}: {error.strerror}") from None
        if digest != ref.sha256:
            raise StoreError(f"the input file {ref.name} in {self.root} is damaged; submit the job again")
        return place

    def _job(self, job_id: str) -> Path:
        if not _ID.fullmatch(job_id):
            raise JobNotFoundError(job_id)
        # The end of an id is random, its beginning is the time.
        return self.root / "jobs" / job_id[-2:] / job_id

    def _file(self, digest: str) -> Path:
        return self.root / "files" / digest[:2] / digest


def _directory(root: Path | str) -> Path:
    if isinstance(root, Path):
        return root.absolute()
    parts = urlsplit(root)
    if parts.scheme == "":
        return Path(root).expanduser().absolute()
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise SettingsError(f"artifacts cannot be kept at {root!r}; give a directory or a file:///… URL")
    return Path(unquote(parts.path))
