"""rq-dashboard for our queues: behind a password, read-only, and blind to whatever is not ours."""

from __future__ import annotations

import hmac
import secrets
import socket
from typing import TYPE_CHECKING, Any

import rq_dashboard
from flask import Flask, Response, current_app, request
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq_dashboard import web
from werkzeug.serving import WSGIRequestHandler, make_server

from nanoos_lab.broker.connection import address
from nanoos_lab.broker.messages import ForeignDataError, Message, PlainSerializer, read_plain
from nanoos_lab.core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis
    from rq.job import Job, JobStatus
    from rq.results import Result

#: Addresses that change something even when they are only fetched.
_CHANGING = frozenset({"rq_dashboard.requeue_all"})
_READ_ONLY = (
    "rq-dashboard only shows here: the store would send a deleted message again, and would not know of a requeued one. "
    "Use `nanoos-lab cancel` to end a job, or submit it again.\n"
)


def serve(
    connection: Redis,
    *,
    host: str = "127.0.0.1",
    port: int = 9181,
    username: str = "nanoos",
    password: str | None = None,
    announce: Callable[[str], object] = print,
) -> None:
    """Serve rq-dashboard until interrupted.

    Parameters
    ----------
    connection
        The broker.
    host, port
        Where to listen; 0 takes a free port. The password travels in the clear: keep it on this computer.
    username, password
        What to ask for; without a password one is made.
    announce
        Is told the address, user name and password, once it listens.

    Raises
    ------
    SettingsError
        If the port is taken.
    """
    password = password or secrets.token_urlsafe(16)
    app = make_app(connection, username=username, password=password)
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise SettingsError(f"port {port} of {host} cannot be used ({error.strerror}); choose another one") from error
    with listener:
        number = listener.fileno()
        server = make_server(host, port, app, threaded=True, request_handler=_QuietHandler, fd=number)
        announce(f"http://{host}:{server.port}/  user name: {username}  password: {password}")
        try:
            server.serve_forever()
        finally:
            server.server_close()


def make_app(connection: Redis, *, username: str, password: str) -> Flask:
    """Return rq-dashboard as a WSGI application; see `serve`."""
    _show_messages_only()
    app = Flask(rq_dashboard.__name__)
    app.config["RQ_DASHBOARD_REDIS_URL"] = (address(connection),)
    app.config["RQ_DASHBOARD_DISABLE_DELETE"] = True
    app.redis_conn = connection  # type: ignore[attr-defined]
    app.before_request(_password_check(username, password))
    app.before_request(_refuse_changes)
    app.after_request(_forbid_planted_scripts)
    app.register_error_handler(NoSuchJobError, lambda _error: ("There is no such message (any more).\n", 404))
    app.register_error_handler(RedisError, lambda error: (f"The server {address(connection)} is away: {error}\n", 503))
    app.register_blueprint(web.blueprint)
    return app


class _ShownSerializer(PlainSerializer):
    @staticmethod
    def loads(data: bytes, /) -> Any:
        try:
            return read_plain(data)
        except ForeignDataError as error:
            return f"refused: {error}"


class _ShownMessage(Message):
    """A message as far as it can be shown; what somebody planted beside it must not break a page."""

    def __init__(self, id: str | None = None, connection: Redis | None = None, serializer: Any = None) -> None:
        super().__init__(id, connection, serializer)
        self.serializer = _ShownSerializer

    def get_status(self, refresh: bool = True) -> JobStatus:
        try:
            return super().get_status(refresh)
        except (InvalidJobOperation, ValueError):
            return self._status

    def latest_result(self, timeout: int = 0) -> Result | None:
        try:
            return super().latest_result(timeout)
        except (ValueError, KeyError):
            return None

    @property
    def dependency_ids(self) -> list[str]:
        # Ours have none, and rq-dashboard 0.9.0 cannot show any.
        return []


class _ShownQueue(Queue):
    job_class = _ShownMessage


class _ShownWorker(Worker):
    job_class = _ShownMessage
    queue_class = _ShownQueue

    def get_current_job(self) -> Job | None:
        try:
            return super().get_current_job()
        except NoSuchJobError:
            return None


def _show_messages_only() -> None:
    """Have rq-dashboard look at the server through classes that neither unpickle nor run anything.

    It has no setting for that, and names RQ's own classes in its module; they are replaced there, in its process.
    """
    web.Job = _ShownMessage
    web.Queue = _ShownQueue
    web.Worker = _ShownWorker
    # It would make a connection for every page, from a URL with the password.
    web.from_url = lambda *_args, **_kwargs: (None, current_app.redis_conn)  # type: ignore[attr-defined]


def _password_check(username: str, password: str) -> Callable[[], Response | None]:
    wanted = f"{username}:{password}".encode()

    def check() -> Response | None:
        given = request.authorization
        if given is not None and hmac.compare_digest(f"{given.username}:{given.password}".encode(), wanted):
            return None
        head = {"WWW-Authenticate": 'Basic realm="nanoos_lab", charset="UTF-8"'}
        return Response("The command that serves this page has printed user name and password.\n", 401, head)

    return check


def _refuse_changes() -> Response | None:
    if request.method in ("GET", "HEAD") and request.endpoint not in _CHANGING:
        return None
    return Response(_READ_ONLY, 403, mimetype="text/plain")


def _forbid_planted_scripts(response: Response) -> Response:
    """Let the browser run the page's own scripts only: rq-dashboard shows some texts from the server unescaped."""
    nonce = secrets.token_urlsafe(16)
    rules = (
        "default-src 'self'",
        "img-src 'self' data:",
        "style-src 'self' 'unsafe-inline'",
        f"script-src 'nonce-{nonce}' 'unsafe-eval'",
        "frame-ancestors 'none'",
        "form-action 'none'",
    )
    response.headers["Content-Security-Policy"] = "; ".join(rules)
    response.headers["X-Content-Type-Options"] = "nosniff"
    if response.mimetype == "text/html":
        response.set_data(response.get_data().replace(b"<script", f'<script nonce="{nonce}"'.encode()))
    return response


class _QuietHandler(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: the pages ask several times a minute."""
