"""Retention: deleting jobs that have ended, with their files and nothing else's.

What is about to go is written down first, in ``<artifacts>/pruning``; then the rows go, a batch in one transaction, and
then the files. Whoever prunes next finishes what a crash has left. Only what was written down is ever deleted: files
that no job knows, such as those of a database that was restored from an older copy, stay.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from sqlalchemy import delete, exists, not_, select, text

from nanoos_lab.core.errors import InputError, JobNotFoundError, ParameterError
from nanoos_lab.core.status import Status
from nanoos_lab.store import moves
from nanoos_lab.store.artifacts import GRACE
from nanoos_lab.store.files import write_durably
from nanoos_lab.store.records import job_record
from nanoos_lab.store.results import ARRAYS, RESULTS
from nanoos_lab.store.schedules import Schedules
from nanoos_lab.store.schema import attempts, clock, dependencies, events, jobs, schedules, steerings, structures
from nanoos_lab.store.segments import HEAD, THERMO
from nanoos_lab.store.terms import RECORD

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import ColumnElement, TextClause

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.store.artifacts import Artifacts
    from nanoos_lab.store.reading import StoreReader
    from nanoos_lab.store.work import Work

#: What a job can have ended as.
ENDED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)
#: What stays of an attempt whose results are kept.
RESULT_FILES = (RESULTS, ARRAYS, HEAD, THERMO)
#: Jobs that go in one transaction.
_BATCH = 200
#: Most values in one IN list.
_LIST = 5000
#: Seconds for which another one who prunes may be at work on what it has written down.
_AT_WORK = 600.0
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which ended jobs are to go."""

    #: These; None for all that the other conditions hold for.
    ids: tuple[str, ...] | None = None
    #: Ended at least so many seconds ago.
    older_than: float = 0.0
    #: Ended as one of these.
    statuses: tuple[Status, ...] = ENDED
    #: Of jobs that have succeeded, keep record, results and thermo; only frames, log and working files go.
    keep_results: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.older_than < 1e10:
            raise ParameterError("older_than", self.older_than, "a time ≥ 0 s")
        for status in self.statuses:
            if status not in ENDED:
                raise ParameterError(
                    "status", str(status), "one of succeeded, failed, cancelled: only those have ended"
                )


@dataclass(frozen=True, kw_only=True)
class Doomed:
    """One job that goes, or whose bulk goes."""

    #: The job as it was.
    record: JobRecord
    #: Bytes of the files that go.
    size: int
    #: Whether record, results and thermo stay.
    keeps_results: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would go."""

    #: What was asked for.
    choice: Choice
    #: The jobs that go.
    jobs: tuple[Doomed, ...]
    #: Jobs that would go but stay, each with a job that remains and depends on it or shows its results.
    kept: Mapping[str, str]
    #: Ids of all that no longer need others: those that go, and those that have nothing left to go.
    through: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What has gone, or would go."""

    #: The jobs.
    jobs: tuple[Doomed, ...]
    #: Jobs that stay though they were chosen, each with a job that remains and needs it.
    kept: Mapping[str, str]
    #: Bytes of the jobs' files; once they have gone, also of input files that no job names any more.
    size: int
    #: Whether they have gone.
    done: bool


