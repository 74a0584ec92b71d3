"""What makes a process a rank of somebody's MPI run, and is not for the programs that it starts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How a library of MPI finds the launcher that has started its process.
_OF_MPI = re.compile("PMI_|PMIX_")
#: What Slurm says to a task of its place in a step, and the options of that step, which srun would take for its own.
_OF_STEP = re.compile(
    "SLURM_(STEP|PMI|SRUN_COMM|LAUNCH_NODE|CPU_BIND|MEM_BIND|"
    "(PROCID|LOCALID|NODEID|GTIDS|TASK_PID|MPI_TYPE|NTASKS|NPROCS|NTASKS_PER_NODE|CPUS_PER_TASK|DISTRIBUTION)$)"
)
_STEP = "SLURM_STEP_ID"


def marks(names: Iterable[str]) -> list[str]:
    """Return the variables, of those in an environment, that make its process a rank.

    A worker, or the shell or the notebook that has started it, may be a task of a step of Slurm. An MPI program that
    finds itself in such an environment takes itself for that task: it fails, or waits for ranks that never come.

    Parameters
    ----------
    names
        Of all variables there.
    """
    known = list(names)
    step = _STEP in known
    return [name for name in known if _OF_MPI.match(name) or (step and _OF_STEP.match(name))]
