"""Programs that engines run, one process or many MPI ranks: the only place where an engine starts one."""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

import psutil

from nanoos_lab.core.errors import EngineError, NotInstalledError
from nanoos_lab.core.resources import cores
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.hearing import Ear
from nanoos_lab.engines.ranks import beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nanoos_lab.core.record import Correction
    from nanoos_lab.core.resources import Resources
    from nanoos_lab.engines.base import RunContext

#: Seconds between two looks at a program that is to stop, or of whose files there is soon something new.
TICK = 0.1
#: The same, at most, while it says nothing, and no more than this part of the time after which it counts as stuck.
IDLE, _PART = 2.0, 0.25
#: Seconds that a program has to stop by itself after a cancel; where it is to write a checkpoint first, this part of
#: what its run has.
GRACE, _OF_GRACE = 0.5, 0.8
#: Seconds between SIGTERM and SIGKILL.
_TERM = 1.0
#: Seconds, at most, that srun has to end its ranks; Slurm kills those that do not heed it.
_DISMISSED = 10.0
#: Cores of the nodes of an allocation, such as ``4(x2),2``.
_NODES, _CORES = "SLURM_JOB_CPUS_PER_NODE", re.compile(r"(\d+)(?:\(x(\d+)\))?")
#: Longest line that is kept together, in bytes.
_LONGEST = 1 << 20
#: Bytes of the end of the error stream that a failure quotes.
_QUOTED = 4000


def find(name: str) -> Path | None:
    """Return the path of a program on this machine, or None.

    Parameters
    ----------
    name
        Its usual name, such as "pw.x". The variable ``NANOOS_<NAME>``, such as ``NANOOS_PW_X``, comes before the
        search path.
    """
    chosen = os.environ.get(variable(name))
    found = shutil.which(chosen or name)
    return Path(found) if found else None


def variable(name: str) -> str:
    """Return the environment variable that says where a program is."""
    return "NANOOS_" + re.sub(r"\W", "_", name).upper()


def missing(name: str, how: str) -> str:
    """Say that a program is not there, and how to get it."""
    if chosen := os.environ.get(variable(name)):
        return f"{variable(name)} is {chosen!r}, where no program is; correct it, or {how} and unset it"
    return f"{name} is not on the search path: {how}, or set {variable(name)} to where it is"


def required(name: str, how: str) -> Path:
    """Return the path of a program that a run needs.

    Parameters
    ----------
    name
        Its usual name, such as "pw.x".
    how
        How to get it.

    Raises
    ------
    NotInstalledError
        If it is not on this machine.
    """
    found = find(name)
    if found is None:
        raise NotInstalledError(missing(name, how), how)
    return found


