"""Checkpoints of a job: what an attempt leaves behind so that the next one can go on. Files only.

::

    <attempt>/checkpoints/<step>/checkpoint.json   the manifest: step, facts, size and SHA-256 of each file
    <attempt>/checkpoints/<step>/…                 the engine's own files

A checkpoint is there whole or not at all; one that was damaged later is found out by its digests. It counts only if the
samples before it are in the segment beside it: the next attempt's begin where it stands, and there must be no gap.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from nanoos_lab.core.frames import Checkpoint
from nanoos_lab.store.files import sync_directory
from nanoos_lab.store.segments import SegmentPlace
from nanoos_lab.store.thermo import read_thermo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

MANIFEST = "checkpoint.json"
#: Generations that an attempt keeps.
KEEP = 2

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
_STEP = re.compile(r"0|[1-9][0-9]{0,15}")
_CHUNK = 1 << 20
#: Largest manifest that is read, in bytes.
_LARGEST = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A checkpoint that cannot be used."""

    #: Where it is.
    directory: Path
    #: Why not.
    why: str


@dataclass(frozen=True, kw_only=True)
class Found:
    """What earlier attempts left."""

    #: What can be used, newest first.
    checkpoints: tuple[Checkpoint, ...]
    #: What cannot, newest first.
    refused: tuple[Refused, ...]


@contextmanager
def writing(place: Path, step: int, facts: Mapping[str, Any], *, sampled: int | None = None) -> Iterator[Path]:
    """Yield an empty directory that becomes a checkpoint, whole, when the block has ended without an error.

    Older ones in the same place are then deleted, save for the newest of them.

    Parameters
    ----------
    place
        The attempt's directory for checkpoints; made if it is missing.
    step
        The step of the job.
    facts
        What the engine notes besides its files: plain JSON values.
    sampled
        Step of the attempt's last sample before; None if there was none.

    Raises
    ------
    ValueError
        If the block has left something other than plain files.
    """
    if not place.is_dir():
        place.mkdir(mode=0o700)
        sync_directory(place.parent)
    temporary = place / f".{step}.{uuid4().hex}"
    temporary.mkdir(mode=0o700)
    try:
        yield temporary
        _seal(temporary, step, facts, sampled)
        target = place / str(step)
        if target.exists():
            _delete(target)
        temporary.rename(target)
        sync_directory(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in _generations(place)[KEEP:]:
        _delete(old)


def find(places: Sequence[Path], last_steps: Sequence[int | None] = (), *, enough: int = KEEP) -> Found:
    """Find the checkpoints from which a job can go on.

    One that lies behind the first step of a later attempt is passed over: that attempt had reason not to use it, and
    from there on it is the later attempt's samples that count.

    Parameters
    ----------
    places
        The directories for checkpoints of the job's attempts, oldest first; each in the directory of its attempt.
    last_steps
        Last step of each attempt whose samples count, as the store has it; None, or missing, for all.
    enough
        Older ones are not looked at once so many are found.
    """
    checkpoints: list[Checkpoint] = []
    refused: list[Refused] = []
    lasts = [*last_steps, *[None] * (len(places) - len(last_steps))]
    for directory, last in _candidates(places, lasts):
        if len(checkpoints) >= enough:
            break
        try:
            checkpoints.append(_read(directory, last))
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            refused.append(Refused(directory=directory, why=str(error) or type(error).__name__))
    return Found(checkpoints=tuple(checkpoints), refused=tuple(refused))


def discard(places: Sequence[Path]) -> None:
    """Delete the checkpoints of a job that needs them no more.

    Parameters
    ----------
    places
        The directories for checkpoints of its attempts; those that are not there do no harm.
    """
    for place in places:
        if not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)


