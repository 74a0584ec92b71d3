"""What the broker promises, on the embedded Valkey and on Debian's Redis."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from redis.exceptions import ResponseError
from rq import Queue, Worker
from rq.job import Job

from nanoos_lab.broker.connection import Line, connect
from nanoos_lab.broker.live import EVENTS_KEPT, LiveReader, LiveWriter, events_key, look, order, writing
from nanoos_lab.broker.queue import JobQueue, PriorityQueue
from nanoos_lab.core.errors import BrokerError
from nanoos_lab.core.request import QUEUES, Delivery
from tests.waiting import quickest, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

JOB = "0" * 32


def delivery(*, priority: int = 5, queue: str = "simulations", attempt: int = 1) -> Delivery:
    return Delivery(job_id=uuid4().hex, attempt=attempt, queue=queue, priority=priority, description="mock Cu static")


def waiting(broker: Redis, queue: str = "simulations") -> list[str]:
    return Queue(queue, connection=broker).job_ids


@pytest.fixture
def queue(broker: Redis) -> JobQueue:
    return JobQueue(broker)


@pytest.fixture
def reader(broker: Redis) -> Iterator[LiveReader]:
    reader = LiveReader(broker)
    yield reader
    reader.close()


@pytest.fixture
def open_writer(broker: Redis) -> Iterator[Callable[[], LiveWriter]]:
    opened: list[LiveWriter] = []

    def open_one() -> LiveWriter:
        opened.append(LiveWriter(writing(broker), JOB, 1))
        return opened[-1]

    yield open_one
    for writer in opened:
        writer.close()


@pytest.fixture
def writer(open_writer: Callable[[], LiveWriter]) -> LiveWriter:
    return open_writer()


class TestQueue:
    def test_a_message_is_a_plain_rq_job_with_two_plain_arguments(self, broker: Redis, queue: JobQueue) -> None:
        message = delivery(attempt=3)
        queue.put([message])
        job = Job.fetch(f"{message.job_id}_3", connection=broker)
        assert (job.func_name, job.args, job.kwargs) == ("nanoos_lab.worker.run.run_job", (message.job_id, 3), {})
        assert (job.timeout, job.description, job.origin) == (-1, "mock Cu static", "simulations")

    def test_messages_wait_by_priority_and_then_in_the_order_of_their_coming(
        self, broker: Redis, queue: JobQueue
    ) -> None:
        messages = [delivery(priority=priority) for priority in (5, 20, 0, 5, 10, 20, 0, 7, 5)]
        queue.put(messages[:4])
        for message in messages[4:]:
            queue.put([message])
        expected = sorted(messages, key=lambda message: -message.priority)
        assert waiting(broker) == [message.message_id for message in expected]

    def test_priorities_hold_among_messages_that_rq_enqueued_itself(self, broker: Redis, queue: JobQueue) -> None:
        plain = Queue("simulations", connection=broker).enqueue("module.function")
        low, high = delivery(priority=4), delivery(priority=6)
        queue.put([low, high])
        assert waiting(broker) == [high.message_id, plain.id, low.message_id]

    def test_a_message_can_still_be_put_at_the_front(self, broker: Redis, queue: JobQueue) -> None:
        queue.put([delivery(priority=20)])
        front = PriorityQueue("simulations", connection=broker).enqueue("module.function", at_front=True)
        assert waiting(broker)[0] == front.id

    def test_priorities_hold_after_the_server_forgot_its_scripts(self, broker: Redis, queue: JobQueue) -> None:
        first, second = delivery(priority=0), delivery(priority=20)
        queue.put([first])
        broker.script_flush()
        queue.put([second])
        assert waiting(broker) == [second.message_id, first.message_id]

    def test_a_message_that_is_put_twice_at_once_waits_once(self, broker: Redis, queue: JobQueue) -> None:
        message = delivery()
        queue.put([message, message])
        assert waiting(broker) == [message.message_id]

    def test_depths_count_what_waits_in_every_queue(self, queue: JobQueue) -> None:
        queue.put([delivery(), delivery(), delivery(queue="high_priority")])
        assert queue.depths() == {"high_priority": 1, "simulations": 2, "default": 0}
        assert tuple(queue.depths()) == QUEUES

    def test_a_waiting_message_is_held_and_a_dropped_one_is_forgotten(self, broker: Redis, queue: JobQueue) -> None:
        stays, goes, other = delivery(), delivery(), delivery(queue="default")
        queue.put([stays, goes, other])
        queue.drop([goes])
        assert queue.held([stays, goes, other]) == {stays.message_id, other.message_id}
        assert not Job.exists(goes.message_id, connection=broker)

    def test_a_message_that_a_worker_has_taken_is_held_and_cannot_be_dropped(
        self, broker: Redis, queue: JobQueue
    ) -> None:
        message = delivery()
        queue.put([message])
        taken = Queue.dequeue_any([Queue("simulations", connection=broker)], None, connection=broker)
        assert taken is not None
        queue.drop([message])
        assert Job.exists(message.message_id, connection=broker)
        assert queue.held([message]) == {message.message_id}
        worker = Worker(["simulations"], connection=broker)
        worker.prepare_execution(taken[0])
        broker.delete(Queue("simulations", connection=broker).intermediate_queue_key)
        assert queue.held([message]) == {message.message_id}

    def test_a_message_whose_worker_fell_silent_is_no_longer_held(self, broker: Redis, queue: JobQueue) -> None:
        message = delivery()
        name = Queue("simulations", connection=broker).started_job_registry.key
        broker.zadd(name, {f"{message.message_id}:execution": time.time() - 1})
        assert queue.held([message]) == set()

    def test_nothing_to_do_is_done(self, queue: JobQueue) -> None:
        queue.put([])
        queue.drop([])
        assert queue.held([]) == set()

    def test_registered_workers_are_listed_and_those_without_a_process_are_not(
        self, broker: Redis, queue: JobQueue
    ) -> None:
        worker = Worker(["high_priority", "default"], name="alive", connection=broker)
        dead = Worker(["default"], name="dead", connection=broker)
        dead.pid = dead_process()
        for one in (worker, dead):
            one.register_birth()
            one.set_state("idle")
        [found] = queue.workers()
        assert (found.name, found.queues, found.state) == ("alive", ("high_priority", "default"), "idle")
        assert (found.host, found.pid) == (socket.gethostname(), os.getpid())
        assert datetime.now(UTC) - found.heartbeat < timedelta(seconds=30)

    def test_a_worker_that_signed_off_is_not_listed(self, broker: Redis, queue: JobQueue) -> None:
        worker = Worker(["default"], connection=broker)
        worker.register_birth()
        worker.register_death()
        assert queue.workers() == []

    def test_what_no_worker_has_written_is_passed_over(self, broker: Redis, queue: JobQueue) -> None:
        broker.sadd("rq:workers", "rq:worker:a", "rq:worker:b", "rq:worker:gone")
        broker.hset("rq:worker:a", mapping={"last_heartbeat": "soon", b"\xff": b"\xff"})
        broker.hset("rq:worker:b", mapping={"pid": "x", "queues": "default", "hostname": "h", "last_heartbeat": "now"})
        assert queue.workers() == []


class TestLive:
    def test_events_arrive_in_their_order_with_attempt_and_time(self, writer: LiveWriter, reader: LiveReader) -> None:
        before = time.time()
        for step in range(50):
            writer.event({"kind": "progress", "step": step})
        events = reader.read({JOB: "0"}, block=5)
        assert [event.event["step"] for event in events] == list(range(50))
        assert all(event.event["attempt"] == 1 and before <= event.event["at"] <= time.time() for event in events)

    def test_reading_goes_on_after_the_last_cursor_even_with_a_new_reader(
        self, broker: Redis, writer: LiveWriter, reader: LiveReader
    ) -> None:
        for step in range(10):
            writer.event({"kind": "progress", "step": step})
        seen = reader.read({JOB: "0"}, block=5)[6]
        again = LiveReader(broker)
        assert [one.event["step"] for one in again.read({JOB: seen.cursor}, block=5)] == [7, 8, 9]
        assert [one.event["step"] for one in again.history(JOB)] == list(range(10))
        again.close()

    def test_a_waiting_read_returns_when_something_happens(self, writer: LiveWriter, reader: LiveReader) -> None:
        timer = threading.Timer(0.1, writer.event, [{"kind": "log", "text": "hello"}])
        timer.start()
        [event] = reader.read({JOB: "0"}, block=5)
        assert event.event["text"] == "hello"
        timer.join()

    def test_a_read_without_events_returns_after_its_time(self, reader: LiveReader) -> None:
        assert reader.read({JOB: "0"}, block=0.05) == []

    def test_wake_ends_a_waiting_read(self, reader: LiveReader) -> None:
        timer = threading.Timer(0.1, reader.wake)
        started = time.monotonic()
        timer.start()
        assert reader.read({}, block=90) == []
        assert time.monotonic() - started < 60
        timer.join()

    def test_a_wake_before_the_read_is_not_lost_and_counts_once(self, reader: LiveReader) -> None:
        reader.wake()
        started = time.monotonic()
        reader.read({}, block=90)
        assert time.monotonic() - started < 60
        started = time.monotonic()
        reader.read({}, block=0.2)
        assert time.monotonic() - started >= 0.19

    def test_the_stream_of_a_long_run_stays_short(self, broker: Redis, writer: LiveWriter) -> None:
        for step in range(EVENTS_KEPT + 500):
            writer.event({"kind": "progress", "step": step})
        assert EVENTS_KEPT <= broker.xlen(events_key(JOB)) <= EVENTS_KEPT + 200
        assert broker.ttl(events_key(JOB)) > 0

    def test_a_run_that_was_hung_up_on_loses_no_event(
        self, broker: Redis, writer: LiveWriter, reader: LiveReader
    ) -> None:
        writer.event({"kind": "progress", "step": 1})
        broker.client_kill_filter(_type="normal", skipme=True)
        writer.event({"kind": "progress", "step": 2})
        assert [found.event["step"] for found in reader.history(JOB)] == [1, 2]

    def test_a_refused_command_leaves_no_answer_behind(self, broker: Redis) -> None:
        broker.set("text", "no stream")
        line = Line(broker)
        with pytest.raises(ResponseError):
            line.send(("XADD", "text", "*", "event", "1"), ("SET", "other", "1"))
        with pytest.raises(ResponseError):
            line.send(("XADD", "text", "*", "event", "2"))
        line.send(("SET", "other", "3"))
        line.close()
        assert broker.get("other") == b"3"

    def test_only_the_newest_frame_is_kept_and_noted(self, writer: LiveWriter, reader: LiveReader) -> None:
        writer.event({"kind": "log", "text": "before"})
        for step in range(20):
            writer.frame(b"frame %d" % step, step)
        log, note = reader.read({JOB: "0"}, block=5)
        assert (note.event["kind"], note.event["step"], note.cursor) == ("frame", 19, log.cursor)
        assert reader.frame(JOB) == b"frame 19"
        assert reader.read({JOB: note.cursor}, block=0.05) == []

    def test_a_reader_gets_past_what_is_no_event(self, broker: Redis, reader: LiveReader) -> None:
        for entry in ({"event": "{"}, {"event": "[]"}, {"other": "1"}, {"event": '{"kind": 1}'}):
            broker.xadd(events_key(JOB), entry)
        assert [one.event for one in reader.read({JOB: "0"}, block=5)] == [{"kind": "unreadable"}] * 4

    def test_orders_reach_the_run_through_its_socket_and_none_stays_behind(
        self, broker: Redis, writer: LiveWriter
    ) -> None:
        assert writer.orders() == []
        for _ in range(300):
            order(broker, JOB, "cancel")
        got = []
        while len(got) < 300:
            assert readable(writer, seconds=5)
            got += writer.orders()
        assert got == [{"order": "cancel"}] * 300
        assert not readable(writer, seconds=0)

    def test_what_is_no_order_is_passed_over(self, broker: Redis, writer: LiveWriter) -> None:
        writer.orders()
        for text in ("{", "[1]", b"\xff", '{"order": "cancel"}'):
            broker.publish(f"nanoos:{JOB}:control", text)
        got: list[dict[str, object]] = []
        until(lambda: got.extend(writer.orders()) or got)
        assert got == [{"order": "cancel"}]

    def test_a_run_that_starts_later_knows_that_somebody_looks(
        self, broker: Redis, open_writer: Callable[[], LiveWriter]
    ) -> None:
        look(broker, JOB, 12)
        writer = open_writer()
        assert readable(writer, seconds=5)
        [seen] = writer.orders()
        assert seen["order"] == "look"
        assert 10 < seen["seconds"] <= 12

    def test_a_run_hears_that_somebody_looks(self, broker: Redis, writer: LiveWriter) -> None:
        writer.orders()
        look(broker, JOB, 7)
        assert readable(writer, seconds=5)
        assert writer.orders() == [{"order": "look", "seconds": 7}]


class TestServerAway:
    @pytest.mark.parametrize("url", ["unix:///nonexistent/server.sock", "redis://127.0.0.1:1/0"])
    def test_every_call_says_what_to_do_within_three_seconds(self, url: str) -> None:
        with connect(url) as connection:
            queue, reader = JobQueue(connection), LiveReader(connection)
            calls: list[Callable[[], object]] = [
                queue.ping,
                queue.depths,
                queue.workers,
                reader.wake,
                lambda: queue.put([delivery()]),
                lambda: queue.drop([delivery()]),
                lambda: queue.held([delivery()]),
                lambda: queue.order(JOB, "cancel"),
                lambda: look(connection, JOB),
                lambda: reader.history(JOB),
                lambda: reader.frame(JOB),
                lambda: reader.read({JOB: "0"}, block=1),
            ]

            def seconds(call: Callable[[], object]) -> float:
                started = time.monotonic()
                with pytest.raises(BrokerError, match="nanoos-lab up"):
                    call()
                return time.monotonic() - started

            for call in calls:
                assert quickest(partial(seconds, call), limit=3.0) < 3.0

    def test_a_run_goes_on_at_full_speed(self) -> None:
        with connect("unix:///nonexistent/server.sock") as connection:
            writer = LiveWriter(writing(connection), JOB, 1)

            def seconds() -> float:
                started = time.monotonic()
                for step in range(10_000):
                    writer.event({"kind": "progress", "step": step})
                    writer.frame(b"frame", step)
                assert (writer.orders(), writer.fileno()) == ([], None)
                return time.monotonic() - started

            assert quickest(seconds, limit=3.0) < 3.0
            writer.close()


def readable(writer: LiveWriter, *, seconds: float) -> bool:
    number = writer.fileno()
    assert number is not None
    return bool(select.select([number], [], [], seconds)[0])


def dead_process() -> int:
    with subprocess.Popen(["true"]) as process:
        return process.pid
