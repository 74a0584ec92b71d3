"""Print what engines compute beside what it should be: ``python -m tests.correctness``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console

from nanoos_lab.engines import registry
from nanoos_lab.lab import local
from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker.settings import Settings
from tests.correctness import vasp_recorded
from tests.correctness.checks import checks
from tests.correctness.table import table_of


def main() -> int:
    """Compute all; return 1 if something does not agree."""
    with tempfile.TemporaryDirectory(prefix="nanoos-correct-") as folder, Lab(Settings.load(home=Path(folder))) as lab:
        try:
            quantities = [one for collect in checks(lab) for one in collect()]
        finally:
            local.stop(lab.settings, now=True)
    console = Console(width=150)
    console.print(table_of(quantities))
    if why := vasp_recorded.missing():
        console.print(f"Without vasp: {why}.")
    for name in ("chgnet", "gpaw"):
        if not registry.found(name).found:
            console.print(f"Without {name}: {registry.get(name).missing}")
    return int(not all(one.agrees for one in quantities))


if __name__ == "__main__":
    sys.exit(main())
