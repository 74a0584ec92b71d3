"""A program is started, heard, asked to stop, and ended with all that it has started."""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.resources import Resources
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import program, silence
from nanoos_lab.engines.program import Command, Program
from tests.engines.context import RecordingContext
from tests.fixtures.programs import program as installed
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nanoos_lab.engines.base import StopReason

PYTHON = sys.executable


@pytest.fixture
def context(tmp_path: Path) -> RecordingContext:
    return RecordingContext(workdir=tmp_path)


def python(code: str) -> Command:
    return Command(arguments=(PYTHON, "-u", "-c", code))


@contextmanager
def engine_of(workdir: Path, program: str, options: str = "") -> Iterator[subprocess.Popen[str]]:
    """Give an engine process that says the process id of a Python program, and what that says."""
    code = f"""
import sys
sys.path.insert(0, {os.getcwd()!r})
from pathlib import Path
from tests.engines.context import RecordingContext
from nanoos_lab.engines.program import Command, Program
context = RecordingContext(workdir=Path({str(workdir)!r}))
command = Command(arguments=(sys.executable, "-c", {program!r}))
with Program(command, context, output="it.out", {options}) as run:
    print(run._process.pid, flush=True)
    for line in run.lines():
        if line:
            print(line, flush=True)
"""
    with subprocess.Popen([PYTHON, "-c", code], stdout=subprocess.PIPE, text=True) as engine:
        try:
            yield engine
        finally:
            engine.kill()


def is_gone(pid: int) -> bool:
    """Whether a process has ended, though somebody may still have to ask for its exit code."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


def test_its_lines_come_as_it_says_them_and_are_kept(context: RecordingContext) -> None:
    code = (
        "import os, sys, time\nprint('one')\nwhile not os.path.exists('HEARD'): time.sleep(0.01)\nprint('two\\r')\n"
        "sys.stdout.write('rest')\nprint('oh', file=sys.stderr)\nexit(3)"
    )
    said = []
    with Program(python(code), context, output="it.out") as run:
        assert int((context.workdir / "it.pid").read_text()) > 0
        for line in run.lines(lambda: 0.05):
            if line is not None:
                said.append(line)
            elif said == ["one"]:
                # The first line is here, and a while without any has passed: the program may go on.
                (context.workdir / "HEARD").touch()
        assert run.wait() == 3
        assert run.errors == "oh"
    assert said == ["one", "two", "rest"]
    assert (context.workdir / "it.out").read_bytes() == b"one\ntwo\r\nrest"
    assert not (context.workdir / "it.pid").exists()


def test_a_stop_is_passed_on_as_the_program_wants_it(context: RecordingContext) -> None:
    code = "import os, time\nprint('up')\nwhile not os.path.exists('STOP'): time.sleep(0.01)\nprint('saved')"
    ask = (context.workdir / "STOP").touch
    with Program(python(code), context, output="it.out", ask=ask) as run:
        lines = run.lines()
        assert next(line for line in lines if line) == "up"
        context.stop = "cancel"
        assert [line for line in lines if line] == ["saved"]
        assert run.wait() == 0
        assert run.stopped


@pytest.mark.parametrize("reason", ["cancel", "time_limit"])
@pytest.mark.parametrize(
    ("deaf", "code"), [("", -signal.SIGTERM), ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", -signal.SIGKILL)]
)
def test_one_that_does_not_listen_is_ended_by_signals(
    context: RecordingContext, deaf: str, code: int, reason: StopReason
) -> None:
    context.grace = 2.0
    text = f"import signal, time\n{deaf}\nprint('up')\ntime.sleep(600)"
    with Program(python(text), context, output="it.out", ask=lambda: None) as run:
        begin = 0.0
        for line in run.lines():
            if line == "up":
                context.stop = reason
                begin = time.monotonic()
        assert run.wait() == code
        assert program.time_to_stop(context) <= time.monotonic() - begin < 60


def test_after_a_time_limit_it_may_take_its_time(context: RecordingContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "GRACE", 0.1)
    code = (
        "import os, time\nprint('up')\n"
        "while not os.path.exists('STOP'): time.sleep(0.01)\ntime.sleep(2)\nprint('saved')"
    )
    with Program(python(code), context, output="it.out", ask=(context.workdir / "STOP").touch) as run:
        lines = run.lines()
        next(line for line in lines if line)
        context.stop = "time_limit"
        assert "saved" in list(lines)
        assert run.wait() == 0


def test_one_that_says_nothing_for_too_long_is_stuck(context: RecordingContext) -> None:
    with Program(python("import time; print('up'); time.sleep(600)"), context, output="it.out", silence=0.5) as run:
        with pytest.raises(EngineError, match=r"nothing for 0\.5 s"):
            list(run.lines())
        pid = run._process.pid
    assert not psutil.pid_exists(pid)
    assert context.patiences == [math.inf, None], "meanwhile it is for nobody else to listen to it"


def test_one_whose_output_tells_nothing_is_left_to_those_who_hear_the_run(context: RecordingContext) -> None:
    with Program(python("print('up')"), context, output="it.out") as run:
        assert list(run.lines()) == ["up"]
    assert context.patiences == []


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        (None, None, 6 * 3600),
        (None, "", 6 * 3600),
        (None, "120", 120),
        (None, "0", math.inf),
        (30.0, "120", 30),
        (0.0, None, math.inf),
        (0.0, "120", math.inf),
    ],
)
def test_silence_is_what_the_user_says_or_the_host_or_six_hours(
    monkeypatch: pytest.MonkeyPatch, given: float | None, environment: str | None, expected: float
) -> None:
    monkeypatch.delenv("NANOOS_SILENCE", raising=False)
    if environment is not None:
        monkeypatch.setenv("NANOOS_SILENCE", environment)
    assert silence.patience(given) == expected
    assert silence.patience(given, least=1e5) == (1e5 if given is None and expected < math.inf else expected)


@pytest.mark.parametrize("text", ["2h", "-1", "nan", "inf"])
def test_a_silence_of_the_host_that_is_no_number_of_seconds_is_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NANOOS_SILENCE", text)
    with pytest.raises(EngineError, match=f"NANOOS_SILENCE is '{text}', not a number of seconds"):
        silence.patience()
    assert silence.patience(60.0) == 60.0


def test_a_pause_is_no_silence(tmp_path: Path) -> None:
    program = """
