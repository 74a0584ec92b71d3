"""The engine process: forked from the work-horse before anything else, spoken to over a pipe."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socketpair
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from nanoos_lab.core.errors import EngineError, InputError
from nanoos_lab.core.request import JobRequest
from nanoos_lab.core.status import Reason
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.worker import pipe
from nanoos_lab.worker.context import PipeContext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nanoos_lab.core.frames import Results

_PR_SET_PDEATHSIG = 1
#: Variables with passwords, which are no business of engines and what they start.
_SECRET = ("REDIS_URL", "RQ_REDIS_URL", "DATABASE_URL")
#: What the system says when there is no more room for a file.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class EngineProcess:
    """The work-horse's side of its engine process."""

    def __init__(self, pid: int, connection: Connection) -> None:
        self.pid = pid
        self.pipe = connection
        self._status: int | None = None

    @classmethod
    def fork(cls) -> EngineProcess:
        """Fork the engine process, while this process has one thread and none of our sockets or handles."""
        ours, theirs = socketpair()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _main(Connection(theirs.detach()), parent)
        theirs.close()
        return cls(pid, Connection(ours.detach()))

    def start(self, request: JobRequest, *, directory: Path, files: Mapping[str, Path], policy: EnginePolicy) -> None:
        """Send the request; the run begins."""
        data = request.structure.data if request.structure else b""
        fields = {
            "request": request.to_json(),
            "directory": str(directory),
            "files": {role: str(path) for role, path in files.items()},
            "policy": asdict(policy),
        }
        pipe.send(self.pipe, "run", fields, {"structure": np.frombuffer(data, dtype=np.uint8)})

    def order(self, kind: str, **fields: Any) -> None:
        """Send an order; one that comes too late is dropped."""
        try:
            pipe.send(self.pipe, kind, fields)
        except OSError:
            return

    def kill(self) -> None:
        """End the process group at once."""
        if self._status is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                # It has not yet made a group of its own.
                os.kill(self.pid, signal.SIGKILL)

    def join(self, patience: float | None = None) -> int:
        """Wait for the end; return the exit code, negative for a signal.

        Parameters
        ----------
        patience
            Seconds after which it is killed; None waits as long as it takes.
        """
        if self._status is None:
            if patience is not None:
                self._end_within(patience)
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.pipe.close()
        return self._status

    def _end_within(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > deadline:
                self.kill()
                return
            time.sleep(0.01)


def _main(connection: Connection, parent: int) -> NoReturn:
    """Run in the child; never returns into the work-horse's code."""
    code = 1
    try:
        os.setpgid(0, 0)
        _die_with(parent)
        for name in _SECRET:
            os.environ.pop(name, None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        _serve(connection)
        code = 0
    except EOFError:
        # The work-horse had no use for us: a stale claim.
        code = 0
    finally:
        # On a full disk a flush fails; that must not stand in the way of the end.
        with suppress(OSError):
            sys.stdout.flush()
        with suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the work-horse dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def _serve(connection: Connection) -> None:
    message = pipe.receive(connection)
    try:
        results = _run(connection, message)
        _send_results(connection, results)
    except BrokenPipeError:
        # The work-horse hears nothing any more.
        raise
    except (EngineError, InputError, MemoryError) as error:
        pipe.send(connection, "failed", _failure(error))
    except Exception as error:
        with suppress(OSError):
            traceback.print_exc()
        pipe.send(connection, "failed", _failure(error))


def _run(connection: Connection, message: pipe.Message) -> Results:
    data = message.arrays["structure"].tobytes()
    request = JobRequest.from_json(message.fields["request"], Structure(data) if data else None)
    directory = Path(message.fields["directory"])
    context = PipeContext(
        connection,
        workdir=directory / "work",
        files={role: Path(path) for role, path in message.fields["files"].items()},
        resources=request.resources,
        policy=_policy(message.fields["policy"]),
    )
    _redirect_output(directory / "log.txt")
    context.workdir.mkdir()
    os.chdir(context.workdir)
    context.listen()
    return registry.get(request.engine).run(request, context)


def _policy(fields: Mapping[str, Any]) -> EnginePolicy:
    calculators = fields["calculators"]
    return EnginePolicy(
        allow_shell=fields["allow_shell"], calculators=None if calculators is None else tuple(calculators)
    )


def _redirect_output(path: Path) -> None:
    """Let everything that the engine prints, from C as well, end in the job's log."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _failure(error: Exception) -> dict[str, str]:
    if isinstance(error, EngineError):
        return {"reason": error.reason, "message": error.message, "remedy": error.remedy}
    if isinstance(error, InputError):
        return {"reason": Reason.INPUT, "message": str(error), "remedy": ""}
    if isinstance(error, MemoryError):
        return {"reason": Reason.MEMORY, "message": "the engine process ran out of memory", "remedy": ""}
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return {"reason": Reason.RESOURCE, "message": f"there is no room for the run's files: {error}", "remedy": ""}
    return {
        "reason": Reason.BUG,
        "message": f"{type(error).__name__}: {error}",
        "remedy": "The log of the job has the traceback (job.log); please report it.",
    }


def _send_results(connection: Connection, results: Results) -> None:
    arrays = {name: value for name, value in results.properties.items() if isinstance(value, np.ndarray)}
    scalars = {name: value for name, value in results.properties.items() if name not in arrays}
    fields = {
        "scalars": {name: value.item() if isinstance(value, np.generic) else value for name, value in scalars.items()},
        "provenance": dict(results.provenance),
        "stopped": results.stopped,
        "has_structure": results.structure is not None,
    }
    data = results.structure.data if results.structure else b""
    pipe.send(connection, "done", fields, {**arrays, "$structure": np.frombuffer(data, dtype=np.uint8)})
