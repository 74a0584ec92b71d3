"""Run the engine as a worker does, without the worker."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from ase import Atoms

from tests.engines.ase.running import run as run_any

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.core.frames import Results
    from tests.engines.context import RecordingContext
    from tests.engines.vasp.synthetic import Run


def run(context: RecordingContext, atoms: Atoms, task: str, **parameters: Any) -> Results:
    return run_any(context, atoms, task, engine="vasp", **{"xc": "PBE", "setups": "recommended", **parameters})


def atoms_of(run_: Run) -> Atoms:
    """Return the structure of a synthetic run, in VASP's order."""
    symbols = [symbol for symbol, count in zip(run_.species, run_.counts, strict=True) for _ in range(count)]
    return Atoms(symbols, positions=run_.positions(0), cell=run_.cell, pbc=True)


def mixed(run_: Run) -> tuple[Atoms, np.ndarray]:
    """Return the same with species by turns as far as they go, and the place in VASP's order of each atom."""
    atoms = atoms_of(run_)
    # The first atom stays first: the first species is the one that occurs first.
    order = np.argsort(np.concatenate([np.arange(count) for count in run_.counts]), kind="stable")
    return atoms[order], order


def read_diary(diary: Path) -> list[dict]:
    """Return what the replay has noted of each of its starts."""
    return [json.loads(line) for line in diary.read_text().splitlines()]


def alive(directory: Path) -> list[psutil.Process]:
    """Return the other processes whose working directory this is."""
    others = [process for process in psutil.process_iter(["cwd"]) if process.pid != os.getpid()]
    return [process for process in others if process.info["cwd"] == str(directory)]