class Pruner:
    """Deletes ended jobs.

    Parameters
    ----------
    store
        Theirs, whose errors every method raises.
    artifacts
        Their files.
    grace
        Input files are kept for so many seconds after they were last put.
    """

    def __init__(self, store: StoreReader, artifacts: Artifacts, *, grace: float = GRACE) -> None:
        self._store = store
        self._artifacts = artifacts
        self._grace = grace
        self._place = artifacts.root / "pruning"
        self._mine: set[Path] = set()

    def plan(self, choice: Choice) -> Plan:
        """Find out what would go; changes nothing.

        A job stays as long as another one that remains depends on it or shows its results.

        Raises
        ------
        JobNotFoundError
            If one of the ids does not exist.
        InputError
            If one of them has not ended, or is needed by a job that remains.
        """
        with self._store._reading() as work:
            found = {record.id: record for record in _find(work, choice)}
            if choice.ids is not None:
                _require_ended(work, choice.ids, found)
            kept = _needed(_ties(work, list(found)), found)
        if choice.ids is not None and kept:
            job_id, by = next(iter(kept.items()))
            raise InputError(f"job {by} depends on job {job_id} or shows its results, and would remain; name both")
        doomed = [self._doomed(record, choice) for record in found.values() if record.id not in kept]
        going = tuple(job for job in doomed if job.size or not job.keeps_results)
        return Plan(choice=choice, jobs=going, kept=kept, through=frozenset(found) - set(kept))

    def carry_out(self, plan: Plan) -> Pruned:
        """Delete what a plan says, save for what somebody has come to need since.

        Raises
        ------
        OSError
            If a file cannot be deleted; the next prune goes on with it.
        """
        whole = [job for job in plan.jobs if not job.keeps_results]
        gone = self._delete_rows(whole, plan.choice)
        done = [job for job in whole if job.record.id in gone]
        freed = sum(job.size for job in done)
        for job in plan.jobs:
            if job.keeps_results and self._note_strip(job.record, plan):
                freed += self._artifacts.strip_job(job.record.id, RESULT_FILES)
                done.append(job)
        return Pruned(jobs=tuple(done), kept=plan.kept, size=freed + self.finish(), done=True)

    def remove_schedule(self, schedule_id: str) -> bool:
        """Forget a schedule, with what no job needs of it; False if it was not there (any more)."""
        with self._store._reading() as work:
            rows = work.query(select(schedules.c.request).where(schedules.c.id == schedule_id))
        self._note((), [request for (request,) in rows])
        removed = Schedules(self._store).remove(schedule_id)
        self.finish()
        return removed

    def finish(self) -> int:
        """Delete the files of jobs whose rows have gone, of this prune and of those before; return bytes of inputs."""
        with self._store._writing() as work:
            _drop_structures(work)
        paths = sorted(self._place.glob("*.json"))
        notes = [note for path in paths if (note := self._read(path)) is not None]
        wanted = {digest for note in notes for digest in note.files}
        named = self._named_files() if wanted else set()
        freed = sum(self._remove_input(digest) for digest in wanted - named)
        for note in notes:
            note.settle([one for one in note.files if one not in named and self._artifacts.file_size(one)])
            self._mine.discard(note.path)
        return freed

    # -- rows -----------------------------------------------------------------------------------------------------

    def _delete_rows(self, doomed: Sequence[Doomed], choice: Choice) -> set[str]:
        """Delete the rows of jobs; those that others need only after these."""
        left = [job.record.id for job in doomed]
        gone: set[str] = set()
        progress = True
        while left and progress:
            now_gone: set[str] = set()
            for start in range(0, len(left), _BATCH):
                now_gone |= self._delete_batch(left[start : start + _BATCH], choice)
            gone |= now_gone
            left = [job_id for job_id in left if job_id not in now_gone]
            progress = bool(now_gone)
        return gone

    def _delete_batch(self, ids: Sequence[str], choice: Choice) -> set[str]:
        with self._store._reading() as work:
            requests = work.query(select(jobs.c.request).where(jobs.c.id.in_(ids)))
        self._note(ids, [request for (request,) in requests])
        with self._store._writing() as work:
            locked = _lock(work, ids, choice)
            # Asked after the locks are held: who has tied a job to one of these has committed, and nobody can now.
            free = sorted(locked - set(_needed(_ties(work, sorted(locked)), locked)))
            for table in (events, attempts, dependencies, steerings):
                work.query(delete(table).where(table.c.job_id.in_(free)))
            work.query(delete(jobs).where(jobs.c.id.in_(free)))
        return set(free)

    def _note_strip(self, record: JobRecord, plan: Plan) -> bool:
        """Write into the history of a job that its bulk goes; whether it may."""
        with self._store._writing() as work:
            locked = _lock(work, [record.id], plan.choice)
            if not locked or _ties(work, [record.id]).get(record.id, set()) - plan.through:
                return False
            moves.add_event(work, record.id, record.attempt, "pruned", "frames, log and working files were deleted")
        return True

    # -- files ----------------------------------------------------------------------------------------------------

    def _doomed(self, record: JobRecord, choice: Choice) -> Doomed:
        keeps = choice.keep_results and record.status is Status.SUCCEEDED
        size = self._artifacts.size(record.id, keep=RESULT_FILES if keeps else ())
        return Doomed(record=record, size=size, keeps_results=keeps)

    def _note(self, ids: Sequence[str], requests: Sequence[str]) -> None:
        """Write down that these jobs, and the input files that these requests name, are about to go."""
        files = {ref["sha256"] for request in requests for ref in json.loads(request)["files"].values()}
        if ids or files:
            note = _Note(path=self._place / f"{uuid4().hex}.json", jobs=tuple(ids), files=tuple(sorted(files)))
            note.write()
            self._mine.add(note.path)

    def _read(self, path: Path) -> _Note | None:
        """Read what was to go, and delete the directories of jobs that have gone; None if others are at work on it."""
        try:
            note = _Note.read(path)
        except FileNotFoundError:
            return None
        there = set(self._store.get_many(note.jobs))
        for job_id in note.jobs:
            if job_id not in there:
                self._artifacts.remove_job(job_id)
        at_work = bool(there) and path not in self._mine and note.age < _AT_WORK
        return None if at_work else note

    def _remove_input(self, digest: str) -> int:
        size = self._artifacts.file_size(digest)
        return size if self._artifacts.remove_file(digest, grace=self._grace) else 0

    def _named_files(self) -> set[str]:
        """Return every digest that a request of a job or a schedule names."""
        found: set[str] = set()
        with self._store._reading() as work:
            for (request,) in work.query(select(schedules.c.request)):
                found.update(_DIGEST.findall(request))
            last = ""
            while rows := work.query(
                select(jobs.c.id, jobs.c.request).where(jobs.c.id > last).order_by(jobs.c.id).limit(_LIST)
            ):
                found.update(digest for _, request in rows for digest in _DIGEST.findall(request))
                last = rows[-1][0]
        return found


