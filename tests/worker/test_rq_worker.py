"""Our worker class runs what is ours, refuses all else, and outlives its server."""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from rq import Callback, Queue, Repeat, Retry
from rq.cron import CronJob
from rq.group import Group
from rq.job import Job
from rq.rate_limit import RateLimit
from rq.webhook import Webhook

from nanoos_lab.broker import embedded
from nanoos_lab.broker.connection import connect
from nanoos_lab.broker.messages import FUNCTION, Message
from nanoos_lab.broker.queue import JobQueue
from nanoos_lab.core.request import QUEUES, Delivery
from nanoos_lab.engines import registry
from nanoos_lab.worker.rq_worker import preload
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

#: What a planted message would have a plain worker run; it leaves a file.
CANARY = "planted.leave_trace"


def delivery(priority: int = 5) -> Delivery:
    return Delivery(job_id=uuid4().hex, attempt=1, queue="simulations", priority=priority)


class Site:
    """A server and a directory, where workers are started and where they leave their notes."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.directory = directory
        self.notes = directory / "notes"
        self.trace = directory / "trace"
        (directory / "planted.py").write_text(
            f"def leave_trace(*args, **kwargs):\n    open({str(self.trace)!r}, 'w')\n"
        )

    def command(self, *arguments: str, kind: str) -> dict[str, Any]:
        environment = {
            "RQ_REDIS_URL": self.url,
            "RQ_WORKER_CLASS": f"standin.{kind}",
            "STANDIN_NOTES": str(self.notes),
            "NANOOS_HOME": str(self.directory / "home"),
            "PYTHONPATH": str(self.directory),
            "OMP_NUM_THREADS": "1",
        }
        rq = [sys.executable, "-m", "rq.cli", "worker", "-P", str(Path(__file__).parent), *arguments]
        return {"args": rq, "env": os.environ | environment, "cwd": self.directory}

    def work(self, *arguments: str, kind: str = "OurWorker") -> str:
        """Run a worker until the queues are empty; return its log."""
        command = self.command("--burst", *(arguments or QUEUES), kind=kind)
        result = subprocess.run(
            **command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90, check=False
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    @contextmanager
    def worker(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A worker that waits for work."""
        log = self.directory / "worker.log"
        with log.open("w") as file:
            command = self.command(*arguments, *QUEUES, kind="OurWorker")
            with subprocess.Popen(**command, stdout=file, stderr=subprocess.STDOUT, text=True) as process:
                try:
                    yield process
                finally:
                    process.kill()

    def ran(self) -> list[str]:
        """Return the messages that ran, in their order."""
        return self.notes.read_text().split() if self.notes.exists() else []


@pytest.fixture
def site(broker_url: str, tmp_path: Path) -> Site:
    return Site(broker_url, tmp_path)


