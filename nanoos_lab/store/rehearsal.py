"""What can be prepared before a fork, so that the first use of a store in the child is cheap."""

from __future__ import annotations

from nanoos_lab.core.record import Failure
from nanoos_lab.core.request import JobRequest, Submission
from nanoos_lab.core.status import Reason
from nanoos_lab.store.connect import database
from nanoos_lab.store.jobs import Store
from nanoos_lab.store.records import Holder
from nanoos_lab.store.versions import ensure


def warm(url: str | None = None) -> None:
    """Prepare this process, and those that it will fork, for stores of a URL; connects to nothing.

    A worker calls it before it forks. With SQLite a job is taken through its life in a database in memory, so that all
    statements are compiled, and what the drivers look up at first is looked up.

    Parameters
    ----------
    url
        The URL of the stores; None only loads the modules.
    """
    if url is None:
        return
    base = database(url)
    if not base.is_sqlite or base.used:
        return
    with base.rehearsal():
        ensure(base)
        base.checked = False
        ensure(base)
        _rehearse(Store(url))


def _rehearse(store: Store) -> None:
    request = JobRequest(structure=None, engine="mock", task="static", parameters={})
    holder = Holder(worker="rehearsal", host="", pid=0)
    first, second, third = (job.id for job in store.add([Submission(request=request, name="")] * 3))
    store.mark_sent(store.undelivered())
    for job_id in (first, second, third):
        store.resources(job_id)
        store.claim(job_id, 1, holder)
        store.beat(job_id, 1, step=1, total=1)
    store.request(first)
    store.get(first)
    store.add_event(first, 1, "rehearsal", "")
    store.expire()
    store.succeed(first, 1, step=1, total=1, scalars={}, provenance={})
    store.fail(second, 1, Failure(reason=Reason.LOST, message=""))
    store.end_cancelled(third, 1)
    store.freed(first)