def _candidates(places: Sequence[Path], last_steps: Sequence[int | None]) -> list[tuple[Path, float]]:
    """Return directories of checkpoints, newest first, each with the last step of its attempt's samples."""
    found: list[tuple[int, int, Path, float]] = []
    bound = math.inf
    for age, (place, counted) in enumerate(zip(reversed(places), reversed(last_steps), strict=True)):
        first, last = _sampled_between(SegmentPlace(directory=place.parent, last_step=counted))
        found += [(-int(path.name), age, path, last) for path in _generations(place) if int(path.name) <= bound]
        bound = min(bound, first)
    return [(path, last) for _, _, path, last in sorted(found, key=lambda each: each[:2])]


def _sampled_between(segment: SegmentPlace) -> tuple[float, float]:
    """Return the first and the last step of the samples that count of an attempt; ∞ and −∞ if it has none."""
    try:
        thermo = read_thermo([segment])
    except (OSError, ValueError, LookupError, TypeError):
        thermo = None
    if thermo is None or not len(thermo.steps):
        return math.inf, -math.inf
    return float(thermo.steps[0]), float(thermo.steps[-1])


def _generations(place: Path) -> list[Path]:
    """Return what lies in a place for checkpoints under the names of steps, newest first."""
    if place.is_symlink() or not place.is_dir():
        return []
    found = [path for path in place.iterdir() if _STEP.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def _seal(directory: Path, step: int, facts: Mapping[str, Any], sampled: int | None) -> None:
    """Put everything on disk, and the manifest with it."""
    files = {path.name: _describe(path, sync=True) for path in sorted(directory.iterdir())}
    manifest = {"version": 1, "step": step, "sampled": sampled, "facts": dict(facts), "files": files}
    with (directory / MANIFEST).open("x", encoding="utf-8") as file:
        json.dump(manifest, file, allow_nan=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    sync_directory(directory)


def _read(directory: Path, last: float) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises
    ------
    OSError, ValueError, LookupError, TypeError, RecursionError
        If it cannot be used; says why.
    """
    if directory.is_symlink() or not directory.is_dir():
        raise ValueError("it is no directory")
    manifest = _manifest(directory / MANIFEST)
    step, sampled, facts, files = (manifest[name] for name in ("step", "sampled", "facts", "files"))
    plain = isinstance(step, int) and isinstance(facts, dict) and isinstance(files, dict)
    if manifest["version"] != 1 or not plain or step != int(directory.name):
        raise ValueError("its manifest is not one of this version and step")
    if sampled is not None and sampled > last:
        raise ValueError(f"of the samples before it, that of step {sampled} was not kept")
    named = {path.name for path in directory.iterdir() if not path.name.startswith(".")}
    if named != {MANIFEST, *files}:
        raise ValueError("its files are not those of its manifest")
    for name, expected in files.items():
        if _describe(directory / name) != expected:
            raise ValueError(f"its file {name} is damaged: size or digest differ from the manifest")
    return Checkpoint(step=step, directory=directory, facts=facts)


def _manifest(path: Path) -> dict[str, Any]:
    with os.fdopen(_open_plain(path), "rb") as file:
        data = file.read(_LARGEST + 1)
    try:
        manifest = json.loads(data)
    except ValueError:
        raise ValueError("its manifest cannot be read") from None
    if len(data) > _LARGEST or not isinstance(manifest, dict):
        raise ValueError("its manifest cannot be read")
    return manifest


def _describe(path: Path, *, sync: bool = False) -> dict[str, Any]:
    """Return size and digest of a file; put it on disk first if asked to."""
    if not _PLAIN.fullmatch(path.name):
        raise ValueError(f"{path.name!r} is no plain name for a file of a checkpoint")
    digest = hashlib.sha256()
    size = 0
    with os.fdopen(_open_plain(path), "rb", buffering=0) as file:
        if sync:
            os.fsync(file.fileno())
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return {"size": size, "sha256": digest.hexdigest()}


def _open_plain(path: Path) -> int:
    """Open a regular file for reading, and nothing else: no link, no pipe."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ValueError(f"{path.name!r} is no plain file")
    return handle


def _delete(directory: Path) -> None:
    """Delete a checkpoint; one that is deleted by half must not be found."""
    hidden = directory.with_name(f".{directory.name}.{uuid4().hex}")
    directory.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)
