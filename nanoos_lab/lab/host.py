"""What the host of an embedded lab has, against what a job needs: there all workers are on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError, ParameterError
from nanoos_lab.core.resources import cores
from nanoos_lab.engines import registry
from nanoos_lab.worker import devices

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """Raise for what no worker of an embedded lab could give; of a cluster's workers nobody knows here.

    Raises
    ------
    ParameterError
        Says how many cores or graphics processors there are.
    """
    if not settings.embedded:
        return
    wanted, there = resources.ranks * resources.threads, cores()
    if wanted > there:
        raise ParameterError(
            "resources",
            {"ranks": resources.ranks, "threads": resources.threads},
            f"ranks · threads is {wanted}, and this machine, where the lab's workers are, has {there} cores",
        )
    if resources.gpus:
        _check_gpus(resources.gpus, devices.visible(settings))


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
