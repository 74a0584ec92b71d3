"""Commands that change what is there: cancel, migrate, reconcile."""

from typing import Annotated

import typer

from nanoos_lab.cli.output import say
from nanoos_lab.cli.session import open_lab


def cancel(
    job_ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids, as `nanoos-lab jobs` lists them.")],
) -> None:
    """Cancel jobs.

    A waiting one ends at once, a running one within seconds; what it has produced is kept.
    """
    with open_lab() as lab:
        # All are found before the first is touched: a misspelt id must not leave half of the work done.
        for job in [lab.load(job_id) for job_id in job_ids]:
            say(f"{job.id} is being cancelled" if job.cancel() else f"{job.id} had ended before")


def migrate() -> None:
    """Bring the database of an older nanoos_lab up to this version.

    Keep a copy of it first.
    """
    from nanoos_lab.store.versions import migrate as bring_up
    from nanoos_lab.worker.settings import Settings

    bring_up(Settings.load().store_url)
    say("the database has the schema of this version")


def reconcile() -> None:
    """Find jobs whose message or worker is lost, and offer or end them.

    Only sites with nothing but plain `rq worker` need it; all else does it by itself. Safe at any time.
    """
    from nanoos_lab.worker.reaper import reconcile as make_a_pass

    with open_lab() as lab:
        done = make_a_pass(lab.services.store, lab.services.queue)
    for record in done.expired:
        say(f"{record.id} lost its worker and is now {record.status} (attempt {record.attempt})")
    say(f"{len(done.expired)} lost, {done.sent} sent again")
