"""Start the supervisor as a process that outlives its starter: ``python -m nanoos_lab.worker.daemon HOME``.

It forks, and takes the lock of its lab, before it imports anything heavy: the starter waits for a bare Python only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nanoos_lab.worker import lock


def main() -> None:
    """Detach from the starter, point the output at the lab's log, and become the supervisor if there is none."""
    home = Path(sys.argv[1])
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    if os.fork() > 0:
        os._exit(0)
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(home / "logs" / "pool.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    # Two runs of the same numbers on one core each: threads of BLAS would fight for the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with lock.held(home) as mine:
        if mine:
            from nanoos_lab.worker.pool import main as supervise

            supervise()


if __name__ == "__main__":
    main()