@dataclass(frozen=True, kw_only=True)
class _Note:
    """What is about to go, written down before it goes."""

    path: Path
    #: Ids of jobs whose directories go, unless their rows are there.
    jobs: tuple[str, ...]
    #: Digests of input files that go, unless a request names them.
    files: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        values = json.loads(path.read_bytes())
        return cls(path=path, jobs=tuple(values["jobs"]), files=tuple(values["files"]))

    @property
    def age(self) -> float:
        """Seconds since it was written."""
        return time.time() - self.path.stat().st_mtime

    def write(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_durably(self.path, json.dumps({"jobs": self.jobs, "files": self.files}).encode())

    def settle(self, files: Sequence[str]) -> None:
        """Leave only these files to be deleted, later; the directories have gone."""
        if files:
            replace(self, jobs=(), files=tuple(files)).write()
        else:
            self.path.unlink(missing_ok=True)


# -- questions --------------------------------------------------------------------------------------------------------


def _find(work: Work, choice: Choice) -> list[JobRecord]:
    query = select(*RECORD).where(*_chosen(choice)).order_by(jobs.c.id)
    if choice.ids is None:
        return [job_record(row) for row in work.query(query)]
    rows = [row for some in _lists(choice.ids) for row in work.query(query.where(jobs.c.id.in_(some)))]
    return [job_record(row) for row in rows]


def _lock(work: Work, ids: Sequence[str], choice: Choice) -> set[str]:
    """Return those of the jobs that are still to go; nobody changes them, or ties a job to them, meanwhile."""
    query = select(jobs.c.id).where(jobs.c.id.in_(ids), *_chosen(choice)).order_by(jobs.c.id)
    return {row[0] for row in work.query(query.with_for_update(skip_locked=True))}


def _chosen(choice: Choice) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [jobs.c.status.in_([status.value for status in choice.statuses])]
    if choice.older_than:
        conditions.append(jobs.c.ended <= clock(-choice.older_than))
    return conditions


def _require_ended(work: Work, ids: Sequence[str], found: Collection[str]) -> None:
    for job_id in ids:
        if job_id not in found:
            rows = work.query(select(jobs.c.status).where(jobs.c.id == job_id))
            if not rows:
                raise JobNotFoundError(job_id)
            raise InputError(f"job {job_id} is {rows[0][0]}; only jobs that have ended are deleted, so cancel it first")


def _ties(work: Work, ids: Sequence[str]) -> dict[str, set[str]]:
    """Return, by job, those that depend on it or show its results."""
    found: dict[str, set[str]] = {}
    for some in _lists(ids):
        depending = select(dependencies.c.parent_id, dependencies.c.job_id).where(dependencies.c.parent_id.in_(some))
        equal = select(jobs.c.cached_from, jobs.c.id).where(jobs.c.cached_from.in_(some))
        for needed, by in [*work.query(depending), *work.query(equal)]:
            found.setdefault(needed, set()).add(by)
    return found


def _needed(ties: Mapping[str, set[str]], going: Iterable[str]) -> dict[str, str]:
    """Return which of the jobs that are to go must stay, each with one that stays and needs it."""
    left, kept = set(going), dict[str, str]()
    while found := {one: min(by - left) for one, by in ties.items() if one in left and by - left}:
        kept |= found
        left -= set(found)
    return kept


def _lists(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _LIST):
        yield ids[start : start + _LIST]


def _drop_structures(work: Work) -> None:
    """Delete the structures that no job and no schedule has."""
    if work.dialect == "postgresql":
        # Who submits looks for the structure, and names it a moment later in the same transaction.
        work.run(_lock_structures)
    named = [exists().where(table.c.structure == structures.c.digest) for table in (jobs, schedules)]
    work.query(delete(structures).where(*(not_(one) for one in named)))


def _lock_structures() -> TextClause:
    """Write: that nobody adds structures until the transaction ends."""
    return text("LOCK TABLE structures IN SHARE ROW EXCLUSIVE MODE")
