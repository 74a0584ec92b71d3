"""What made the results, collected in an engine process."""

from __future__ import annotations

import ast
import importlib.metadata
import platform
import subprocess
import sys
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


def test_packages_that_a_run_has_loaded_are_told_and_no_others_are_loaded_for_it() -> None:
    code = """
import sys
from nanoos_lab.core.request import JobRequest
from nanoos_lab.engines import registry
from nanoos_lab.worker import provenance

request = JobRequest(structure=None, engine="mock", task="static", parameters={})
made_by = provenance.collect(request, registry.calculation("mock", "static"), {})
assert not {"scipy", "torch", "phonopy"} & (set(made_by["packages"]) | set(sys.modules)), made_by["packages"]
import scipy
print(provenance.joined(made_by, {})["packages"])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout
    packages = ast.literal_eval(told)
    assert packages["scipy"] == importlib.metadata.version("scipy")
    assert set(packages) == {"nanoos_lab", "numpy", "ase", "python", "scipy"}
    # It is here, too.
    assert importlib.metadata.version("phonopy")
