"""More than the machine has is refused where the lab's workers are on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.core.resources import Resources
from nanoos_lab.lab import host

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.lab.lab import Lab


def test_more_cores_than_there_are_are_refused_before_a_worker_is_used(lab: Lab) -> None:
    there = len(os.sched_getaffinity(0))
    before = len(lab.jobs())
    for asked in ({"ranks": there + 1}, {"threads": there + 1}, {"ranks": there, "threads": 2}):
        with pytest.raises(ParameterError, match=rf"has {there} cores"):
            lab.submit(bulk("Cu"), engine="lammps", task="static", potential="Cu_u3.eam", resources=asked)
    assert len(lab.jobs()) == before


def test_a_gpu_is_refused_where_none_shows(lab: Lab, tmp_path: Path) -> None:
    device = tmp_path / "nvidia0"
    with pytest.raises(ParameterError, match="shows no GPU"):
        host.check(Resources(gpus=1), lab.settings, [device])
    device.touch()
    host.check(Resources(gpus=1), lab.settings, [device])


def test_of_a_cluster_nobody_knows_here(lab: Lab) -> None:
    cluster = lab.settings.model_copy(update={"redis_url": "redis://example.org"})
    assert not cluster.embedded
    host.check(Resources(ranks=100_000, gpus=8), cluster, [])