class TestWork:
    def test_messages_run_by_priority_and_end_as_finished(self, site: Site, broker: Redis) -> None:
        messages = [delivery(priority) for priority in (5, 0, 20, 10)]
        JobQueue(broker).put(messages)
        site.work()
        assert site.ran() == [messages[index].message_id for index in (2, 3, 0, 1)]
        jobs = [Job.fetch(message.message_id, connection=broker) for message in messages]
        assert [(job.get_status(), job.return_value()) for job in jobs] == [("finished", "succeeded")] * 4

    @pytest.mark.parametrize("where", ["embedded", "cluster"])
    def test_what_the_runs_of_an_engine_begin_with_is_loaded_once_by_the_worker(
        self, site: Site, broker: Redis, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        """When the first of its jobs comes, before the fork; a work-horse that was there before is replaced."""
        monkeypatch.setenv("STANDIN_LOADS", "1")
        if where == "cluster":
            # Such a worker has a keeper, too.
            monkeypatch.setenv("REDIS_URL", site.url)
            monkeypatch.setenv("DATABASE_URL", f"sqlite:///{site.directory / 'store.sqlite'}")
            monkeypatch.setenv("NANOOS_ARTIFACTS_URL", str(site.directory / "artifacts"))
        engines = ("ase Cu md", "mock Cu md", "nothing", "mock Cu relax", "mock")
        messages = [replace(delivery(20 - index), description=engine) for index, engine in enumerate(engines)]
        JobQueue(broker).put(messages)
        site.work()
        assert site.ran() == [message.message_id for message in messages]
        [loader] = (site.directory / "loads").read_text().split()
        runs = [line.split() for line in (site.directory / "runs").read_text().splitlines()]
        assert runs == [[loader, "None"], *[[loader, loader]] * 4]

    def test_a_plain_rq_worker_runs_our_messages_too(self, site: Site, broker: Redis) -> None:
        message = delivery()
        JobQueue(broker).put([message])
        site.work(kind="PlainWorker")
        assert site.ran() == [message.message_id]
        assert Job.fetch(message.message_id, connection=broker).get_status() == "finished"

    def test_a_running_message_is_held_by_a_worker_that_says_so(self, site: Site, broker: Redis) -> None:
        (site.directory / "hold").touch()
        message, queue = delivery(), JobQueue(broker)
        queue.put([message])
        with site.worker():
            until(site.ran)
            [worker] = queue.workers()
            assert (worker.state, worker.queues, worker.messages) == ("busy", QUEUES, (message.message_id,))
            assert queue.held([message]) == {message.message_id}
            (site.directory / "hold").unlink()
            until(lambda: queue.held([message]) == set())


class Planted:
    """Leaves a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def call(queue: Queue, **options: Any) -> Job:
    """Enqueue a call that would be ours but for the options."""
    job_id = uuid4().hex
    return queue.enqueue(FUNCTION, args=(job_id, 1), job_id=f"{job_id}_1", **options)


def with_fields(queue: Queue, fields: dict[str, Any]) -> Job:
    job = call(queue)
    queue.connection.hset(job.key, mapping=fields)
    return job


def group(queue: Queue) -> Job:
    job_id = uuid4().hex
    data = Queue.prepare_data(FUNCTION, args=(job_id, 1), job_id=f"{job_id}_1")
    [job] = Group.create(connection=queue.connection).enqueue_many(queue, [data])
    return job


def cron(queue: Queue) -> Job:
    sys.path.append(os.environ["PLANTED_AT"])
    from planted import leave_trace  # type: ignore[import-not-found]

    return CronJob(queue.name, leave_trace, interval=60).enqueue(queue.connection)


#: What is planted → how, and the words with which it must be refused.
PLANTS: dict[str, tuple[Callable[[Queue, Site, str], Job], str]] = {
    "another function": (lambda queue, site, web: queue.enqueue(CANARY), CANARY),
    "a shell command": (lambda queue, site, web: queue.enqueue("os.system", f"touch {site.trace}"), "os.system"),
    "a pickled argument": (lambda queue, site, web: queue.enqueue(FUNCTION, Planted(site.trace), 1), "pickle"),
    "a pickled instance": (lambda queue, site, web: queue.enqueue(Planted(site.trace).__reduce__), "pickle"),
    "more arguments": (lambda queue, site, web: queue.enqueue(FUNCTION, "0" * 32, 1, 2), "arguments"),
    "another's arguments": (lambda queue, site, web: queue.enqueue(FUNCTION, "0" * 32, 1), "another message"),
    "a success callback": (lambda queue, site, web: call(queue, on_success=Callback(CANARY)), "callback"),
    "a failure callback": (lambda queue, site, web: call(queue, on_failure=Callback(CANARY)), "callback"),
    "a stopped callback": (lambda queue, site, web: call(queue, on_stopped=Callback(CANARY)), "callback"),
    "a webhook at the end": (lambda queue, site, web: call(queue, webhooks=[Webhook(web, "finished")]), "webhook"),
    "a webhook of failure": (lambda queue, site, web: call(queue, webhooks=[Webhook(web, "failed")]), "webhook"),
    "meta data": (lambda queue, site, web: call(queue, meta={"x": Planted(site.trace)}), "meta"),
    "a retry": (lambda queue, site, web: call(queue, retry=Retry(max=3)), "retry"),
    "a repetition": (lambda queue, site, web: call(queue, repeat=Repeat(times=3)), "repetition"),
    "a rate limit": (lambda queue, site, web: call(queue, rate_limit=RateLimit("x", 1)), "rate limit"),
    "a group": (lambda queue, site, web: group(queue), "group"),
    "a dependency": (lambda queue, site, web: with_fields(queue, {"dependency_ids": '["x"]'}), "dependency"),
    "an old dependency": (lambda queue, site, web: with_fields(queue, {"dependency_id": "x"}), "dependency"),
    "a failed dependency": (
        lambda queue, site, web: with_fields(queue, {"allow_dependency_failures": "1"}),
        "dependency",
    ),
    "a malformed field": (lambda queue, site, web: with_fields(queue, {"timeout": "soon"}), "malformed"),
    "a scheduled call": (lambda queue, site, web: queue.enqueue_in(timedelta(0), CANARY), CANARY),
    "a cron entry": (lambda queue, site, web: cron(queue), CANARY),
}


class Aftermath:
    """What was left when a worker had met every planted message, and a good one at the end."""

    def __init__(self, site: Site, queues: tuple[str, ...]) -> None:
        self.site = site
        with connect(site.url) as broker, socket.create_server(("127.0.0.1", 0)) as server:
            broker.flushdb()
            queue = Queue("simulations", connection=broker)
            web = f"http://127.0.0.1:{server.getsockname()[1]}/"
            self._plant_around(broker)
            self.planted = {name: plant(queue, site, web).id for name, (plant, _) in PLANTS.items()}
            self.good = delivery(priority=0)
            JobQueue(broker).put([self.good])
            self._plant_on(broker, self.good)
            self.log = site.work("--with-scheduler", *queues)
            server.settimeout(0.0)
            try:
                server.accept()
                self.web_asked = True
            except BlockingIOError:
                self.web_asked = False
            jobs = {name: Message.fetch(message, connection=broker) for name, message in self.planted.items()}
            self.statuses = {name: job.get_status() for name, job in jobs.items()}
            results = {name: job.latest_result() for name, job in jobs.items()}
            self.texts = {name: result.exc_string for name, result in results.items() if result is not None}
            self.good_status = Message.fetch(self.good.message_id, connection=broker).get_status()
            self.left = {*broker.lrange(queue.key, 0, -1), *broker.lrange(queue.intermediate_queue_key, 0, -1)}

    def _plant_around(self, broker: Redis) -> None:
        """Plant what is no message at all, and the traces of a dead worker's run with a callback."""
        broker.rpush("rq:queue:simulations", "../../x", b"\xff\xfe", "absent", "list")
        broker.sadd("rq:queues", "rq:queue:simulations")
        broker.rpush("rq:job:list", "x")
        abandoned = Queue("elsewhere", connection=broker).enqueue(CANARY, on_failure=Callback(CANARY))
        broker.hset(abandoned.key, mapping={"status": "started", "origin": "simulations"})
        broker.zadd("rq:wip:simulations", {f"{abandoned.id}:execution": time.time() - 100})

    def _plant_on(self, broker: Redis, message: Delivery) -> None:
        """Plant a dependent, and a result to be unpickled, on a message that is ours."""
        key = Job.key_for(message.message_id)
        dependent = Queue("simulations", connection=broker).create_job(CANARY, status="deferred")
        dependent.origin = "simulations"
        dependent.save()
        broker.sadd(f"{key}:dependents", dependent.id)
        broker.hset(key, "result", pickle.dumps(Planted(self.site.trace)))


@pytest.fixture(scope="module", params=["three queues", "one queue"])
def aftermath(
    request: pytest.FixtureRequest, valkey_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Aftermath]:
    site = Site(f"{valkey_server}?db=1", tmp_path_factory.mktemp("site"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLANTED_AT", str(site.directory))
        yield Aftermath(site, QUEUES if request.param == "three queues" else ("simulations",))


class TestForeignMessages:
    @pytest.mark.parametrize("name", PLANTS)
    def test_it_ends_as_failed_and_says_what_was_refused(self, aftermath: Aftermath, name: str) -> None:
        words = PLANTS[name][1]
        assert aftermath.statuses[name] == "failed"
        assert aftermath.texts[name].startswith("refused: ")
        assert words in aftermath.texts[name]
        assert len(aftermath.texts[name].splitlines()) == 1
        assert f"{aftermath.planted[name]} {aftermath.texts[name]}" in aftermath.log

    def test_nothing_of_it_ran_and_nobody_was_called(self, aftermath: Aftermath) -> None:
        assert not aftermath.site.trace.exists()
        assert not aftermath.web_asked

    def test_a_message_of_ours_runs_after_all_that_and_nothing_else_did(self, aftermath: Aftermath) -> None:
        assert aftermath.site.ran() == [aftermath.good.message_id]
        assert aftermath.good_status == "finished"

    def test_no_message_is_left_in_the_queue(self, aftermath: Aftermath) -> None:
        assert not aftermath.left & {message.encode() for message in aftermath.planted.values()}


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[[], embedded.Server]]:
    """Starts, and starts again, a server that a test may kill."""
    directory, runtime = tmp_path / "server", embedded.runtime_directory()
    yield lambda: embedded.start(directory, runtime)
    server = embedded.find(directory, runtime)
    if server is not None:
        embedded.stop(server)


class TestServerAway:
    def test_a_worker_waits_for_its_server_and_goes_on(
        self, own_server: Callable[[], embedded.Server], tmp_path: Path
    ) -> None:
        server = own_server()
        site, hold = Site(server.url, tmp_path), tmp_path / "hold"
        first, second = delivery(), delivery()
        hold.touch()
        with connect(server.url) as broker, site.worker("--job-monitoring-interval", "1") as worker:
            JobQueue(broker).put([first])
            until(site.ran)
            os.kill(server.pid, signal.SIGKILL)
            until(lambda: "the server is away" in (tmp_path / "worker.log").read_text())
            # The work-horse ends while the server is away, too.
            hold.unlink()
            own_server()
            until(lambda: Job.fetch(first.message_id, connection=broker).get_status() == "finished")
            JobQueue(broker).put([second])
            until(lambda: site.ran() == [first.message_id, second.message_id])
            assert worker.poll() is None

    def test_an_idle_worker_whose_server_is_gone_can_be_ended(
        self, own_server: Callable[[], embedded.Server], tmp_path: Path
    ) -> None:
        server = own_server()
        site = Site(server.url, tmp_path)
        with connect(server.url) as broker, site.worker() as worker:
            until(lambda: [one.state for one in JobQueue(broker).workers()] == ["idle"])
            os.kill(server.pid, signal.SIGKILL)
            until(lambda: "the server is away" in (tmp_path / "worker.log").read_text())
            worker.terminate()
            assert worker.wait(timeout=90) == 0


def test_preloading_starts_no_thread_and_loads_no_notebook_or_pandas(tmp_path: Path) -> None:
    script = """
import json, sys, threading
from nanoos_lab.worker.rq_worker import preload
preload()
print(json.dumps([threading.active_count(), sorted({name.partition(".")[0] for name in sys.modules})]))
"""
    environment = os.environ | {"NANOOS_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    threads, modules = json.loads(result.stdout)
    assert threads == 1
    assert {"numpy", "ase"} <= set(modules)
    assert not {"pandas", "IPython", "ipywidgets", "anywidget", "nglview", "mpi4py"} & set(modules)


def test_an_engine_that_cannot_be_loaded_does_not_keep_a_worker_from_starting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def broken(name: str) -> None:
        asked.append(name)
        raise ImportError("its library is not installed")

    monkeypatch.setenv("NANOOS_HOME", str(tmp_path))
    monkeypatch.setattr(registry, "names", lambda: ("first", "second"))
    monkeypatch.setattr(registry, "get", broken)
    preload()
    gc.unfreeze()
    # Each is asked for by the digests of its program, too.
    assert set(asked) == {"first", "second"}