def answer(program: Path, *arguments: str, seconds: float = 20.0, environment: Mapping[str, str] | None = None) -> str:
    """Return what a program says by itself, such as its version; empty if it cannot be started or takes too long."""
    with TemporaryDirectory() as elsewhere, suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run(  # noqa: S603 - a list of words, put together by the engine
            [str(program), *arguments],
            cwd=elsewhere,
            env={**beside(os.environ), "OMP_NUM_THREADS": "1", **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        return said.stdout.decode(errors="replace")
    return ""


def time_to_stop(context: RunContext) -> float:
    """Return the seconds that a program has, once it was asked, to stop by itself."""
    return GRACE if context.stop in (None, "cancel") else _OF_GRACE * context.grace


def identity(path: Path) -> dict[str, str] | None:
    """Return path and SHA-256 of a program, for the provenance; None if it cannot be read."""
    try:
        found = path.stat()
        return {"path": str(path), "sha256": _digest(path, found.st_size, found.st_mtime_ns)}
    except OSError:
        return None


@lru_cache(maxsize=100)
def _digest(path: Path, _size: int, _changed: int) -> str:
    """Digest a file; one that was replaced has another size or time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True)
class Command:
    """What is started: no shell looks at it."""

    #: The program and its arguments.
    arguments: tuple[str, ...]
    #: Variables for its environment besides ours.
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Path, *arguments: str, resources: Resources, launcher: Path | None = None) -> Self:
        """Start a program with the ranks and threads of a job.

        A launcher and its ranks must be of one MPI: it is looked for beside the program. Inside Slurm, which knows the
        nodes, it is ``srun``; ``NANOOS_MPIRUN`` comes before both. Ranks are not bound to cores, since beside them run
        those of other jobs, which would be bound to the same ones; where ``srun`` starts them, Slurm binds them.

        Parameters
        ----------
        program, *arguments
            What is started.
        resources
            Ranks, threads and graphics processors.
        launcher
            That of the program's own MPI, where it is not beside the program; before all others.

        Raises
        ------
        EngineError
            If there is no launcher for more than one rank.
        """
        environment = {"OMP_NUM_THREADS": str(resources.threads)}
        if not resources.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        own = (str(program), *arguments)
        if resources.ranks == 1:
            return cls(arguments=own, environment=environment)
        environment |= {"OMPI_MCA_hwloc_base_binding_policy": "none"}
        if os.geteuid() == 0:
            environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        launcher = launcher or _launcher(program)
        ranks = ["-n", str(resources.ranks)]
        if launcher.name == "srun":
            # A worker may be a step of the allocation, and hold its cores; srun learns of threads by no variable; and
            # a batch job may have been told to hand on none.
            ranks += ["--overlap", "--export=ALL", "-c", str(resources.threads)]
        return cls(arguments=(str(launcher), *ranks, *own), environment=environment)


def nodes(ranks: int | None = None) -> tuple[int, ...]:
    """Return the cores of each node that ranks of a program may be on: of this host, or an allocation of Slurm.

    One rank is started by no launcher, and a launcher that the user has named is taken to start all on this host.

    Parameters
    ----------
    ranks
        How many there are; many unless given.
    """
    launcher = None if ranks == 1 else _chosen_launcher()
    counts = _CORES.findall(os.environ.get(_NODES, "")) if launcher is not None and launcher.name == "srun" else []
    allocated = tuple(int(count) for count, times in counts for _ in range(int(times or 1)))
    # A worker that is a task of a step may have few of its node's cores, and srun all.
    return allocated if len(allocated) > 1 else (max((cores(), *allocated)),)


def _chosen_launcher() -> Path | None:
    """Return the launcher that the user has named, or that knows the nodes here; None for that of the program's MPI."""
    if (chosen := os.environ.get(variable("mpirun"))) and (found := shutil.which(chosen)):
        return Path(found)
    if "SLURM_JOB_ID" in os.environ and (found := shutil.which("srun")):
        return Path(found)
    return None


def _launcher(program: Path) -> Path:
    if (chosen := _chosen_launcher()) is not None:
        return chosen
    beside = (program.with_name(name) for name in ("mpirun", "mpiexec"))
    for launcher in beside:
        if os.access(launcher, os.X_OK):
            return launcher
    if found := shutil.which("mpirun"):
        return Path(found)
    raise NotInstalledError(
        f"there is no mpirun for the MPI ranks of {program}",
        f"install the MPI that {program.name} was built with, or set {variable('mpirun')} to its mpirun",
    )


class Program:
    """One run of a program in the working directory of an attempt; a context manager that leaves no process behind.

    Parameters
    ----------
    command
        What is started.
    context
        Says when to stop; has the working directory.
    output
        Name of the file there that its output goes to, besides to `lines`. Its error stream goes beside it.
    ask
        Has the program stop by itself, such as by a file that it looks for; None if it knows no such way.
    silence
        Seconds without any output after which it counts as stuck, infinity for never; None if its output does not
        tell whether it is.
    stuck
        What to try next if it is; None for nothing.

    Raises
    ------
    EngineError
        If it cannot be started.
    """

    def __init__(
        self,
        command: Command,
        context: RunContext,
        *,
        output: str,
        ask: Callable[[], None] | None = None,
        silence: float | None = None,
        stuck: Correction | None = None,
    ) -> None:
        self._command = command
        self._context = context
        self._output = context.workdir / output
        self._ask = ask
        self._silence = silence
        self._stuck = stuck
        self._asked_at: float | None = None
        self._signalled = 0

    def __enter__(self) -> Self:
        if shutil.which(self._command.arguments[0]) is None:
            gone = self._command.arguments[0]
            raise NotInstalledError(
                f"{gone} is not there or cannot be executed", "install it, or correct what names it"
            )
        self._errors = self._output.with_suffix(".err").open("wb")
        self._file = self._output.open("wb")
        # Its words are heard here.
        self._listening = nullcontext() if self._silence is None else self._context.patience(math.inf)
        self._listening.__enter__()
        self._process = subprocess.Popen(  # noqa: S603 - a list of words, put together by the engine
            [*_end_with_us(), *self._command.arguments],
            cwd=self._context.workdir,
            env={**beside(os.environ), **self._command.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        self._output.with_suffix(".pid").write_text(f"{self._process.pid}\n")
        if self._process.stdout is None:
            raise RuntimeError("the program has no output")
        self._ear = Ear(self._process.stdout.fileno())
        self._context.on_stop(self._ear.ring)
        return self

    def __exit__(self, *_: object) -> None:
        _end_all(self._process)
        self._ear.close()
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()
        self._file.close()
        self._output.with_suffix(".pid").unlink(missing_ok=True)
        self._listening.__exit__(None, None, None)

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop."""
        return self._asked_at is not None

    @property
    def errors(self) -> str:
        """The end of its error stream."""
        with self._output.with_suffix(".err").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _QUOTED))
            return file.read().decode(errors="replace").strip()

    def lines(self, patience: Callable[[], float] = lambda: IDLE) -> Iterator[str | None]:
        """Yield its output line by line soon after it comes, without line ends; None whenever nothing has come.

        Ends when the program has closed its output, or has ended and left somebody who holds it open. While it goes on,
        a stop of the context is passed on: first as the program wants to be asked, then by signals.

        Parameters
        ----------
        patience
            Returns the seconds without any output, at most, until None is yielded; called each time.

        Raises
        ------
        EngineError
            If the program has said nothing for too long.
        """
        rest = b""
        for data in self._pieces(patience):
            if data is None:
                yield None
                continue
            self._file.write(data)
            self._file.flush()
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace").rstrip("\r")
            if len(rest) > _LONGEST:
                rest = rest[-_LONGEST:]
        if rest:
            yield rest.decode(errors="replace")

    def wait(self) -> int:
        """Wait for its end, while a stop is passed on as ever; return its exit code, negative for a signal."""
        while True:
            with suppress(subprocess.TimeoutExpired):
                return self._process.wait(TICK)
            self._pass_on_stop()

    def stop(self) -> None:
        """Have it stop, whatever the context says."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            if self._ask is not None:
                self._ask()

    def kill(self) -> None:
        """End it, and all that it has started, at once."""
        _kill(self._process.pid)

    def _pieces(self, patience: Callable[[], float]) -> Iterator[bytes | None]:
        # Not by the clock: while the run is paused nothing can be heard, and no time passes.
        quiet = 0.0
        while True:
            self._pass_on_stop()
            seconds = self._tick(patience())
            data = self._ear.hear(seconds)
            if data is not None:
                quiet = 0.0
                if not data:
                    return
            elif self._process.poll() is not None:
                return
            else:
                quiet += seconds
                self._check_silence(quiet)
            yield data

    def _tick(self, wanted: float) -> float:
        """Return the seconds until the program is looked at again, though it says nothing."""
        if self.stopped:
            return TICK
        return wanted if self._silence is None else min(wanted, _PART * self._silence)

    def _pass_on_stop(self) -> None:
        if self._context.stop is not None:
            self.stop()
        if self._asked_at is None:
            return
        waited = time.monotonic() - self._asked_at - (time_to_stop(self._context) if self._ask else 0.0)
        if waited > 0 and self._signalled == 0:
            self._signalled = 1
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
        elif waited > _TERM and self._signalled == 1:
            self._signalled = 2
            _kill(self._process.pid)

    def _check_silence(self, quiet: float) -> None:
        if self._silence is not None and quiet > self._silence:
            raise EngineError(
                f"{self._command.arguments[0]} has said nothing for {self._silence:g} s and was stopped",
                reason=Reason.ENGINE,
                remedy="The log of the job has its last words; it may have lacked memory or hung in MPI. If it only "
                f"takes long, {variable('silence')} on the worker's host gives it more seconds.",
                correction=self._stuck,
            )


def _end_with_us() -> Sequence[str]:
    """Return the words before a command that have the kernel kill it when this process dies."""
    helper = shutil.which("setpriv")
    return (helper, "--pdeathsig", "KILL") if helper else ()


def _end_all(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a program, and wait for its end."""
    _kill(process.pid)
    process.wait()


def _kill(pid: int) -> None:
    """Kill a program, all that it has started, and what is left of its session when it has ended itself.

    Ranks of srun are no children of it. It ends them when it is asked to end, and can't once it is killed.
    """
    _dismiss(pid)
    for one in {*_family(pid), *_session(pid)}:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(one, signal.SIGKILL)


def _dismiss(pid: int) -> None:
    """Have srun end its ranks, and wait until it has; of another program nothing is asked."""
    with suppress(psutil.NoSuchProcess):
        launcher = psutil.Process(pid)
        if launcher.name() != "srun":
            return
        launcher.terminate()
        # It may stand still.
        launcher.resume()
        deadline = time.monotonic() + _DISMISSED
        # Its exit code is left for who waits for it.
        while launcher.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.01)


def _family(pid: int) -> list[int]:
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [one.pid for one in (root, *root.children(recursive=True))]
    return []


def _session(pid: int) -> list[int]:
    """Return the processes of the session that began with a process; MPI ranks are of it, in groups of their own."""
    found = []
    for one in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(one) == pid:
                found.append(one)
    return found
