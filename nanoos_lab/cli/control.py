"""Commands that change what is there: cancel, pause, resume, steer, retry, migrate, reconcile."""

import typer

from nanoos_lab.cli import options
from nanoos_lab.cli.output import say
from nanoos_lab.cli.session import open_lab
from nanoos_lab.cli.submitting import parameters_of


def cancel(job_ids: options.JobIds) -> None:
    """Cancel jobs.

    A waiting one ends at once, a running one within seconds; what it has produced is kept.
    """
    with open_lab() as lab:
        # All are found before the first is touched: a misspelt id must not leave half of the work done.
        for job in [lab.load(job_id) for job_id in job_ids]:
            say(f"{job.id} is being cancelled" if job.cancel() else f"{job.id} had ended before")


def pause(job_ids: options.JobIds) -> None:
    """Have jobs rest.

    A waiting one is held back, a running one stands still where it is; after some minutes it makes room for others if
    it can go on from a checkpoint.
    """
    with open_lab() as lab:
        for job in [lab.load(job_id) for job_id in job_ids]:
            say(f"{job.id} is being paused" if job.pause() else f"{job.id} had ended before")


def resume(job_ids: options.JobIds) -> None:
    """Have paused jobs go on."""
    with open_lab() as lab:
        for job in [lab.load(job_id) for job_id in job_ids]:
            say(f"{job.id} goes on" if job.resume() else f"{job.id} had ended before")


def steer(ids_and_changes: options.JobIdsAndChanges) -> None:
    """Change parameters of jobs on their way.

    They hold from the next step at which a run can take them; `nanoos-lab show` tells that step. Of several jobs all
    are asked first whether they can take it, and those that have ended are left alone.
    """
    changes = [text for text in ids_and_changes if "=" in text]
    given = parameters_of(changes)
    ids = list(dict.fromkeys(text for text in ids_and_changes if "=" not in text))
    if not ids:
        raise typer.BadParameter("name a job", param_hint="ID…")
    with open_lab() as lab:
        jobs = [lab.load(job_id) for job_id in ids]
        if len(jobs) == 1:
            numbers = {jobs[0].id: jobs[0].steer(**given)}
        else:
            numbers = lab.steer_many([job.id for job in jobs if not job.done()], given)
        for job in jobs:
            number = numbers.get(job.id)
            steered = f"{job.id} is being steered ({number}): {', '.join(changes)}"
            say(steered if number else f"{job.id} had ended before, or is being cancelled")


def retry(
    job_ids: options.JobIds,
    soft_limit: options.SoftLimit = None,
    hard_limit: options.HardLimit = None,
    memory_limit: options.MemoryLimit = None,
    retries: options.Retries = None,
) -> None:
    """Try failed jobs again, from their newest checkpoint if they have one.

    A limit that is not given stays as it was.
    """
    given = options.limits_of(soft_limit, hard_limit, memory_limit)
    with open_lab() as lab:
        for job in [lab.load(job_id) for job_id in job_ids]:
            limits = None if given is None else given.or_else(lab.services.store.assignment(job.id).limits)
            job.retry(limits=limits, retries=retries)
            say(f"{job.id} is tried again, attempt {job.record.attempt}")


def migrate() -> None:
    """Bring the database of an older nanoos_lab up to this version.

    Keep a copy of it first.
    """
    from nanoos_lab.store.versions import migrate as bring_up
    from nanoos_lab.worker.settings import Settings

    bring_up(Settings.load().store_url)
    say("the database has the schema of this version")


def reconcile() -> None:
    """Find jobs whose message or worker is lost, or whose time has come, and offer or end them.

    Only sites with nothing but plain `rq worker` need it; all else does it by itself. Safe at any time.
    """
    from nanoos_lab.worker.reaper import Reconciler

    with open_lab() as lab:
        done = Reconciler(lab.services.store, lab.services.queue).make_pass()
    for record in done.expired:
        say(f"{record.id} lost its worker and is now {record.status} (attempt {record.attempt})")
    for record in done.scheduled:
        say(f"{record.id} was submitted by a schedule")
    say(f"{len(done.expired)} lost, {len(done.promoted) + len(done.scheduled)} due, {done.sent} sent")
