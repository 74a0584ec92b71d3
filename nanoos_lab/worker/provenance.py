"""What made a result: collected in one place, for every engine in the same way."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanoos_lab.engines import program, registry
from nanoos_lab.engines.base import Cites, HasBinary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import Engine
    from nanoos_lab.engines.registry import Calculation

#: Packages whose versions are always told.
_PACKAGES = {"nanoos_lab": "nanoos-lab", "numpy": "numpy", "ase": "ase"}
#: And those of which they are told by runs that have them loaded: module → package.
_IF_LOADED = {"scipy": "scipy", "torch": "torch", "phonopy": "phonopy"}


def collect(request: JobRequest, calculation: Calculation, files: Mapping[str, Path]) -> dict[str, Any]:
    """Return what is to be told of a run before it begins, as plain values; `joined` adds what its engine tells.

    Parameters
    ----------
    request
        What is to be run.
    calculation
        Its engine and task, as they are found here.
    files
        Its input files by their role.
    """
    return {
        "engine": request.engine,
        "task": request.task,
        "binary": _binary(calculation.engine),
        "packages": _used_packages(),
        **_plug_ins(request, calculation),
        "request": {"key": request.key, **request.to_json()},
        "inputs": _inputs(request, calculation, files),
        "seed": request.parameters.get("seed"),
        "host": dict(_host()),
        "resources": request.resources.to_json(),
    }


def joined(made_by: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `collect` has found, with what is loaded since and what the engine tells; its word counts more."""
    version = told.get("version") or registry.found(made_by["engine"]).version
    return {**made_by, "packages": _used_packages(), "version": version, **told}


def prepare() -> None:
    """Look up versions and host, and digest the programs of all engines, before the first fork.

    In every run anew, that would take longer than a short job.
    """
    _packages()
    _host()
    for name in registry.names():
        with suppress(Exception):
            # An engine that is broken is for the job to tell.
            _binary(registry.get(name))


def _binary(engine: Engine) -> dict[str, str] | None:
    """Return path and SHA-256 of an engine's program; of a Python package those of its list of files."""
    if isinstance(engine, HasBinary):
        path = engine.binary()
    else:
        where = registry.found(engine.name).where
        path = Path(where) if os.path.isabs(where) else _record(where)
    return None if path is None else program.identity(path)


@cache
def _record(package: str) -> Path | None:
    """Return the file with the digests of all files of an installed package."""
    with suppress(PackageNotFoundError, ValueError):
        for file in distribution(package).files or ():
            if file.name == "RECORD":
                return Path(os.fspath(file.locate()))
    return None


def _plug_ins(request: JobRequest, calculation: Calculation) -> dict[str, str]:
    """Return which package brings the task, if it is not the engine's own."""
    return {"added_by": registry.package(registry.TASKS, request.task)} if calculation.added else {}


def _inputs(request: JobRequest, calculation: Calculation, files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the input files by role: name, digest, and the publication, if the engine knows it."""
    cited: Mapping[str, str] = {}
    if isinstance(calculation.engine, Cites):
        with suppress(Exception):
            # A file that cannot be read is for the run to tell.
            cited = calculation.engine.citations(request, files)
    named = {role: {"name": ref.name, "sha256": ref.sha256} for role, ref in request.files.items()}
    return {
        role: {**named.get(role, {}), **({"citation": cited[role]} if cited.get(role) else {})}
        for role in (*named, *(role for role in cited if role not in named))
    }


def _used_packages() -> dict[str, str]:
    """Return the versions of the packages that numbers may depend on, those that are loaded now among them."""
    return {
        name: version
        for name, version in _packages().items()
        if name not in _IF_LOADED or (version and name in sys.modules)
    }


@cache
def _packages() -> Mapping[str, str]:
    """Return the versions of all packages that numbers may depend on, "" of one that is not here, and of Python."""
    versions = {name: _version(package) for name, package in (_PACKAGES | _IF_LOADED).items()}
    return {**versions, "python": f"{platform.python_implementation()} {platform.python_version()}"}


def _version(package: str) -> str:
    with suppress(PackageNotFoundError):
        return version(package)
    return ""


@cache
def _host() -> Mapping[str, str | int | None]:
    return {
        "name": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    """Return the model of the processor: rounding may depend on it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
