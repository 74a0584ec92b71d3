"""Connections to the Redis-compatible server: quick to give up, and with errors that say what to do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from redis import ConnectionPool, Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq.connections import get_connection_kwargs

from nanoos_lab.core.errors import BrokerError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Command = tuple[str | bytes | int, ...]

#: Seconds to wait for a connection; two addresses of one host still fit into three seconds.
CONNECT_TIMEOUT = 1.4
#: Seconds to wait for an answer.
ANSWER_TIMEOUT = 3.0
#: What redis-py raises when the server is away, as opposed to refusing a command.
AWAY = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)


def connect(url: str) -> Redis:
    """Return a client of the server; it connects on its first command.

    Parameters
    ----------
    url
        ``redis://``, ``rediss://`` (TLS) or ``unix://``, with the password in it.

    Raises
    ------
    SettingsError
        If it is no such URL.
    """
    try:
        # Protocol 2 and no client name: fewer round trips per connection, and every work-horse makes its own.
        return Redis.from_url(
            url,
            protocol=2,
            driver_info=None,
            socket_connect_timeout=CONNECT_TIMEOUT,
            socket_timeout=ANSWER_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        # Its own message may hold the password.
        raise SettingsError("REDIS_URL must look like redis://, rediss:// or unix://:password@host:port/0") from None


def sibling(connection: Redis, *, timeout: float) -> Redis:
    """Return a client of the same server with a pool of its own and another patience.

    Parameters
    ----------
    connection
        Any client, also one that RQ has made.
    timeout
        Seconds to wait for an answer; a connection is waited for no longer.
    """
    kwargs = get_connection_kwargs(connection) | {
        "protocol": 2,
        "driver_info": None,
        "socket_connect_timeout": min(timeout, CONNECT_TIMEOUT),
        "socket_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
    }
    connection_class = connection.connection_pool.connection_class
    return Redis(connection_pool=ConnectionPool(connection_class=connection_class, **kwargs))


class Line:
    """One connection, kept for commands that are many and whose answers tell nothing.

    A client looks for a connection, and makes an object, at each of its pipelines; in a process that does little else,
    that takes longer than the commands.

    Parameters
    ----------
    client
        Whose connection it borrows from the first command on.
    """

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        self._connection: Any = None

    def send(self, *commands: Command) -> None:
        """Send commands in one go.

        Raises
        ------
        redis.exceptions.RedisError
            If the server is away, or refuses one.
        """
        if self._connection is None:
            self._connection = self._pool.get_connection()
        line = self._connection
        try:
            if _is_dead(line):
                line.disconnect()
            line.send_packed_command(line.pack_commands(commands))
            for _ in commands:
                line.read_response()
        except exceptions.RedisError:
            # With whatever was not read. The next command gets one that is connected, or waits for one only once.
            line.disconnect()
            self.close()
            raise

    def close(self) -> None:
        """Give the connection back."""
        line, self._connection = self._connection, None
        if line is not None:
            self._pool.release(line)


def _is_dead(line: Any) -> bool:
    """Whether the server has hung up: nobody has asked for anything, so there should be nothing to read."""
    try:
        return bool(line.can_read(timeout=0))
    except exceptions.ConnectionError:
        return True


@contextmanager
def broker_errors(connection: Redis) -> Iterator[None]:
    """Turn what redis-py raises into a BrokerError that says what to do."""
    try:
        yield
    except (exceptions.RedisError, OSError) as error:
        raise BrokerError(f"the server {address(connection)} {_trouble(error)}") from error


def address(connection: Redis) -> str:
    """Return where the server is, without its password."""
    kwargs = connection.connection_pool.connection_kwargs
    if "path" in kwargs:
        return f"unix://{kwargs['path']}"
    return f"redis://{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}/{kwargs.get('db') or 0}"


def _trouble(error: Exception) -> str:
    if isinstance(error, exceptions.AuthenticationError):
        return "refuses the password; correct REDIS_URL"
    if isinstance(error, exceptions.BusyLoadingError):
        return "is still loading its data; try again in a few seconds"
    if isinstance(error, AWAY):
        return (
            f"does not answer ({_first_line(error)}). Start it, or correct REDIS_URL; without REDIS_URL, "
            "`nanoos-lab up` starts the one of this computer"
        )
    return f"refused a command ({_first_line(error)}); its log and its ACL rules say why"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
