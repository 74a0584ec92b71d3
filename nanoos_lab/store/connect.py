"""From a URL to a database: connections right for SQLite and for PostgreSQL, and errors in words."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from functools import lru_cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from nanoos_lab.core.errors import SettingsError, StoreError
from nanoos_lab.store.places import network_file_system
from nanoos_lab.store.work import Statements, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL, PoolProxiedConnection

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Longest wait in s: for a connection, for SQLite's one writer, for a silent peer.
PATIENCE = 3
#: How often a transaction is made again that was undone for the sake of others.
_TRIES = 5
#: PostgreSQL's words for that: a deadlock was detected; it could not be serialised.
_UNDONE = ("40P01", "40001")


def persistent(change: Callable[_P, _T]) -> Callable[_P, _T]:
    """Make a change again that PostgreSQL has undone, since it and another one waited for each other."""

    @wraps(change)
    def insist(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        for _ in range(_TRIES):
            try:
                return change(*args, **kwargs)
            except StoreError as error:
                if getattr(error.__context__, "sqlstate", None) not in _UNDONE:
                    raise
        return change(*args, **kwargs)

    return insist


class Database:
    """One database, as all stores of this process see it; connects when it is first used.

    It may be made, and its statements compiled, in a process that forks: a child that finds connections of its
    parent leaves them alone and opens its own.

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
        self._url = _parse(url)
        #: The URL without its password.
        self.shown = self._url.render_as_string(hide_password=True)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        #: Whether the version of the schema has been looked at.
        self.checked = False
        self._engine = self._sqlite() if self.is_sqlite else _postgresql(self._url)
        self._statements = Statements(self._engine.dialect)
        self._pid: int | None = None
        self._rehearsing = False
        self._inherited: list[object] = []

    @contextmanager
    def transaction(self) -> Iterator[Work]:
        """Yield the means to work in one transaction, which may write from its first statement on."""
        with self._checked_out() as connection:
            self._stand_alone(connection, False)
            cursor = connection.cursor()
            if self.is_sqlite:
                cursor.execute("BEGIN IMMEDIATE")
            try:
                yield Work(cursor, self._statements)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def autocommit(self) -> Iterator[Work]:
        """Yield the means to run statements that stand each for itself."""
        with self._checked_out() as connection:
            self._stand_alone(connection, True)
            yield Work(connection.cursor(), self._statements)

    @contextmanager
    def schema_change(self) -> Iterator[Connection]:
        """Yield SQLAlchemy's own connection, in a transaction that nobody else writes beside."""
        self._own()
        with self._answering(), self._engine.connect() as connection:
            self._stand_alone(connection.connection, False)
            with connection.begin():
                if self.is_sqlite:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Connect to an empty database in memory instead, while the block lasts; before the first use only.

        What is compiled and looked up meanwhile is there for the real database, and for forked children.
        """
        self._rehearsing = True
        try:
            yield
        finally:
            self._rehearsing = False
            self._engine.dispose()
            self._pid = None
            self.checked = False

    @property
    def used(self) -> bool:
        """Whether this process, or one that it was forked from, has connected."""
        return self._pid is not None

    def close(self) -> None:
        """Close the connections, those in use when they are given back; the next use opens new ones."""
        if self._pid == os.getpid():
            pool = self._engine.pool
            self._engine.dispose()
            # One may have been given back to it meanwhile.
            pool.dispose()

    @contextmanager
    def _checked_out(self) -> Iterator[PoolProxiedConnection]:
        self._own()
        with self._answering():
            pool = self._engine.pool
            connection = self._engine.raw_connection()
            try:
                yield connection
            except Exception as error:
                if self._is_away(error):
                    connection.invalidate()
                raise
            finally:
                connection.close()
                if self._engine.pool is not pool:
                    # Another thread has closed the database: nobody will take it from there again.
                    pool.dispose()

    def _stand_alone(self, connection: PoolProxiedConnection, each: bool) -> None:
        """Say whether each statement stands for itself; a connection of the pool may have been used either way."""
        if not self.is_sqlite:
            driver: Any = connection.driver_connection
            driver.autocommit = each

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn what a driver raises when the database is away, locked or full into one sentence."""
        try:
            yield
        except PoolTimeout:
            raise StoreError(f"all connections to {self.shown} were busy for {PATIENCE} s") from None
        except Exception as error:
            cause = getattr(error, "orig", None) or error
            if not self._is_away(cause):
                raise
            raise StoreError(f"the database {self.shown} does not answer: {_first_line(cause)}") from None

    def _is_away(self, error: BaseException) -> bool:
        """Whether the database, not the statement, is at fault; a damaged file raises the bare DatabaseError."""
        driver: Any = self._engine.dialect.loaded_dbapi
        return (
            isinstance(error, (driver.OperationalError, driver.InterfaceError)) or type(error) is driver.DatabaseError
        )

    def _own(self) -> None:
        pid = os.getpid()
        if self._pid not in (None, pid):
            # Kept for ever: if they were collected here, closing them would disturb the parent's.
            self._inherited.append(self._engine.pool)
            self._engine.dispose(close=False)
        self._pid = pid

    def _sqlite(self) -> Engine:
        return create_engine(self._url, creator=self._open, pool_timeout=PATIENCE)

    def _open(self) -> sqlite3.Connection:
        """Open the file of the database, made if it is missing; without SQLAlchemy's detours."""
        path = ":memory:" if self._rehearsing else _private(Path(str(self._url.database)).absolute())
        # The driver must not start transactions of its own: a transaction that reads first could not wait for the
        # write lock later, so ours take it at once (BEGIN IMMEDIATE).
        connection = sqlite3.connect(path, check_same_thread=False, timeout=PATIENCE, isolation_level=None)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection


@lru_cache(maxsize=64)
def database(url: str) -> Database:
    """Return this process's one `Database` of that URL; a forked child inherits its compiled statements."""
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
    return parsed.set(database=str(Path(str(parsed.database)).absolute()))


def _postgresql(url: URL) -> Engine:
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
        raise SettingsError(f"PostgreSQL needs {error.name}: pip install 'nanoos-lab[postgres]'") from None


def _private(path: Path) -> Path:
    """Make the file (0600) and its directory (0700) if they are missing; return the path."""
    if path.exists():
        return path
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
    return path


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
