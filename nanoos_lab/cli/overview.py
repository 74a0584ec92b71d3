"""What of a lab runs, as one value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from nanoos_lab.cli.output import print_pairs, print_table
from nanoos_lab.core.errors import NanoosError
from nanoos_lab.core.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nanoos_lab.broker.queue import WorkerState
    from nanoos_lab.lab.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What of a lab runs, and where its data are; holds no password."""

    #: Whether it is the lab of this computer, or else a cluster's.
    embedded: bool
    #: Whether a job that is submitted now would be stored, offered and run.
    running: bool
    #: The database.
    store: str
    #: Directory of what the jobs write.
    artifacts: str
    #: The Redis-compatible server; None if it does not answer.
    server: str | None = None
    #: Process ids of the embedded lab's server and supervisor.
    processes: Mapping[str, int | None] = field(default_factory=dict)
    #: Workers that have registered.
    workers: tuple[WorkerState, ...] = ()
    #: Messages in each queue.
    queues: Mapping[str, int] = field(default_factory=dict)
    #: Jobs in each status.
    jobs: Mapping[str, int] = field(default_factory=dict)
    #: What is wrong, and what to do.
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def look(lab: Lab) -> Overview:
    """Look at a lab without starting or making anything."""
    from nanoos_lab.store.connect import database

    settings = lab.settings
    problems: list[str] = []
    seen: dict[str, Any] = _look_at_processes(lab, problems)
    if not settings.embedded or settings.home.exists():
        seen |= _try(problems, lambda: {"jobs": {str(word): n for word, n in lab.services.store.count().items()}})
    if seen.pop("ask_broker"):
        seen |= _try(problems, lambda: _look_at_broker(lab))
    if not settings.embedded and seen.get("workers") == ():
        problems.append("no worker has registered; `nanoos-lab worker` on a compute node starts one")
    return Overview(
        embedded=settings.embedded,
        running=not problems,
        store=database(settings.store_url).shown,
        artifacts=str(settings.artifacts),
        problems=tuple(problems),
        **seen,
    )


def _look_at_processes(lab: Lab, problems: list[str]) -> dict[str, Any]:
    if not lab.settings.embedded:
        return {"ask_broker": True}
    from nanoos_lab.lab import local

    state = local.state(lab.settings)
    if not state.complete:
        problems.append("the lab of this computer does not run; `nanoos-lab up`, or the first job, starts it")
    pids = {"server": state.server.pid if state.server else None, "supervisor": state.supervisor}
    return {"ask_broker": state.server is not None, "processes": pids}


def _look_at_broker(lab: Lab) -> dict[str, Any]:
    from nanoos_lab.broker.connection import address

    queue = lab.services.queue
    return {
        "queues": queue.depths(),
        "workers": tuple(queue.workers()),
        "server": address(lab.services.connection),
    }


def _try(problems: list[str], ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return ask()
    except NanoosError as error:
        problems.append(str(error))
        return {}


def show(found: Overview) -> None:
    """Print it for people."""
    pids = " ".join(f"{name} {pid}" for name, pid in found.processes.items() if pid is not None)
    print_pairs(
        [
            ("lab", "of this computer" if found.embedded else "of a cluster"),
            ("running", "yes" if found.running else "no"),
            *(("problem", text) for text in found.problems),
            ("server", found.server),
            ("processes", pids or None),
            ("store", found.store),
            ("artifacts", found.artifacts),
            ("queues", _counts(found.queues)),
            ("jobs", _counts({word: found.jobs.get(word, 0) for word in Status}) if found.jobs else None),
        ]
    )
    if found.workers:
        print()
        rows = ((one.name, one.state, one.host, one.pid, " ".join(one.queues)) for one in found.workers)
        print_table(("worker", "state", "host", "pid", "queues"), rows)


def _counts(counts: Mapping[str, int]) -> str | None:
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or None
