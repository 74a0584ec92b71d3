"""What made the results, collected in an engine process."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import TYPE_CHECKING

from ase.build import bulk

from nanoos_lab.core.request import JobRequest
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry
from nanoos_lab.worker import provenance

if TYPE_CHECKING:
    import pytest


def test_a_run_looks_up_nothing_that_its_worker_has_looked_up_before_the_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading what is installed takes longer than a short job."""
    request = JobRequest(structure=Structure.encode(bulk("Cu")), engine="lammps", task="static", parameters={})
    calculation = registry.calculation("lammps", "static")
    provenance.prepare()
    expected = provenance.collect(request, calculation, {})

    def read(*_: object, **__: object) -> None:
        raise AssertionError("what is installed is read again")

    monkeypatch.setattr(importlib.metadata.Distribution, "from_name", read)
    monkeypatch.setattr(platform, "platform", read)
    assert provenance.collect(request, calculation, {}) == expected
    assert expected["packages"]["ase"]
    assert expected["binary"]["sha256"]
