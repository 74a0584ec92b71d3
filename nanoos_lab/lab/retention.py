"""Deleting jobs that have ended, with their files: by age, or by name."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from nanoos_lab.core.choices import some_of
from nanoos_lab.core.status import Status
from nanoos_lab.lab.job import Job
from nanoos_lab.store.prune import ENDED, Choice, Pruned, Pruner

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nanoos_lab.lab.lab import Lab


def prune(
    lab: Lab,
    *,
    older_than: float | timedelta,
    status: str | Iterable[str] | None = None,
    keep_results: bool = False,
    dry_run: bool = True,
) -> Pruned:
    """Delete jobs that ended long ago, with their files and nothing else's.

    A job stays as long as another one that remains depends on it or shows its results; an input file as long as a job
    or a schedule names it.

    Parameters
    ----------
    lab
        Whose jobs.
    older_than
        They ended at least so long ago; in s, or a `timedelta`.
    status
        Only "succeeded", "failed" or "cancelled" ones, or several of these.
    keep_results
        Of jobs that have succeeded, keep record, results and thermo; delete only frames, log and working files.
    dry_run
        Whether only to say what would go. Pass False to delete.

    Returns
    -------
    Pruned
        What has gone or would go: ``jobs``, ``size`` in bytes, and ``kept``: what stays though it is old.

    Raises
    ------
    InputError
        If one of the arguments is not allowed.
    """
    seconds = older_than.total_seconds() if isinstance(older_than, timedelta) else older_than
    words = ENDED if status is None else some_of("status of a job that has ended", status, ENDED)
    choice = Choice(older_than=seconds, statuses=tuple(map(Status, words)), keep_results=keep_results)
    return _do(lab, choice, dry_run)


def delete(lab: Lab, jobs: Job | str | Iterable[Job | str], *, dry_run: bool = False) -> Pruned:
    """Delete these jobs with their files; all are looked at before the first is touched.

    Parameters
    ----------
    lab
        Whose jobs.
    jobs
        A job, its id, or several of them.
    dry_run
        Whether only to say what would go.

    Raises
    ------
    JobNotFoundError
        If one of them does not exist.
    InputError
        If one of them has not ended, or another job that would remain depends on it or shows its results.
    """
    several = [jobs] if isinstance(jobs, (Job, str)) else list(jobs)
    ids = tuple(dict.fromkeys(one.id if isinstance(one, Job) else one for one in several))
    return _do(lab, Choice(ids=ids), dry_run)


def _do(lab: Lab, choice: Choice, dry_run: bool) -> Pruned:
    pruner = Pruner(lab.services.store, lab.services.artifacts)
    plan = pruner.plan(choice)
    if not dry_run:
        return pruner.carry_out(plan)
    return Pruned(jobs=plan.jobs, kept=plan.kept, size=sum(job.size for job in plan.jobs), done=False)
