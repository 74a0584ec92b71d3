"""The command that deletes jobs which have ended."""

from typing import TYPE_CHECKING, Annotated

import typer

from nanoos_lab.cli.output import JsonOption, ago, print_json, print_table, say
from nanoos_lab.cli.session import open_lab
from nanoos_lab.cli.values import duration, in_bytes

if TYPE_CHECKING:
    from nanoos_lab.store.prune import Pruned


def prune(
    job_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID…]", help="Delete these jobs, instead of old ones.")
    ] = None,
    *,
    older_than: Annotated[
        float | None, typer.Option(metavar="TIME", parser=duration, help="Jobs that ended so long ago, such as 30d.")
    ] = None,
    statuses: Annotated[
        str | None, typer.Option("--status", help="Only such ones: succeeded, failed, cancelled, with commas between.")
    ] = None,
    keep_results: Annotated[
        bool,
        typer.Option(
            "--keep-results", help="Of jobs that succeeded delete only frames, log and working files, not the results."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes/--dry-run", help="Delete, or only show what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete jobs that have ended, with their files and nothing else's.

    Without --yes it only shows what would go. A job stays as long as another one that remains depends on it or shows
    its results, an input file as long as a job or a schedule names it.
    """
    from nanoos_lab.lab import retention

    if job_ids and (older_than is not None or statuses is not None or keep_results):
        raise typer.BadParameter("ids go without --older-than, --status and --keep-results", param_hint="ID…")
    if not job_ids and older_than is None:
        raise typer.BadParameter("say which jobs: --older-than 30d, or ids", param_hint="--older-than")
    with open_lab() as lab:
        if job_ids:
            done = retention.delete(lab, job_ids, dry_run=not yes)
        else:
            words = None if statuses is None else [word.strip() for word in statuses.split(",")]
            done = retention.prune(
                lab, older_than=older_than or 0.0, status=words, keep_results=keep_results, dry_run=not yes
            )
    if as_json:
        print_json(_plain(done))
    else:
        _show(done)


def _plain(done: "Pruned") -> dict[str, object]:
    rows = [{**job.record.to_json(), "bytes": job.size, "keeps_results": job.keeps_results} for job in done.jobs]
    return {"deleted": done.done, "bytes": done.size, "jobs": rows, "kept": done.kept}


def _show(done: "Pruned") -> None:
    if done.jobs:
        rows = [
            (
                job.record.id,
                job.record.name,
                job.record.status,
                ago(job.record.ended),
                in_bytes(job.size),
                "results" if job.keeps_results else None,
            )
            for job in done.jobs
        ]
        print_table(("id", "name", "status", "ended", "size", "kept"), rows)
    for job_id, by in done.kept.items():
        say(f"{job_id} stays: job {by} depends on it or shows its results")
    what = f"{len(done.jobs)} job{'' if len(done.jobs) == 1 else 's'}, {in_bytes(done.size)}"
    say(f"deleted: {what}" if done.done else f"would go: {what}; nothing was deleted, --yes deletes")
