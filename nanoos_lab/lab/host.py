"""What the host of an embedded lab has, against what a job asks for: there all workers are on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Collection

    from nanoos_lab.core.resources import Resources
    from nanoos_lab.worker.settings import Settings

#: Where graphics processors show, of NVIDIA and AMD.
_DEVICES = (Path("/dev/nvidia0"), Path("/dev/kfd"))


def check(resources: Resources, settings: Settings, devices: Collection[Path] = _DEVICES) -> None:
    """Raise for what no worker of an embedded lab could give; of a cluster's workers nobody knows here.

    Raises
    ------
    ParameterError
        Says how many cores there are, or that there is no graphics processor.
    """
    if not settings.embedded:
        return
    wanted, there = resources.ranks * resources.threads, _cores()
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


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
