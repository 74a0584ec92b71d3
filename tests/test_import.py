"""Importing does nothing and loads nothing that is not needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"numpy", "pandas", "ase", "sqlalchemy", "alembic", "rq", "redis", "pydantic", "typer", "rich"}
NOTEBOOK = {"ipywidgets", "anywidget", "nglview", "IPython", "ipykernel", "jupyter_server", "matplotlib"}


def loaded_by(code: str) -> set[str]:
    """Return the top-level packages that a fresh Python has loaded after running `code`."""
    script = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_a_bare_import_loads_only_the_package_itself() -> None:
    before, after = loaded_by(""), loaded_by("import nanoos_lab")
    assert after - before == {"nanoos_lab"}


def test_a_bare_import_starts_no_thread_and_reads_no_setting() -> None:
    loaded_by(
        "import os, threading\n"
        "os.environ['WORKER_CONCURRENCY'] = 'nonsense'\n"
        "import nanoos_lab\n"
        "assert threading.active_count() == 1"
    )


def test_every_public_name_is_there_and_is_listed() -> None:
    loaded_by(
        "import nanoos_lab\n"
        "assert set(nanoos_lab.__all__) <= set(dir(nanoos_lab))\n"
        "for name in nanoos_lab.__all__:\n    getattr(nanoos_lab, name)"
    )


def test_an_unknown_name_is_an_attribute_error() -> None:
    import nanoos_lab

    with pytest.raises(AttributeError, match="submitt"):
        _ = nanoos_lab.submitt


def test_the_values_of_core_need_no_service() -> None:
    after = loaded_by("from nanoos_lab.core import errors, record, request, resources, status")
    assert after & (HEAVY | NOTEBOOK) == set()


def test_a_worker_never_loads_pandas_or_a_notebook_package() -> None:
    after = loaded_by("from nanoos_lab.worker.rq_worker import preload\npreload()")
    assert {"rq", "sqlalchemy", "numpy", "ase"} <= after
    assert after & (NOTEBOOK | {"pandas"}) == set()


def test_preloading_starts_no_thread_and_no_mpi() -> None:
    after = loaded_by(
        "import threading\n"
        "from nanoos_lab.worker.rq_worker import preload\n"
        "preload()\n"
        "assert threading.active_count() == 1\n"
        "mpi = sys.modules.get('mpi4py.MPI')\n"
        "assert mpi is None or not mpi.Is_initialized()"
    )
    assert "torch" not in after


def test_the_lab_loads_no_pandas_before_a_table_is_asked_for() -> None:
    after = loaded_by("from nanoos_lab.lab.lab import Lab")
    assert after & (NOTEBOOK | {"pandas", "typer"}) == set()
