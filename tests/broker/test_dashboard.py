"""rq-dashboard shows our messages, changes nothing, and runs nothing that others have planted."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from base64 import b64encode
from itertools import product
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest
from rq import Queue, SimpleWorker

from nanoos_lab.broker.connection import connect
from nanoos_lab.broker.dashboard import make_app, serve
from nanoos_lab.broker.queue import JobQueue
from nanoos_lab.core.errors import SettingsError
from nanoos_lab.core.request import Delivery
from nanoos_lab.worker import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

REGISTRIES = ("queued", "started", "finished", "failed", "deferred", "scheduled", "canceled")


class Planted:
    """Leaves a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


class Dashboard:
    """A dashboard in a process of its own, and what it has to show."""

    def __init__(self, url: str, trace: Path) -> None:
        self.trace = trace
        script = "import sys; from nanoos_lab.broker import connection, dashboard\n"
        script += "dashboard.serve(connection.connect(sys.argv[1]), port=0)"
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", script, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        self.address, _, _, self.username, _, self.password = self.process.stdout.readline().split()
        with connect(url) as broker:
            self.app = make_app(broker, username="", password="")
            self.messages = self._fill(broker)

    def _fill(self, broker: Redis) -> dict[str, str]:
        """Leave a message in every state, and foreign ones, in the queue "simulations"; return their ids."""
        queue, plain = JobQueue(broker), Queue("simulations", connection=broker)
        messages = {name: deliver(f"{name} job") for name in ("finished", "failed", "started", "waiting")}
        queue.put([messages["finished"], messages["failed"], messages["started"]])
        SimpleWorker([plain], connection=broker).work(burst=True, max_jobs=2, logging_level="ERROR")
        working = SimpleWorker(["simulations"], name="working", connection=broker)
        working.register_birth()
        taken = Queue.dequeue_any([plain], None, connection=broker)
        assert taken is not None
        working.prepare_execution(taken[0])
        working.prepare_job_execution(taken[0])
        queue.put([messages["waiting"]])
        ids = {name: message.message_id for name, message in messages.items()}
        return ids | self._plant(broker, plain)

    def _plant(self, broker: Redis, plain: Queue) -> dict[str, str]:
        evil = Planted(self.trace)
        planted = {
            "pickled argument": plain.enqueue("os.system", evil),
            "pickled meta data": plain.enqueue("os.system", meta={"x": evil}),
            "foreign function": plain.enqueue("os.system", "true"),
            "dependency": plain.enqueue("os.system", depends_on=["absent"]),
            "malformed": plain.enqueue("os.system"),
            "pickled result": plain.enqueue("os.system"),
        }
        broker.hset(planted["malformed"].key, mapping={"timeout": "soon", "status": "lost", "origin": "simulations"})
        broker.hset(planted["pickled result"].key, "result", pickle.dumps(evil))
        value = b64encode(pickle.dumps(evil))
        broker.xadd(f"rq:results:{planted['pickled result'].id}", {"type": 1, "return_value": value})
        broker.xadd(f"rq:results:{planted['malformed'].id}", {"type": "nonsense"})
        return {name: job.id for name, job in planted.items()}

    def get(self, path: str, *, password: str | None = None, method: str = "GET") -> tuple[int, str]:
        """Fetch a page; return its status and text."""
        request = Request(self.address.rstrip("/") + path, method=method)
        credentials = f"{self.username}:{self.password if password is None else password}"
        request.add_header("Authorization", f"Basic {b64encode(credentials.encode()).decode()}")
        return fetch(request)

    def paths(self) -> dict[str, list[str]]:
        """Return every address that rq-dashboard knows, with all that can be shown, by endpoint."""
        urls = self.app.url_map.bind("localhost")
        choices = {
            "instance_number": [0],
            "queue_name": ["simulations"],
            "registry_name": REGISTRIES,
            "per_page": [8],
            "order": ["asc", "dsc"],
            "page": [1],
            "job_id": self.messages.values(),
            "filename": ["js/underscore-umd-min.js"],
        }
        found: dict[str, list[str]] = {}
        for rule in self.app.url_map.iter_rules():
            names = sorted(rule.arguments)
            for values in product(*(choices[name] for name in names)):
                path = urls.build(rule.endpoint, dict(zip(names, values, strict=True)), method=method_of(rule.methods))
                found.setdefault(rule.endpoint, []).append(path)
        return found


def deliver(description: str) -> Delivery:
    return Delivery(job_id=uuid4().hex, attempt=1, queue="simulations", priority=5, description=description)


def method_of(methods: set[str] | None) -> str:
    return "GET" if "GET" in (methods or ()) else "POST"


def fetch(request: Request) -> tuple[int, str]:
    try:
        with urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def end_alternately(_job_id: str, _attempt: int) -> str:
    """Succeed at the first call and fail at the second."""
    end_alternately.calls += 1
    if end_alternately.calls == 2:
        raise ArithmeticError("engine: it did not converge")
    return "succeeded"


