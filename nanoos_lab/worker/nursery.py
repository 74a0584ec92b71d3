"""The nursery: a process with engines loaded and nothing open, which forks an engine process for every run.

It is forked from a work-horse before that opens a socket or a store, so that every run starts from the same clean
memory while the work-horse keeps its connections from job to job. One engine process always waits, forked ahead. As
the engines' parent and the adopter of their orphans the nursery ends whatever a run leaves behind, and all of it ends
with the work-horse.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import inf
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from nanoos_lab.worker import child, devices, pipe
from nanoos_lab.worker.clocks import now
from nanoos_lab.worker.processes import adopt_orphans, descendants, end_children, end_with

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from resource import struct_rusage

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import EnginePolicy
    from nanoos_lab.worker.devices import Taken

#: Seconds after which a nursery that says nothing is given up, and killed with all that it holds.
PATIENCE = 5.0
#: Seconds for which an engine stands still whose lease is over, before it is killed.
HOLD = 3.0
_LARGEST = 4096


class NurseryGoneError(Exception):
    """The nursery has died; a new one is needed."""


@dataclass(frozen=True, kw_only=True)
class End:
    """How an engine process ended."""

    #: Exit code, negative for a signal; None if the nursery ended with it, and nobody knows.
    code: int | None
    #: CPU seconds, user and system, of it and of those of its children that it waited for.
    cpu: float = 0.0
    #: Most memory that it had at a time, in bytes.
    peak_memory: int = 0


class Nursery:
    """The work-horse's side of its nursery."""

    def __init__(self, pid: int, control: socket.socket) -> None:
        self._pid = pid
        self._control = control
        self._ends: dict[int, End] = {}

    @classmethod
    def fork(cls) -> Nursery:
        """Fork the nursery, while this process has one thread and none of our sockets or handles."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _main(theirs, parent)
        theirs.close()
        return cls(pid, ours)

    def engine(self) -> EngineProcess:
        """Return an engine process that waits for its run.

        Raises
        ------
        NurseryGoneError
            If there is none to be had here any more.
        """
        self._ask({"want": "engine"})
        while True:
            answer, handles = self._answer(PATIENCE)
            if "engine" in answer:
                return EngineProcess(self, answer["engine"], Connection(handles[0]))

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to an engine process and its process group."""
        with suppress(NurseryGoneError):
            self._ask({"signal": [pid, number]})

    def lease(self, pid: int, until: float) -> None:
        """Let an engine process run until then, by `clocks.now`, and no longer."""
        with suppress(NurseryGoneError):
            self._ask({"lease": [pid, until]})

    def join(self, pid: int, patience: float | None) -> End | None:
        """Wait for the end of an engine process, and of all that it has started; None if it outlives the patience."""
        deadline = None if patience is None else time.monotonic() + patience
        while pid not in self._ends:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                self._answer(left)
            except TimeoutError:
                return None
            except NurseryGoneError:
                # It took its engines with it.
                return End(code=None)
        return self._ends.pop(pid)

    def close(self) -> None:
        """Let the nursery end, and its engine processes with it."""
        self._control.close()
        with suppress(ChildProcessError):
            if not _ends_within(self._pid, PATIENCE):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)

    def _ask(self, message: Mapping[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError as error:
            raise NurseryGoneError from error

    def _answer(self, patience: float | None) -> tuple[dict[str, Any], list[int]]:
        """Read one message, and keep what it says of an end; raises TimeoutError."""
        self._control.settimeout(patience)
        try:
            data, handles, _, _ = socket.recv_fds(self._control, _LARGEST, 1)
        except (TimeoutError, BlockingIOError):
            raise TimeoutError from None
        except OSError as error:
            raise NurseryGoneError from error
        if not data:
            raise NurseryGoneError
        message: dict[str, Any] = json.loads(data)
        pid = message.pop("ended", None)
        if pid is not None:
            self._ends[pid] = End(**message)
        return message, handles


class EngineProcess:
    """The work-horse's side of an engine process.

    Parameters
    ----------
    nursery
        Where it was born.
    pid
        Its process id.
    connection
        The pipe to it.
    """

    def __init__(self, nursery: Nursery, pid: int, connection: Connection) -> None:
        self.pid = pid
        self.pipe = connection
        self._nursery = nursery
        self._end: End | None = None

    def start(
        self,
        request: JobRequest,
        *,
        directory: Path,
        files: Mapping[str, Path],
        policy: EnginePolicy,
        gpus: Taken,
        **more: Any,
    ) -> None:
        """Send the request; the run begins.

        Parameters
        ----------
        request
            What to run.
        directory
            The attempt's own.
        files
            Input files by role.
        policy
            What the lab's settings allow.
        gpus
            Graphics processors that are its own.
        **more
            Plain values and paths for `child`: what to go on from, and who this is.
        """
        data = request.structure.data if request.structure else b""
        fields = {
            "request": request.to_json(),
            "directory": str(directory),
            "files": {role: str(path) for role, path in files.items()},
            "policy": asdict(policy),
            "gpus": list(gpus.names),
            **more,
        }
        pipe.send(self.pipe, "run", fields, {"structure": np.frombuffer(data, dtype=np.uint8)})
        devices.hand_over(self.pipe, gpus)

    def order(self, kind: str, **fields: Any) -> None:
        """Send an order; one that comes too late is dropped."""
        with suppress(OSError):
            pipe.send(self.pipe, kind, fields)

    def tell(self, kind: str, **fields: Any) -> None:
        """Send what will be said again, unless a lot of it is unread: a write might have to wait for that."""
        if pipe.has_room(self.pipe):
            self.order(kind, **fields)

    def lease(self, until: float) -> None:
        """Let it run until then, by `clocks.now`, and no longer, whatever becomes of this process."""
        self.tell("lease", until=until)
        self._nursery.lease(self.pid, until)

    def pause(self) -> None:
        """Have it, and all that it has started, stand still."""
        self._nursery.signal(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Have it, and all that it has started, go on."""
        self._nursery.signal(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it, and all that it has started, at once."""
        if self._end is None:
            self._nursery.signal(self.pid, signal.SIGKILL)

    def join(self, patience: float | None = None) -> End:
        """Wait for its end.

        Parameters
        ----------
        patience
            Seconds after which it is killed; None waits as long as it takes.
        """
        if self._end is None:
            self._end = self._nursery.join(self.pid, patience) or self._killed()
            self.pipe.close()
        return self._end

    def _killed(self) -> End:
        self._nursery.signal(self.pid, signal.SIGKILL)
        end = self._nursery.join(self.pid, PATIENCE)
        if end is None:
            # It does not obey: with it ends whatever it holds.
            self._nursery.close()
            end = End(code=None)
        return end


# -- in the nursery -----------------------------------------------------------------------------------------------


def _main(control: socket.socket, parent: int) -> NoReturn:
    """Run in the forked process; never returns into the work-horse's code."""
    code = 1
    try:
        end_with(parent)
        adopt_orphans()
        for number in (signal.SIGINT, signal.SIGTERM):
            # It ends with its work-horse, which decides.
            signal.signal(number, signal.SIG_IGN)
        # Kept by name: its sockets end with the process, without a warning that they were not closed.
        tender = _Tender(control)
        tender.run()
        code = 0
    finally:
        os._exit(code)


@dataclass
class _Run:
    """What there is to know of a running engine process."""

    #: Until when it may run, by `clocks.now`.
    until: float = inf
    #: Since when it stands still because its lease is over.
    held: float | None = None
    #: Whether it is to stand still because its job pauses.
    paused: bool = False


class _Tender:
    """Forks engine processes, tells how they end, and ends what they leave behind."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._running: dict[int, _Run] = {}
        self._spare: tuple[int, socket.socket] | None = None
        self._bell, self._ringer = socket.socketpair()
        for end in (self._bell, self._ringer):
            end.setblocking(False)

    def run(self) -> None:
        """Serve until the work-horse is gone."""
        signal.set_wakeup_fd(self._ringer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        self._prepare()
        poll = select.poll()
        for source in (self._control, self._bell):
            poll.register(source, select.POLLIN)
        while True:
            ready = {number for number, _ in poll.poll(self._see_to_leases())}
            if self._bell.fileno() in ready:
                with suppress(BlockingIOError):
                    self._bell.recv(_LARGEST)
                self._reap()
            if self._control.fileno() in ready:
                data = self._control.recv(_LARGEST)
                if not data:
                    break
                self._obey(json.loads(data))
        end_children()

    def _see_to_leases(self) -> float | None:
        """Hold or end the engines whose lease is over; return after how many ms to look again, None for when asked to.

        One whose lease is over stands still at once: another worker may take its job. It is killed a little later,
        for after a sleep of the computer its work-horse may renew the lease as soon as it is awake.
        """
        moment = now()
        for pid, run in self._running.items():
            if run.until < moment and run.held is None:
                run.held = moment
                self._signal(pid, signal.SIGSTOP)
            elif run.held is not None and moment > run.held + HOLD:
                self._signal(pid, signal.SIGKILL)
        next_looks = [run.until if run.held is None else run.held + HOLD for run in self._running.values()]
        left = [at - moment for at in next_looks if at < inf]
        return 1000.0 * max(min(left), 0.01) + 1.0 if left else None

    def _renew(self, pid: int, until: float) -> None:
        run = self._running.get(pid)
        if run is None:
            return
        run.until = until
        if run.held is not None and until > now():
            run.held = None
            if not run.paused:
                self._signal(pid, signal.SIGCONT)
        elif run.held is None and not run.paused:
            # It may have stopped itself, by its own clock, just before the lease was renewed.
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGCONT)

    def _pass_on(self, pid: int, number: int) -> None:
        run = self._running.get(pid)
        if run is not None:
            run.paused = number == signal.SIGSTOP
            if run.held is None or number != signal.SIGCONT:
                self._signal(pid, number)

    def _obey(self, order: Mapping[str, Any]) -> None:
        if "signal" in order:
            self._pass_on(*order["signal"])
        elif "lease" in order:
            self._renew(*order["lease"])
        else:
            self._give()

    def _give(self) -> None:
        pid, connection = self._prepare()
        self._spare = None
        self._running[pid] = _Run()
        with connection:
            socket.send_fds(self._control, [json.dumps({"engine": pid}).encode()], [connection.fileno()])
        # While the run begins.
        self._prepare()

    def _prepare(self) -> tuple[int, socket.socket]:
        """Fork an engine process ahead, if none waits; return its process id and our end of its pipe."""
        if self._spare is None:
            ours, theirs = socket.socketpair()
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                for one in (self._control, self._bell, self._ringer, ours):
                    one.close()
                signal.set_wakeup_fd(-1)
                child.main(Connection(theirs.detach()), parent)
            theirs.close()
            self._spare = pid, ours
        return self._spare

    def _signal(self, pid: int, number: int) -> None:
        """Signal a running engine process and all that it has started, which may be in groups of their own.

        As its parent, this process knows that the id is still its own.
        """
        if pid not in self._running:
            return
        # Looked at before: what a process has started is no longer known to be its own once it has ended.
        others = descendants(pid)
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            # It has not yet made a group of its own.
            os.kill(pid, number)
        for other in others:
            with suppress(ProcessLookupError):
                os.kill(other, number)

    def _reap(self) -> None:
        """Tell of every engine process that has ended, once nothing is left of its run."""
        with suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return
                code = os.waitstatus_to_exitcode(status)
                if self._spare is not None and pid == self._spare[0]:
                    self._spare[1].close()
                    self._spare = None
                elif pid in self._running:
                    del self._running[pid]
                    self._tell(pid, code, usage)

    def _tell(self, pid: int, code: int, usage: struct_rusage) -> None:
        if code == child.CLEAN:
            # It has looked after its own children.
            code = 0
        else:
            end_children(keep=self._running.keys() | ({self._spare[0]} if self._spare else set()))
        end = End(code=code, cpu=usage.ru_utime + usage.ru_stime, peak_memory=1024 * usage.ru_maxrss)
        with suppress(OSError):
            self._control.send(json.dumps({"ended": pid, **asdict(end)}).encode())


def _ends_within(pid: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
