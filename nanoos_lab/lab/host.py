"""What workers have, against what a job needs: those of an embedded lab are on this machine, others may say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError, ParameterError
from nanoos_lab.core.resources import fit
from nanoos_lab.engines import program, registry
from nanoos_lab.worker import devices

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nanoos_lab.broker.queue import WorkerState
    from nanoos_lab.core.resources import Resources
    from nanoos_lab.engines.base import EngineInfo
    from nanoos_lab.worker.settings import Settings


def check_engine(name: str, task: str, settings: Settings) -> None:
    """Raise for an engine or a task of it whose program the workers of an embedded lab do not have.

    Raises
    ------
    InputError
        Says what is missing and how to get it.
    """
    if not settings.embedded or not _lacks(registry.found(name), task):
        return
    # It may have been installed since it was looked for.
    registry.forget()
    if lacks := _lacks(registry.found(name), task):
        raise InputError(lacks)


def _lacks(info: EngineInfo, task: str) -> str:
    """Say what an engine lacks for a task on this machine; empty if nothing."""
    if not info.found:
        return f"engine {info.name!r} cannot run on this machine: {info.missing}"
    if why := info.lacking.get(task):
        return f"engine {info.name!r}, task {task!r} cannot run on this machine: {why}"
    return ""


def check(resources: Resources, settings: Settings) -> None:
    """Raise for what no worker of an embedded lab could give.

    Raises
    ------
    ParameterError
        Says how many cores or graphics processors there are.
    """
    if not settings.embedded:
        return
    nodes = program.nodes(resources.ranks)
    if not fit(resources, nodes):
        where = "this machine, where the lab's workers are, has" if len(nodes) == 1 else "Slurm has given this lab"
        raise _too_many_cores(resources, f"{where} {_told(nodes)}")
    if resources.gpus:
        _check_gpus(resources.gpus, devices.visible(settings))


def check_workers(resources: Resources, queue: str, workers: Iterable[WorkerState]) -> None:
    """Raise for what no worker of a cluster could give, as far as they all say what they have.

    Where none serves the queue, one that has it may yet come.

    Parameters
    ----------
    resources
        What is asked for.
    queue
        Where the job is to wait.
    workers
        Those that are alive.

    Raises
    ------
    ParameterError
        Says how many cores or graphics processors the best of them has.
    """
    serving = [worker for worker in workers if queue in worker.queues]
    if not serving or any(worker.cores is None or worker.gpus is None for worker in serving):
        return
    if not any(fit(resources, one.cores or ()) and resources.gpus <= (one.gpus or 0) for one in serving):
        best = max(serving, key=lambda one: ((one.gpus or 0) >= resources.gpus, sum(one.cores or ()), one.gpus or 0))
        has = f"the best worker of queue {queue!r}, on {best.host}, has {_told(best.cores or ())} and {best.gpus} GPUs"
        remedy = "start a worker that has more first (nanoos-lab worker)"
        if not fit(resources, best.cores or ()):
            raise _too_many_cores(resources, f"{has}; {remedy}")
        raise ParameterError("resources", {"gpus": resources.gpus}, f"{has}; {remedy}")


def _told(nodes: Sequence[int]) -> str:
    return f"{sum(nodes)} cores" if len(nodes) < 2 else f"{' + '.join(map(str, nodes))} cores on {len(nodes)} nodes"


def _too_many_cores(resources: Resources, has: str) -> ParameterError:
    return ParameterError(
        "resources",
        {"ranks": resources.ranks, "threads": resources.threads},
        f"ranks · threads is {resources.ranks * resources.threads}, and {has}",
    )


def _check_gpus(wanted: int, there: Sequence[str]) -> None:
    if wanted <= len(there):
        return
    has = f"has {len(there)} ({', '.join(there)})" if there else "shows no GPU"
    raise ParameterError(
        "resources",
        {"gpus": wanted},
        f"this machine, where the lab's workers are, {has}; NANOOS_GPUS=0,1 names those that are not found, and "
        f"{devices.VARIABLE}, where it is set, those that may be used",
    )