@pytest.fixture(scope="module")
def dashboard(valkey_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    url = f"{valkey_server}?db=2"
    with connect(url) as broker, pytest.MonkeyPatch.context() as patch:
        broker.flushdb()
        end_alternately.calls = 0
        patch.setattr(run, "run_job", end_alternately)
        dashboard = Dashboard(url, tmp_path_factory.mktemp("trace") / "unpickled")
        yield dashboard
        dashboard.process.terminate()
        dashboard.process.communicate(timeout=90)


CHANGING = {
    "rq_dashboard.delete_job_view",
    "rq_dashboard.requeue_job_view",
    "rq_dashboard.requeue_all",
    "rq_dashboard.empty_queue",
    "rq_dashboard.compact_queue",
}


def test_every_page_and_every_json_address_answers(dashboard: Dashboard) -> None:
    paths = dashboard.paths()
    assert len(paths) > 10
    answers = {path: dashboard.get(path)[0] for name, group in paths.items() if name not in CHANGING for path in group}
    assert {path: status for path, status in answers.items() if status != 200} == {}
    assert not dashboard.trace.exists()


def test_nothing_can_be_changed_and_the_answer_says_what_to_do_instead(dashboard: Dashboard) -> None:
    for name in CHANGING:
        for path in dashboard.paths()[name]:
            for method in ("GET", "POST") if name.endswith("requeue_all") else ("POST",):
                status, text = dashboard.get(path, method=method)
                assert (status, "nanoos-lab cancel" in text) == (403, True), path


def test_nothing_is_shown_without_the_password(dashboard: Dashboard) -> None:
    for path in {group[0] for group in dashboard.paths().values()}:
        assert fetch(Request(dashboard.address.rstrip("/") + path))[0] == 401
        assert dashboard.get(path, password="guess")[0] == 401


@pytest.mark.parametrize("registry", ["finished", "failed", "started"])
def test_our_messages_are_listed_where_they_stand(dashboard: Dashboard, registry: str) -> None:
    _, text = dashboard.get(f"/0/data/jobs/simulations/{registry}/8/asc/1.json")
    [job] = json.loads(text)["jobs"]
    assert (job["id"], job["description"]) == (dashboard.messages[registry], f"{registry} job")


def test_a_finished_message_is_shown_with_its_result_and_a_failed_one_with_its_reason(dashboard: Dashboard) -> None:
    finished = json.loads(dashboard.get(f"/0/data/job/{dashboard.messages['finished']}.json")[1])
    failed = json.loads(dashboard.get(f"/0/data/job/{dashboard.messages['failed']}.json")[1])
    assert (finished["status"], finished["result"]) == ("finished", "succeeded")
    assert (failed["status"], "did not converge" in failed["exc_info"]) == ("failed", True)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("pickled argument", "refused: a pickle"),
        ("pickled meta data", "refused: meta data"),
        ("foreign function", "refused: function 'os.system'"),
        ("malformed", "refused: function 'os.system'"),
    ],
)
def test_a_foreign_message_is_shown_as_refused(dashboard: Dashboard, name: str, shown: str) -> None:
    _, text = dashboard.get(f"/0/data/job/{dashboard.messages[name]}.json")
    assert shown in json.loads(text)["description"]


def test_a_planted_result_is_shown_as_refused(dashboard: Dashboard) -> None:
    _, text = dashboard.get(f"/0/data/job/{dashboard.messages['pickled result']}.json")
    assert "refused: a pickle" in json.loads(text)["result"]


def test_the_worker_is_shown_with_what_it_does(dashboard: Dashboard) -> None:
    workers = {one["name"]: one for one in json.loads(dashboard.get("/0/data/workers.json")[1])["workers"]}
    assert workers["working"]["current_job"]["job_id"] == dashboard.messages["started"]


def test_an_unknown_message_is_not_found(dashboard: Dashboard) -> None:
    assert dashboard.get("/0/view/job/absent")[0] == 404
    assert dashboard.get("/0/data/job/absent.json")[0] == 404


def test_a_browser_runs_only_the_scripts_of_the_page(dashboard: Dashboard) -> None:
    _, page = dashboard.get("/0/view/jobs")
    assert page.count("<script") == page.count("<script nonce=") > 0


def test_a_server_that_is_away_is_said_in_one_line() -> None:
    with connect("unix:///nonexistent/server.sock") as broker:
        client = make_app(broker, username="user", password="word").test_client()
        answer = client.get("/0/data/queues.json", auth=("user", "word"))
    assert (answer.status_code, len(answer.text.splitlines())) == (503, 1)


def test_a_taken_port_is_an_error_that_says_so(valkey_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, connect(valkey_url) as broker:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port}"):
            serve(broker, port=port)


def test_a_message_can_be_looked_up_under_job_id_and_attempt(dashboard: Dashboard) -> None:
    message = dashboard.messages["waiting"]
    status, page = dashboard.get(f"/0/view/job/{message}")
    assert (status, message in page, message.endswith("_1")) == (200, True, True)