import time
for number in range(4):
    print(number, flush=True)
    time.sleep(0.25)
"""
    with engine_of(tmp_path, program, "silence=3.0") as engine:
        assert engine.stdout is not None
        child = psutil.Process(int(engine.stdout.readline()))
        assert engine.stdout.readline() == "0\n"
        for process in (engine, child):
            process.send_signal(signal.SIGSTOP)
        time.sleep(3.5)
        for process in (child, engine):
            process.send_signal(signal.SIGCONT)
        assert engine.stdout.read().split() == list("123")
        assert engine.wait(90) == 0


def test_one_that_has_ended_is_not_waited_for_though_its_output_is_held_open(context: RecordingContext) -> None:
    code = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\nos._exit(7)"
    )
    with Program(python(code), context, output="it.out") as run:
        (child,) = [int(line) for line in run.lines() if line]
        assert run.wait() == 7
    until(lambda: is_gone(child))


def test_ranks_do_not_outlive_a_launcher_that_was_killed(context: RecordingContext) -> None:
    # In one piece, or the launcher may put another rank's words between the number and the end of its line.
    rank = (PYTHON, "-c", "import os, time; os.write(1, b'%d\\n' % os.getpid()); time.sleep(600)")
    # Whichever MPI's launcher comes first in the path.
    names = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe")
    launcher = shutil.which("mpirun") or ""
    command = Command(arguments=(launcher, "-n", "2", *rank), environment=dict.fromkeys(names, "1"))
    ranks: list[int] = []
    with Program(command, context, output="it.out") as run:
        for line in run.lines():
            ranks += [int(line)] if line else []
            if len(ranks) == 2:
                run._process.kill()
        assert run.wait() == -signal.SIGKILL
    until(lambda: all(is_gone(pid) for pid in ranks))


def test_nothing_of_it_is_left_whatever_happens(context: RecordingContext) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "print(child.pid)\ntime.sleep(600)"
    )
    with Program(python(code), context, output="it.out") as run:
        child = int(next(line for line in run.lines() if line) or 0)
    assert not psutil.pid_exists(run._process.pid)
    until(lambda: is_gone(child))


def test_it_dies_with_the_engine_process(tmp_path: Path) -> None:
    with engine_of(tmp_path, "import time; time.sleep(600)") as engine:
        assert engine.stdout is not None
        child = int(engine.stdout.readline())
        engine.kill()
        until(lambda: is_gone(child))


def test_one_that_is_not_there_is_named(context: RecordingContext) -> None:
    with (
        pytest.raises(EngineError, match="/no/such is not there") as caught,
        Program(Command(arguments=("/no/such",)), context, output="it.out"),
    ):
        pass
    assert caught.value.reason is Reason.RESOURCE


def test_programs_are_found_by_a_variable_or_on_the_search_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.x"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program.find("own.x") == own
    assert program.find("pw.x") is None
    assert program.missing("pw.x", "install it") == (
        "pw.x is not on the search path: install it, or set NANOOS_PW_X to where it is"
    )
    monkeypatch.setenv("NANOOS_PW_X", "/no/such")
    assert program.missing("pw.x", "install it").startswith("NANOOS_PW_X is '/no/such', where no program is")
    monkeypatch.setenv("NANOOS_PW_X", str(own))
    assert program.find("pw.x") == own


def test_ranks_are_started_by_the_launcher_beside_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mpirun", "its.x"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    for name in ("SLURM_JOB_ID", "NANOOS_MPIRUN"):
        monkeypatch.delenv(name, raising=False)
    its = tmp_path / "its.x"
    alone = Command.of(its, "-in", "x", resources=Resources(threads=2))
    assert alone.arguments == (str(its), "-in", "x")
    assert alone.environment["OMP_NUM_THREADS"] == "2"
    many = Command.of(its, resources=Resources(ranks=3))
    assert many.arguments == (str(tmp_path / "mpirun"), "-n", "3", str(its))
    monkeypatch.setenv("NANOOS_MPIRUN", shutil.which("true") or "")
    assert Command.of(its, resources=Resources(ranks=3)).arguments[0] == shutil.which("true")


#: A rank says in one piece which devices it sees and on which cores it may run.
SAYS_WHAT_IT_HAS = (
    "import os; cores = sorted(os.sched_getaffinity(0)); "
    "os.write(1, f'{os.environ.get(\"CUDA_VISIBLE_DEVICES\")!r} {cores}\\n'.encode())"
)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(("gpus", "seen"), [(0, ""), (1, "7")])
def test_a_program_sees_the_devices_of_its_job_alone_and_all_cores(
    context: RecordingContext, monkeypatch: pytest.MonkeyPatch, ranks: int, gpus: int, seen: str
) -> None:
    """Open MPI by itself binds each of two ranks to a core, to which it also binds those of the next job."""
    launcher = installed("mpirun.openmpi", package="openmpi-bin")
    # As a worker has it: the devices of the job, or those that the worker was given.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    command = Command.of(
        Path(PYTHON),
        "-c",
        SAYS_WHAT_IT_HAS,
        resources=Resources(ranks=ranks, gpus=gpus),
        launcher=Path(launcher),
    )
    with Program(command, context, output="it.out") as run:
        said = [line for line in run.lines() if line]
        assert run.wait() == 0, run.errors
    assert said == [f"{seen!r} {sorted(os.sched_getaffinity(0))}"] * ranks


def test_a_stop_from_another_thread_is_heard_at_once(context: RecordingContext) -> None:
    with Program(python("import time; time.sleep(600)"), context, output="it.out") as run:
        begin = time.monotonic()
        threading.Timer(0.2, context.ask_to_stop).start()
        list(run.lines(lambda: 120.0))
        assert run.wait() == -signal.SIGTERM
        assert time.monotonic() - begin < 60


def test_slurm_starts_ranks_beside_the_worker_with_a_core_for_each_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("srun", "its.x"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.delenv("NANOOS_MPIRUN", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("PATH", str(tmp_path))
    command = Command.of(tmp_path / "its.x", resources=Resources(ranks=3, threads=2))
    assert command.arguments[1:-1] == ("-n", "3", "--overlap", "--export=ALL", "-c", "2")
