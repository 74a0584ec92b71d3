"""Measure nanoos_lab against its peers: ``python -m tests.benchmarks [name …] [--json FILE] [--quick]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from tests.benchmarks.figures import Figure

#: Each is a module here, with ``run(quick: bool) -> list[Figure]``.
BENCHMARKS = (
    "imports",
    "submit",
    "overhead",
    "throughput",
    "store_load",
    "start",
    "live_tax",
    "ranks_tax",
    "checkpoint_tax",
    "beside_programs",
    "events",
    "recovery",
    "trajectory",
    "large_files",
    "jobs_table",
)


def main() -> int:
    """Run the benchmarks that are named, or all; return 1 if a target is missed."""
    options = _options()
    console = Console(width=140)
    results = {}
    for name in options.names or BENCHMARKS:
        load, begin = os.getloadavg()[0], time.perf_counter()
        module = import_module(f"tests.benchmarks.{name}")
        figures: list[Figure] = module.run(options.quick)
        seconds = time.perf_counter() - begin
        console.print(_table(name, (module.__doc__ or "").splitlines()[0], figures))
        console.print(f"[dim]{seconds:.0f} s; load {load:.1f} before, {os.getloadavg()[0]:.1f} after[/]\n")
        results[name] = {
            "figures": [asdict(figure) | {"met": figure.met} for figure in figures],
            "seconds": seconds,
            "load": load,
        }
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": _machine(), "quick": options.quick, "benchmarks": results}, file, indent=1)
    return int(any(figure["met"] is False for result in results.values() for figure in result["figures"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", type=_known, metavar="name", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    parser.add_argument("--quick", action="store_true", help="few repetitions: does it run, not how fast it is")
    return parser.parse_args()


def _known(name: str) -> str:
    if name not in BENCHMARKS:
        raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(BENCHMARKS)}")
    return name


def _machine() -> dict[str, Any]:
    return {
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "time": time.time(),
    }


def _table(name: str, title: str, figures: list[Figure]) -> Table:
    table = Table(title=f"{name}: {title}", title_justify="left", expand=True)
    table.add_column("figure")
    for heading in ("value", "95 %", "target", "n"):
        table.add_column(heading, justify="right")
    for figure in figures:
        interval = "" if figure.low is None else f"{figure.low:.4g} – {figure.high:.4g}"
        table.add_row(figure.name, f"{figure.value:.4g} {figure.unit}", interval, _target(figure), str(figure.count))
    return table


def _target(figure: Figure) -> str:
    if figure.met is None:
        return ""
    bound = f"≤ {figure.at_most:g}" if figure.at_most is not None else f"≥ {figure.at_least:g}"
    return f"{bound} {'[green]met[/]' if figure.met else '[red]missed[/]'}"


if __name__ == "__main__":
    sys.exit(main())
