"""What the engine costs before and besides its runs."""

from __future__ import annotations

import os
import subprocess
import sys

import ase
import pytest

from nanoos_lab.core.errors import StructureError
from nanoos_lab.engines.ase import AseEngine
from nanoos_lab.engines.base import EnginePolicy

LOAD = """
import sys
from nanoos_lab.engines.ase import AseEngine
AseEngine().tasks
AseEngine().probe()
print(sorted({"ase", "scipy", "pandas"} & set(sys.modules)))
"""

PRELOAD = """
import os, sys, threading
from nanoos_lab.engines.ase import AseEngine
AseEngine().preload()
needed = {"ase.calculators.emt", "ase.calculators.lj", "ase.md.bussi", "ase.optimize", "ase.filters"}
print(sorted(needed - set(sys.modules)), sorted({"pandas", "matplotlib", "torch", "mpi4py"} & set(sys.modules)))
print(threading.active_count(), len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1)
"""


def output_of(script: str) -> str:
    # Workers run with one thread of BLAS too; with more, numpy itself starts them.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environment,
    )
    return done.stdout


def test_loading_it_imports_nothing_heavy():
    assert output_of(LOAD).split("\n")[0] == "[]"


def test_preloading_imports_what_runs_need_and_starts_no_thread():
    imports, threads = output_of(PRELOAD).splitlines()
    assert imports == "[] []"
    assert threads == "1 1"


def test_it_says_which_ase_it_found():
    info = AseEngine().probe()
    assert info.found
    assert info.version == ase.__version__
    assert info.tasks == ("static", "relax", "md", "neb", "phonons")


def test_it_needs_a_structure():
    engine = AseEngine()
    given = engine.tasks["static"](calculator="emt")
    with pytest.raises(StructureError, match="needs a structure"):
        engine.check(None, "static", given, EnginePolicy())
