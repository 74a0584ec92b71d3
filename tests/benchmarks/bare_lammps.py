"""A run of LAMMPS's library as a plain script does it.

``python -m tests.benchmarks.bare_lammps INPUT LEARNING MEASURED EVERY [wall]`` prints the CPU seconds of the measured
steps, or the seconds that have passed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from nanoos_lab.engines.lammps import library


def main() -> None:
    """Execute the commands of a finished run of ours, then run, with thermo and a binary dump at `every`."""
    source = Path(sys.argv[1])
    learning, measured, every = map(int, sys.argv[2:5])
    clock = time.perf_counter if "wall" in sys.argv[5:] else time.process_time
    lines = source.read_text().splitlines()
    commands = [line for line in lines if line.split()[0] not in ("run", "thermo", "write_restart")]
    os.chdir(source.parent)
    with tempfile.TemporaryDirectory(prefix="nanoos-bench-") as folder:
        arguments = ["-screen", "none", "-log", f"{folder}/log", "-nocite", "-suffix", "opt"]
        lammps = library.load().lammps(cmdargs=arguments)
        dump = f"dump all all custom {every} {folder}/dump.bin id x y z vx vy vz"
        for command in [*commands, f"thermo {every}", dump, f"run {learning} post no"]:
            lammps.command(command)
        before = clock()
        lammps.command(f"run {measured} pre no post no")
        passed = clock() - before
        if lammps.extract_setting("world_rank") == 0:
            print(passed)


if __name__ == "__main__":
    main()
