"""A live progress bar of one job in the terminal."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nanoos_lab.cli.output import console, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.watch import Change

#: Seconds without news after which a waiting job is asked what it waits for.
_QUIET = 3.0


def follow(job: Job) -> JobRecord:
    """Show the progress of a job until it has ended; return its final record.

    Raises
    ------
    typer.Exit
        With code 130 if the user presses Ctrl-C; the job goes on.
    """
    changes: SimpleQueue[Change] = SimpleQueue()
    subscription = job.lab.watch.subscribe(job.id, changes.put)
    try:
        with _Bar(job) as bar:
            return bar.run(changes)
    except KeyboardInterrupt:
        say(f"job {job.id} goes on; `nanoos-lab cancel {job.id}` ends it")
        raise typer.Exit(130) from None
    finally:
        subscription.close()


class _Bar:
    """The bar of a job, drawn on stderr."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[steps]}"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[temperature]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console(stderr=True),
        )
        self._task: TaskID = self._progress.add_task("queued", total=None, steps="", rate="", temperature="")
        self._warned: str | None = None

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def run(self, changes: SimpleQueue[Change]) -> JobRecord:
        """Follow the changes to the end."""
        while True:
            try:
                change = changes.get(timeout=_QUIET)
            except Empty:
                self._warn()
                continue
            if change.event is not None:
                self._show_event(change.event)
            if change.record is not None:
                self._show_record(change.record)
                if change.record.status.finished:
                    return change.record

    def _show_record(self, record: JobRecord) -> None:
        self._progress.update(self._task, description=f"{record.name}: {record.status}")
        self._show_step(record.step, record.total)
        if record.caveat is not None:
            self._progress.console.print(f"not converged: {record.caveat}", style="yellow")

    def _show_event(self, event: Mapping[str, Any]) -> None:
        if event.get("kind") != "progress":
            return
        self._show_step(event["step"], event["total"])
        rate, temperature = event.get("rate"), (event.get("row") or {}).get("temperature")
        if rate is not None:
            self._progress.update(self._task, rate=f"{rate:,.0f} steps/s")
        if temperature is not None:
            self._progress.update(self._task, temperature=f"{temperature:.0f} K")

    def _show_step(self, step: int, total: int | None) -> None:
        steps = f"{step:,}/{total:,}" if total else f"{step:,}"
        self._progress.update(self._task, completed=step, total=total or None, steps=steps)

    def _warn(self) -> None:
        warning = self._job.warning
        if warning is not None and warning != self._warned:
            self._progress.console.print(warning, style="yellow")
        self._warned = warning
