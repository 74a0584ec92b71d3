"""What a notebook, a web page and a terminal show for a job."""

from __future__ import annotations

from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from nanoos_lab.core.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, MutableMapping

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.lab.group import Group
    from nanoos_lab.lab.job import Job
    from nanoos_lab.widgets.group import LiveGroup
    from nanoos_lab.widgets.live import LiveCard

_CELL = "text-align:left;padding:1px 12px 1px 0"


def mimebundle(job: Job) -> dict[str, Any]:
    """Return the forms of a job: a live card where a Jupyter kernel runs, a static table, and one line of text.

    Parameters
    ----------
    job
        Which job.
    """
    record = job.record
    bundle: dict[str, Any] = {"text/plain": text_of(record), "text/html": html_of(record)}
    if _in_jupyter():
        from nanoos_lab.widgets.live import LiveCard

        bundle |= _view_of((job.lab, job.id), lambda: LiveCard(job))
    return bundle


def group_mimebundle(group: Group) -> dict[str, Any]:
    """Return the forms of a group: a live overview where a Jupyter kernel runs, and a bar as it is now, twice.

    Parameters
    ----------
    group
        Which group.
    """
    summary = group.summary
    bundle: dict[str, Any] = {"text/plain": summary.text, "text/html": summary.html}
    if _in_jupyter():
        from nanoos_lab.widgets.group import LiveGroup

        bundle |= _view_of((group.lab, type(group), group.ids), lambda: LiveGroup(group))
    return bundle


def text_of(record: JobRecord) -> str:
    """Return one line without anything that changes from run to run, so that notebooks can be compared."""
    what = " ".join(part for part in (record.formula, record.engine, record.task) if part)
    return f"<Job {record.name!r}: {what}>"


def html_of(record: JobRecord) -> str:
    """Return a small table that stands by itself: the job as it was when it was displayed."""
    rows = "".join(
        f'<tr><th scope="row" style="{_CELL};font-weight:normal;opacity:.7">{escape(head)}</th>'
        f'<td style="{_CELL}">{escape(text)}</td></tr>'
        for head, text in _facts(record)
    )
    return f'<table style="border-collapse:collapse"><tbody>{rows}</tbody></table>'


def _facts(record: JobRecord) -> Iterator[tuple[str, str]]:
    yield "job", f"{record.name} ({record.id})"
    if record.atoms:
        yield "structure", f"{record.formula}, {record.atoms:,} atoms"
    yield "calculation", f"{record.engine}, {record.task}"
    steps = f"{record.step:,}" + (f" of {record.total:,} steps" if record.total else " steps")
    yield "status", f"{record.status}, {steps}" if record.step else str(record.status)
    if record.failure is not None:
        yield "reason", f"{record.failure.reason}: {record.failure.message}"
        if record.failure.remedy:
            yield "what to do", record.failure.remedy
    for name, value in record.scalars.items():
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        yield (
            name.replace("_", " "),
            f"{text} {unit_of(name)}".rstrip(" 1") if unit_of(name) == "1" else f"{text} {unit_of(name)}".rstrip(),
        )


def _in_jupyter() -> bool:
    """Whether this process is a Jupyter kernel, so that a widget can reach a page."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


@cache
def _shown() -> MutableMapping[tuple[object, ...], LiveCard | LiveGroup]:
    """Return what this kernel shows, by lab and job or jobs; an open widget keeps its own."""
    return WeakValueDictionary()


def _view_of(key: tuple[object, ...], make: Callable[[], LiveCard | LiveGroup]) -> dict[str, Any]:
    """Return a view of what is shown under a key already, or is made for it now."""
    live = _shown().get(key)
    if live is None:
        live = _shown()[key] = make()
    else:
        live.refresh()
    return {
        "application/vnd.jupyter.widget-view+json": {
            "version_major": 2,
            "version_minor": 0,
            "model_id": live.box.model_id,
        }
    }
