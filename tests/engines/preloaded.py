"""What the fork server of the tests holds ready, as a nursery does: imports, nothing else."""

import os

# As for a worker's engines: threads of a library that wait for each other on a busy machine take ten times as long.
os.environ["OMP_NUM_THREADS"] = "1"

from nanoos_lab.engines import registry

for name in ("ase", "lammps", "mock"):
    registry.get(name).preload()
