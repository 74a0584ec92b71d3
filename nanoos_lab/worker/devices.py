"""The graphics processors of this host, and which run has which: no two runs share one.

A run has a device as long as somebody holds the lock of its file: the work-horse from before the claim to the end of
the run, and the engine process, which is handed the open file. The system frees it when both are gone, however they
ended.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from nanoos_lab.broker.embedded import runtime_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection

    from nanoos_lab.worker.settings import Settings

#: What programs see of the devices, NVIDIA's and, with HIP, AMD's.
VARIABLE = "CUDA_VISIBLE_DEVICES"
#: Seconds to wait for another work-horse that takes devices at the same moment.
PATIENCE = 1.0
#: What ends the list in the variable, or says that there is none.
_NONE = re.compile(r"-\d+|NoDevFiles|")
#: With it come open files.
_BYTE = b"+"
#: Where the system shows devices of NVIDIA, and of AMD with those processors that are none.
_NVIDIA, _AMD = Path("/dev"), Path("/sys/class/kfd/kfd/topology/nodes")


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Devices that a run has for itself."""

    #: What they are called in `VARIABLE`.
    names: tuple[str, ...] = ()
    #: Open files whose locks hold them.
    files: tuple[int, ...] = ()


def visible(settings: Settings, nvidia: Path = _NVIDIA, amd: Path = _AMD) -> tuple[str, ...]:
    """Return what jobs may be given here, each as `VARIABLE` calls it.

    What this process was given by that variable, as Slurm sets it, goes before the setting, and that before what the
    system shows.

    Parameters
    ----------
    settings
        Of the lab.
    nvidia, amd
        Where the system shows devices.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        return _listed(given)
    if settings.gpus is not None:
        return settings.gpus
    return tuple(str(index) for index in range(_nvidia(nvidia) or _amd(amd)))


def _listed(text: str) -> tuple[str, ...]:
    """Return the devices of a list; as for CUDA, nothing counts from the first on that is none."""
    names: dict[str, None] = {}
    for name in map(str.strip, text.split(",")):
        if _NONE.fullmatch(name):
            break
        names[name] = None
    return tuple(names)


def _nvidia(folder: Path) -> int:
    return sum(re.fullmatch(r"nvidia\d+", path.name) is not None for path in folder.glob("nvidia*"))


def _amd(folder: Path) -> int:
    count = 0
    for path in folder.glob("*/gpu_id"):
        with suppress(OSError):
            count += path.read_text().strip() != "0"
    return count


@contextmanager
def taken(count: int, settings: Settings) -> Iterator[Taken | None]:
    """Hold so many devices of this host that nobody else has; None if there are not so many.

    Parameters
    ----------
    count
        How many.
    settings
        Of the lab.

    Raises
    ------
    SettingsError
        If somebody else owns the place of the locks.
    """
    if count == 0:
        yield Taken()
        return
    with ExitStack() as held:
        devices = _take(count, visible(settings), _place(), held)
        if devices is None:
            held.close()
        yield devices


def _take(count: int, names: tuple[str, ...], place: Path, held: ExitStack) -> Taken | None:
    if count > len(names):
        return None
    with (place / "taking").open("a") as turn:
        # Two that want two of two would else have one each.
        if not _locked_soon(turn.fileno()):
            return None
        _keep(place, held)
        files: dict[str, int] = {}
        for name in names:
            file = held.enter_context((place / f"device-{quote(name, safe='')}").open("a")).fileno()
            if _locked(file):
                files[name] = file
            if len(files) == count:
                return Taken(names=tuple(files), files=tuple(files.values()))
    return None


def _place() -> Path:
    """Return the directory of the locks; made if absent.

    What Slurm has given to a step is that step's own, and is called the same in each.
    """
    step = [os.environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID")]
    place = runtime_directory() / "-".join(filter(None, ("gpus", *step)))
    place.mkdir(exist_ok=True)
    return place


def _keep(place: Path, held: ExitStack) -> None:
    """Keep those from the files that clean up what is old: a run may be older. They leave a locked directory alone."""
    folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    held.callback(os.close, folder)
    with suppress(OSError):
        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _locked(file: int) -> bool:
    """Lock an open file, if nobody else has; a lock of the open file, since the engine process is to share it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked_soon(file: int) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not _locked(file):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


# -- from the work-horse to the engine process -----------------------------------------------------------------------


def hand_over(pipe: Connection, devices: Taken) -> None:
    """Send the open files to the engine process, which holds the devices too from then on."""
    if devices.files:
        with _socket(pipe) as way:
            socket.send_fds(way, [_BYTE], devices.files)


def receive(pipe: Connection, names: Sequence[str]) -> None:
    """Take over devices that `hand_over` sends, and let what runs here see no others.

    Without any, all stay in sight: a calculator of the user's own cannot ask for one.

    Raises
    ------
    EOFError
        If the work-horse has ended meanwhile.
    """
    if not names:
        return
    with _socket(pipe) as way:
        data, files, _, _ = socket.recv_fds(way, len(_BYTE), len(names))
    if not data:
        raise EOFError
    for file in files:
        # The programs that it starts end with this process.
        os.set_inheritable(file, False)
    os.environ[VARIABLE] = ",".join(names)


def _socket(pipe: Connection) -> socket.socket:
    return socket.socket(fileno=os.dup(pipe.fileno()))
