"""CPU time of a Python that imports the package, against one that does nothing."""

from __future__ import annotations

import sys

from tests.benchmarks.clock import cpu_of
from tests.benchmarks.figures import Figure, middle, ratio


def run(quick: bool) -> list[Figure]:
    """Start interpreters in turns."""
    bare, ours = [], []
    for _ in range(10 if quick else 60):
        bare.append(cpu_of([sys.executable, "-c", "pass"]))
        ours.append(cpu_of([sys.executable, "-c", "import nanoos_lab"]))
    return [
        middle("python -c pass, CPU", [1e3 * value for value in bare], "ms"),
        middle("python -c 'import nanoos_lab', CPU", [1e3 * value for value in ours], "ms"),
        ratio("import / bare start", ours, bare, at_most=2.0),
    ]
