"""What it costs two MPI ranks of LAMMPS to be watched: time against the same run unwatched, and a plain script.

Ranks that wait for each other spin, so that their CPU time says nothing: this is time on the wall, of an idle machine.
On one of two cores the ranks leave none to our processes.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from nanoos_lab.engines.lammps import executable, library
from tests.benchmarks.figures import Figure, middle, ratio
from tests.benchmarks.live_tax import Length, argon, in_turns, script_of
from tests.benchmarks.place import OURS, place

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.lab.lab import Lab

RANKS = {"ranks": 2}
#: Unit cells along an edge → turns.
FULL = {10: 10, 20: 10}
QUICK = {10: 2}


def run(quick: bool) -> list[Figure]:
    """Run bare, unwatched and watched in turns."""
    figures: list[Figure] = []
    with place() as here:
        here.worker(OURS, "simulations")
        for cells, turns in (QUICK if quick else FULL).items():
            figures += _compare(here.lab, argon(cells), turns, part=0.3 if quick else 0.5)
    return figures


def _compare(lab: Lab, atoms: Atoms, turns: int, part: float) -> list[Figure]:
    script = script_of(lab, atoms)
    few = math.ceil(2e6 / len(atoms))
    length = Length.lasting(_run_bare(script, Length(few, few)), part)
    bare, unwatched, watched = in_turns(turns, lambda: _run_bare(script, length), lab, atoms, length, resources=RANKS)
    wall = {True: [meter.pace for meter in watched], False: [meter.pace for meter in unwatched]}
    size = f"{len(atoms)} atoms, 2 ranks"
    return [
        middle(f"{size}: time of a step, bare", [1e3 * value for value in bare], "ms"),
        ratio(f"{size}: watched / unwatched", wall[True], wall[False]),
        ratio(f"{size}: watched / bare", wall[True], bare),
        ratio(f"{size}: unwatched / bare", wall[False], bare),
        middle(f"{size}: frames", [meter.frames / meter.wall for meter in watched], "1/s"),
    ]


def _run_bare(script: Path, length: Length) -> float:
    """Return seconds of a step."""
    mpi, launcher = library.mpi_library(), executable.launcher_of_wheel()
    if mpi is None or launcher is None:
        raise RuntimeError("LAMMPS's MPI is not installed")
    numbers = [str(number) for number in (length.learning, length.measured, length.every)]
    command = [launcher, "-n", "2", sys.executable, "-m", "tests.benchmarks.bare_lammps", script, *numbers, "wall"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(result.stdout) / length.measured
