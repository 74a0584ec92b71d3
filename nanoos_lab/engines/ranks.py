"""What makes a process a rank of somebody's MPI run, and is not for the programs that it starts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How a library of MPI finds the launcher that has started its process; not how a site or a user has tuned it.
_OF_MPI = re.compile(
    "(PMI_(FD|PORT|RANK|SIZE|ID|JOBID|SPAWNED|CONTROL_.*)|"
    "PMIX_(RANK|NAMESPACE|SERVER_.*|SECURITY_MODE|GDS_MODULE|BFROP_.*|DSTORE_.*|PTL_MODULE|HOSTNAME|VERSION))$"
)
#: What Slurm says to a task of its place in a step, and the options of that step, which srun would take for its own.
_OF_STEP = re.compile(
    "SLURM_(STEP_.*|STEPID|PMI.*|SRUN_COMM_.*|LAUNCH_NODE_.*|CPU_BIND.*|MEM_BIND.*|PROCID|LOCALID|NODEID|GTIDS|TASK_PID|"
    "NTASKS|NPROCS|NTASKS_PER_NODE|CPUS_PER_TASK|TRES_PER_TASK|DISTRIBUTION)$"
)
_STEP = "SLURM_STEP_ID"
#: What a step has narrowed to itself, and what the whole allocation has.
_WIDER = {
    "SLURM_TASKS_PER_NODE": "SLURM_JOB_CPUS_PER_NODE",
    "SLURM_NNODES": "SLURM_JOB_NUM_NODES",
    "SLURM_NODELIST": "SLURM_JOB_NODELIST",
}
#: How ranks find each other. That a step has none says nothing of what the worker is to start.
_WAY, _NO_WAY = "SLURM_MPI_TYPE", "none"


def beside(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a program is nobody's rank, and Slurm's commands see the whole allocation.

    A worker, or the shell or the notebook that has started it, may be a task of a step of Slurm. An MPI program that
    finds itself in such an environment takes itself for that task: it fails, or waits for ranks that never come.

    Parameters
    ----------
    environment
        That of a process that may be a rank.
    """
    found = {name: value for name, value in environment.items() if not _OF_MPI.match(name)}
    if _STEP not in found:
        return found
    found = {name: value for name, value in found.items() if not _OF_STEP.match(name)}
    if found.get(_WAY) == _NO_WAY:
        del found[_WAY]
    return found | {name: found[whole] for name, whole in _WIDER.items() if whole in found}
