"""Many jobs under one handle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from nanoos_lab.core.errors import JobError, JobNotFoundError
from nanoos_lab.core.status import Status
from nanoos_lab.lab import waiting
from nanoos_lab.lab.job import Job
from nanoos_lab.lab.summary import Summary
from nanoos_lab.lab.views import view

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import Self

    import pandas as pd

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.lab.lab import Lab
    from nanoos_lab.store.prune import Pruned

#: Jobs that are watched at once while somebody waits for all.
_WATCHED = 100


class Group(Sequence[Job]):
    """A sequence of jobs, such as those of a sweep; what it says of all of them costs one question to the store.

    Parameters
    ----------
    lab
        Where the jobs are.
    ids
        Their ids, in order.
    columns
        What sets them apart, such as the parameters of a sweep: name → one value per job.
    units
        Units of those that are physical.

    Examples
    --------
    >>> group = nl.sweep(atoms, over={"temperature": [300, 600]}, engine="lammps", task="md", ...)  # doctest: +SKIP
    >>> group.wait().results  # doctest: +SKIP
    """

    def __init__(
        self,
        lab: Lab,
        ids: Sequence[str],
        columns: Mapping[str, Sequence[Any]] | None = None,
        units: Mapping[str, str] | None = None,
    ) -> None:
        self.lab = lab
        self.ids = tuple(ids)
        self.columns = {name: list(values) for name, values in (columns or {}).items()}
        self.units = dict(units or {})

    @property
    def records(self) -> list[JobRecord]:
        """What the store knows of the jobs now, in their order."""
        found = self.lab.services.store.get_many(dict.fromkeys(self.ids))
        for job_id in self.ids:
            if job_id not in found:
                raise JobNotFoundError(job_id)
        return [found[job_id] for job_id in self.ids]

    @property
    def status(self) -> dict[Status, int]:
        """How many jobs there are in each status."""
        return self.summary.counts

    @property
    def progress(self) -> float:
        """Fraction done, 0–1: the mean over the jobs, where one that has ended counts whole."""
        return self.summary.progress

    @property
    def summary(self) -> Summary:
        """Counts and progress together, from one question to the store, whatever the number of jobs."""
        summary = Summary.of_tally(self.lab.services.store.tally(self.ids))
        if summary.total < len(set(self.ids)):
            # Says which one is missing.
            return Summary.of(self.records)
        return summary

    def foremost(self, limit: int) -> list[JobRecord]:
        """Return the records of a few jobs: of all, in their order, or of those that a person wants to see first.

        Parameters
        ----------
        limit
            Most jobs. If there are more, those that run come first, then those that have failed, then those that wait.
        """
        found = self.lab.services.store.foremost(self.ids, limit)
        if len(self.ids) > limit:
            return found
        by_id = {record.id: record for record in found}
        return [by_id[job_id] for job_id in self.ids if job_id in by_id]

    def done(self) -> bool:
        """Whether all have ended, in whatever way."""
        return self.summary.done

    @property
    def jobs(self) -> pd.DataFrame:
        """A row per job, as `nanoos_lab.jobs` has them."""
        from nanoos_lab.lab.tables import jobs_frame

        return jobs_frame(self.records)

    @property
    def results(self) -> pd.DataFrame:
        """A row per job: what sets it apart, its status, and its scalar results as far as it has them.

        ``attrs["units"]`` has the units.
        """
        from nanoos_lab.lab.tables import results_frame

        return results_frame(self.records, self.columns, self.units)

    def wait(self, timeout: float | None = None) -> Self:
        """Block until all have ended, in whatever way; ``await group`` leaves the kernel free.

        Parameters
        ----------
        timeout
            Seconds to wait at most; None waits as long as it takes.

        Raises
        ------
        TimeoutError
            If they have not all ended by then; they go on.
        JobError
            If the lab is closed meanwhile; they go on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while left := self._left():
            remaining = None if deadline is None else deadline - time.monotonic()
            if not waiting.block(self.lab.watch, left[:_WATCHED], remaining):
                raise TimeoutError(f"{len(left)} of {len(self)} jobs have not ended within {timeout} s; they go on")
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._end().__await__()

    async def _end(self) -> Self:
        while left := await asyncio.to_thread(self._left):
            await waiting.leave(self.lab.watch, left[:_WATCHED])
        return self

    def cancel(self) -> int:
        """End all jobs; see `Job.cancel`.

        Returns
        -------
        int
            How many had not ended before.
        """
        # Those that depend on others come after them; ended first, they are not offered to workers for a moment.
        return self.lab.cancel_many(record.id for record in reversed(self.records) if not record.status.finished)

    def pause(self) -> int:
        """Have all jobs rest; see `Job.pause`.

        Returns
        -------
        int
            How many had not ended before; the others are left alone.
        """
        return self.lab.pause_many(self._left())

    def resume(self) -> int:
        """Have the paused jobs go on; see `Job.resume`.

        Returns
        -------
        int
            How many were paused; the others are left alone.
        """
        return self.lab.resume_many(record.id for record in self.records if record.paused is not None)

    def steer(self, **changes: Any) -> pd.DataFrame:
        """Change parameters of all jobs on their way, such as ``temperature=900``; see `Job.steer`.

        All of them are asked first whether they can take it. Jobs that have ended, or are being cancelled, are left
        alone.

        Parameters
        ----------
        **changes
            Parameters, the same for all.

        Returns
        -------
        pandas.DataFrame
            A row per job: what sets it apart, and in the column ``steering`` what `Job.steer` returns, the number of
            the steering, counted from 1; missing where the job was left alone.

        Raises
        ------
        InputError
            If a job has nothing to steer, or a value is not allowed; names the first such job, and none was changed.
        """
        from nanoos_lab.lab.tables import steered_frame

        takers = [one.id for one in self.records if not one.status.finished and one.cancel_requested is None]
        return steered_frame(self.ids, self.columns, self.units, self.lab.steer_many(takers, changes))

    def retry(self, *, limits: Any = None, retries: Any = None) -> Self:
        """Try the failed jobs again, from their newest checkpoints if they have some; the others are left alone.

        Parameters
        ----------
        limits, retries
            New ones, as `Lab.submit` takes them; None keeps the old ones.
        """
        failed = [record.id for record in self.records if record.status is Status.FAILED]
        self.lab.retry_many(failed, limits=limits, retries=retries)
        return self

    def delete(self) -> Pruned:
        """Delete all jobs, which have ended, with their files and nothing else's; see `Job.delete`.

        Raises
        ------
        InputError
            If one of them has not ended, or a job outside of the group depends on it or shows its results.
        """
        return self.lab.delete(self)

    def succeeded(self) -> list[JobRecord]:
        """Return the records of all jobs, if all have their results.

        Raises
        ------
        JobFailedError, JobCancelledError
            If one has none, the first such one's.
        JobError
            If one has not ended.
        """
        records = self.records
        for record in records:
            if record.status.finished and record.status is not Status.SUCCEEDED:
                error = Job(self.lab, record.id).exception(0)
                if error is not None:
                    raise error
        left = [record for record in records if not record.status.finished]
        if left:
            text = f"{len(left)} of {len(records)} jobs have not ended; group.wait() waits"
            raise JobError(text, job_id=left[0].id)
        return records

    @overload
    def __getitem__(self, index: int) -> Job: ...

    @overload
    def __getitem__(self, index: slice) -> Group: ...

    def __getitem__(self, index: int | slice) -> Job | Group:
        if isinstance(index, slice):
            columns = {name: values[index] for name, values in self.columns.items()}
            return Group(self.lab, self.ids[index], columns, self.units)
        return Job(self.lab, self.ids[index])

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Job]:
        return (Job(self.lab, job_id) for job_id in self.ids)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} jobs>"

    def __str__(self) -> str:
        return self.summary.text

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        return view("group", _still)(self)

    def _left(self) -> list[str]:
        """Return the ids of those that have not ended."""
        return [record.id for record in self.records if not record.status.finished]


def _still(group: Group) -> dict[str, str]:
    summary = group.summary
    return {"text/plain": summary.text, "text/html": summary.html}
