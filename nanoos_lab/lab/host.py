"""What the host of an embedded lab has, against what a job needs: there all workers are on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError, ParameterError
from nanoos_lab.core.resources import cores
from nanoos_lab.engines import registry

if TYPE_CHECKING:
    from collections.abc import Collection

    from nanoos_lab.core.resources import Resources
    from nanoos_lab.worker.settings import Settings

#: Where graphics processors show, of NVIDIA and AMD.
_DEVICES = (Path("/dev/nvidia0"), Path("/dev/kfd"))


def check_engine(name: str, settings: Settings) -> None:
    """Raise for an engine whose program the workers of an embedded lab do not have.

    Raises
    ------
    InputError
        Says what is missing and how to get it.
    """
    if not settings.embedded or registry.found(name).found:
        return
    # It may have been installed since it was looked for.
    registry.forget()
    info = registry.found(name)
    if not info.found:
        raise InputError(f"engine {name!r} cannot run on this machine: {info.missing}")


def check(resources: Resources, settings: Settings, devices: Collection[Path] = _DEVICES) -> None:
    """Raise for what no worker of an embedded lab could give; of a cluster's workers nobody knows here.

    Raises
    ------
    ParameterError
        Says how many cores there are, or that there is no graphics processor.
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
    if resources.gpus and not any(device.exists() for device in devices):
        raise ParameterError(
            "resources", {"gpus": resources.gpus}, "this machine, where the lab's workers are, shows no GPU"
        )
