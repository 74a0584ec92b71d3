"""From a URL to a database: connections that are right for SQLite and for PostgreSQL, and errors in words."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from nanoos_lab.core.errors import SettingsError, StoreError
from nanoos_lab.store.places import network_file_system

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

#: Longest wait in s: for a connection, for SQLite's one writer, for a silent peer.
PATIENCE = 3


class Database:
    """One database, as all stores of this process see it; connects when it is first used.

    It may be made, and its statements compiled, in a process that forks: a child that finds connections of its parent
    leaves them alone and opens its own.

    Parameters
    ----------
    url
        ``sqlite:///path`` or ``postgresql://user:password@host/name``.

    Raises
    ------
    SettingsError
        For a URL that is no database of ours, or whose driver is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = _parse(url)
        self.shown = self.url.render_as_string(hide_password=True)
        self.engine = _engine(self.url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._reads = (
            self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        self._writes = self.engine.execution_options(write=True)
        self._pid: int | None = None
        self._inherited: list[object] = []
        self.checked = False

    @contextmanager
    def autocommit(self) -> Iterator[Connection]:
        """Yield a connection on which every statement stands for itself."""
        self._own()
        with self.answering(), self._reads.connect() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection in a transaction that may write from its first statement on."""
        self._own()
        with self.answering(), self._writes.begin() as connection:
            yield connection

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn what a driver raises when the database is away, locked or full into one sentence."""
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise StoreError(
                f"the database {self.shown} does not answer: {_first_line(error.orig)}"
            ) from None
        except PoolTimeout:
            raise StoreError(f"all connections to {self.shown} were busy for {PATIENCE} s") from None

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        if self._pid == os.getpid():
            self.engine.dispose()

    def _own(self) -> None:
        pid = os.getpid()
        if self._pid not in (None, pid):
            # Kept for ever: if they were collected here, closing them would disturb the parent's.
            self._inherited.append(self.engine.pool)
            self.engine.dispose(close=False)
        self._pid = pid


@lru_cache(maxsize=64)
def database(url: str) -> Database:
    """Return this process's one `Database` of that URL, which a forked child inherits with its compiled statements."""
    return Database(url)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise SettingsError(
            "the database URL cannot be read; it looks like sqlite:///path/to/file "
            "or postgresql://user:password@host:5432/name"
        ) from None
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise SettingsError(f"no store for {backend!r} databases; use sqlite:///path or postgresql://…")
    if parsed.database in (None, "", ":memory:"):
        raise SettingsError("a database in memory cannot be shared with workers; use sqlite:///path/to/file")
    return parsed


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    try:
        return create_engine(
            url,
            connect_args={
                "connect_timeout": PATIENCE,
                "keepalives_idle": PATIENCE,
                "keepalives_interval": 1,
                "keepalives_count": PATIENCE,
                "tcp_user_timeout": PATIENCE * 1000,
                "application_name": "nanoos_lab",
            },
            pool_pre_ping=True,
            pool_timeout=PATIENCE,
            use_native_hstore=False,
        )
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"PostgreSQL needs {error.name}: pip install 'nanoos-lab[postgres]'",
        ) from None


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url,
        # The driver must not start transactions of its own: see _begin.
        connect_args={"timeout": PATIENCE, "isolation_level": None},
        pool_timeout=PATIENCE,
    )
    path = Path(str(url.database)).absolute()
    event.listen(engine, "do_connect", lambda *_: _make_private(path))
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _make_private(path: Path) -> None:
    """Make the file (0600) and its directory (0700) if they are missing."""
    if path.exists():
        return
    if kind := network_file_system(path.parent):
        raise SettingsError(
            f"{path} is on a network file system ({kind}), where SQLite loses data; "
            "set NANOOS_DATA_DIR to a local directory, or DATABASE_URL to a postgresql:// server"
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreError(f"cannot make the database {path}: {error.strerror}") from None


def _set_up(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    """Take SQLite's write lock at once: a transaction that reads first could not wait for it later."""
    if connection.get_execution_options().get("write"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
