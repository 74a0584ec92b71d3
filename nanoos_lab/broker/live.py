"""The live channel of a job: what its run tells those who look, and what they tell the run.

Fast, and may lose messages; the store and the files lose none. Per job there is a capped stream of events, a
note of the newest frame in a stream of length one, the newest frame itself, a channel for orders, and the
lease of those who look.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis import exceptions

from nanoos_lab.broker.connection import Line, broker_errors, sibling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis import Redis
    from redis.client import PubSub

    from nanoos_lab.broker.connection import Command

log = logging.getLogger(__name__)

#: Events kept of a job, about.
EVENTS_KEPT = 1000
#: Seconds for which they are kept after the last one.
EVENTS_TTL = 24 * 3600
#: Seconds after which that time begins anew, at the next event; a command for each one would double its cost.
_RENEWED = 60
#: Seconds for which the newest frame is kept.
FRAME_TTL = 120
#: Seconds that a run waits for the server at most, once per pause.
WRITER_PATIENCE = 1.0
#: Seconds between two tries of a run to reach a server that was away: first, and at most.
PAUSES = (1.0, 10.0)
#: What `json.loads` raises for a text that is none, or nested too deeply.
_UNREADABLE = (ValueError, RecursionError)
#: Events that one read returns of a job at most.
_MOST_EVENTS = 2 * EVENTS_KEPT
#: Seconds that one read may wait.
LONGEST_BLOCK = 5.0


def events_key(job_id: str) -> str:
    """Return the key of a job's stream of events."""
    return f"nanoos:{job_id}:events"


def frames_key(job_id: str) -> str:
    """Return the key of the stream with the note of a job's newest frame."""
    return f"nanoos:{job_id}:frames"


def frame_key(job_id: str) -> str:
    """Return the key of a job's newest frame."""
    return f"nanoos:{job_id}:frame"


def look_key(job_id: str) -> str:
    """Return the key that exists while somebody looks at a job."""
    return f"nanoos:{job_id}:look"


def control_channel(job_id: str) -> str:
    """Return the name of the channel of orders to a job's run."""
    return f"nanoos:{job_id}:control"


def look(connection: Redis, job_id: str, seconds: float = 12) -> None:
    """Say that somebody looks at the job; a run that starts later sees it too.

    Raises
    ------
    BrokerError
        If the server does not answer.
    """
    message = json.dumps({"order": "look", "seconds": seconds})
    with broker_errors(connection), connection.pipeline() as pipeline:
        pipeline.set(look_key(job_id), "1", px=int(seconds * 1000))
        pipeline.publish(control_channel(job_id), message)
        pipeline.execute()


def order(connection: Redis, job_id: str, name: str) -> None:
    """Send an order, such as "cancel", to the run of a job; nobody may hear it.

    Raises
    ------
    BrokerError
        If the server does not answer.
    """
    with broker_errors(connection):
        connection.publish(control_channel(job_id), json.dumps({"order": name}))


@dataclass(frozen=True, kw_only=True)
class LiveEvent:
    """One event of a job's run."""

    #: Id of the job.
    job_id: str
    #: Place in the job's stream, to go on reading from.
    cursor: str
    #: What happened: "kind", "at" (unix time), "attempt", and what the kind has.
    event: Mapping[str, Any]


class _Trouble:
    """Remembers that the server was away: it costs a run one time-out per pause, not one per event."""

    def __init__(self) -> None:
        self._until = 0.0
        self._pause = PAUSES[0]

    @property
    def pausing(self) -> bool:
        return time.monotonic() < self._until

    def begin(self, error: Exception) -> None:
        log.info("the live channel waits %g s: %s", self._pause, error)
        self._until = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, PAUSES[1])

    def end(self) -> None:
        self._pause = PAUSES[0]


def writing(connection: Redis) -> Redis:
    """Return a client of the same server for the writers of one process: it waits for the server only briefly."""
    return sibling(connection, timeout=WRITER_PATIENCE)


class LiveWriter:
    """The run's end of the live channel; trouble with the server never raises, it only costs events.

    Parameters
    ----------
    connection
        A client that `writing` made; the writer leaves it open.
    job_id, attempt
        Whose events.
    """

    def __init__(self, connection: Redis, job_id: str, attempt: int) -> None:
        self._redis = connection
        self._line = Line(connection)
        self._id = job_id
        self._attempt = attempt
        self._report_trouble = _Trouble()
        self._listen_trouble = _Trouble()
        self._orders: PubSub | None = None
        #: When the time for which a key is kept is to be set anew.
        self._renew_at: dict[str, float] = {}

    def event(self, event: Mapping[str, Any]) -> None:
        """Append an event: its "kind", and plain values."""
        self._send(*self._event(event))

    def frame(self, packed: bytes, step: int, event: Mapping[str, Any] | None = None) -> None:
        """Replace the newest frame, which those who look fetch when they are ready for it; append an event with it."""
        note = {"kind": "frame", "step": step}
        self._send(
            ("SET", frame_key(self._id), packed, "EX", FRAME_TTL),
            *self._added(frames_key(self._id), note, "=", 1),
            *(() if event is None else self._event(event)),
        )

    def orders(self) -> list[dict[str, Any]]:
        """Return the orders that have come since the last call, without waiting."""
        received: list[dict[str, Any]] = []
        try:
            orders = self._listen()
            # Until nothing is left in the client's buffer either: a select on the socket would not see that.
            while orders is not None and _connection(orders).can_read(timeout=0):
                received += _parsed(orders.get_message(timeout=WRITER_PATIENCE))
        except exceptions.RedisError as error:
            self._stop_listening(error)
        return received

    def fileno(self) -> int | None:
        """Return what becomes readable when orders come, for this moment; None while the server is away."""
        try:
            orders = self._listen()
        except exceptions.RedisError as error:
            self._stop_listening(error)
            return None
        # redis-py does not show its socket.
        return int(_connection(orders)._sock.fileno()) if orders is not None else None

    def close(self) -> None:
        """Listen no longer, and write no more."""
        self._line.close()
        if self._orders is not None:
            self._orders.close()

    def _send(self, *commands: Command) -> None:
        """Send commands, unless the server was away a moment ago."""
        if self._report_trouble.pausing:
            return
        try:
            self._line.send(*commands)
        except exceptions.RedisError as error:
            self._report_trouble.begin(error)
        else:
            self._report_trouble.end()

    def _event(self, event: Mapping[str, Any]) -> list[Command]:
        return self._added(events_key(self._id), event, "~", EVENTS_KEPT)

    def _added(self, key: str, event: Mapping[str, Any], exactly: str, most: int) -> list[Command]:
        """Return the commands that append to a stream, and keep so many entries of it, exactly (=) or about (~)."""
        full = {"at": time.time(), "attempt": self._attempt, **event}
        commands: list[Command] = [("XADD", key, "MAXLEN", exactly, most, "*", "event", json.dumps(full, default=str))]
        if time.monotonic() > self._renew_at.get(key, 0.0):
            commands.append(("EXPIRE", key, EVENTS_TTL))
            self._renew_at[key] = time.monotonic() + _RENEWED
        return commands

    def _listen(self) -> PubSub | None:
        """Return the subscription to the orders, made if need be; None while the server is away."""
        if self._orders is not None or self._listen_trouble.pausing:
            return self._orders
        orders: PubSub = self._redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        channel = control_channel(self._id)
        orders.subscribe(channel)
        orders.get_message(timeout=WRITER_PATIENCE)
        self._orders = orders
        self._listen_trouble.end()
        left = self._redis.pttl(look_key(self._id))
        if left > 0:
            # To ourselves, so that it comes like any other order to whoever waits for the socket.
            self._redis.publish(channel, json.dumps({"order": "look", "seconds": left / 1000}))
        return orders

    def _stop_listening(self, error: Exception) -> None:
        self._listen_trouble.begin(error)
        if self._orders is not None:
            self._orders.close()
            self._orders = None


class LiveReader:
    """The viewer's end of the live channel, for all jobs; `read` is for one thread, the rest for any.

    Parameters
    ----------
    connection
        Any client of the server.
    """

    def __init__(self, connection: Redis) -> None:
        self._redis = connection
        self._blocking = sibling(connection, timeout=2 * LONGEST_BLOCK)
        self._bell = f"nanoos:wake:{secrets.token_hex(8)}"
        self._rung = "0"
        self._frames: dict[str, str] = {}

    def read(self, cursors: Mapping[str, str], *, block: float) -> list[LiveEvent]:
        """Return what has happened since, or wait for it.

        Parameters
        ----------
        cursors
            Job id → the cursor of the last event seen; "0" for all that is kept.
        block
            Seconds to wait if there is nothing; at most five. May return earlier with nothing.

        Returns
        -------
        list
            Events in the order of each job, and at most one of kind "frame" per job, for its newest frame.

        Raises
        ------
        BrokerError
            If the server does not answer.
        """
        frames = {job_id: self._frames.get(job_id, "0") for job_id in cursors}
        streams: dict[Any, Any] = {self._bell: self._rung}
        streams |= {events_key(job_id): cursor for job_id, cursor in cursors.items()}
        streams |= {frames_key(job_id): cursor for job_id, cursor in frames.items()}
        with broker_errors(self._redis):
            answer: Any = self._blocking.xread(
                streams, count=_MOST_EVENTS, block=int(1000 * min(block, LONGEST_BLOCK)) or 1
            )
        found = {key.decode(): entries for key, entries in answer}
        self._rung = _last(found.get(self._bell), self._rung)
        self._frames = {job_id: _last(found.get(frames_key(job_id)), last) for job_id, last in frames.items()}
        events: list[LiveEvent] = []
        for job_id, cursor in cursors.items():
            events += [_event(job_id, number, entry) for number, entry in found.get(events_key(job_id), ())]
            here = events[-1].cursor if events and events[-1].job_id == job_id else cursor
            # A note has no place in the stream of events: reading goes on from where that was.
            events += [_event(job_id, here.encode(), entry) for _, entry in found.get(frames_key(job_id), ())]
        return events

    def wake(self) -> None:
        """End a waiting `read`, or the next one, at once; from another thread.

        Raises
        ------
        BrokerError
            If the server does not answer.
        """
        with broker_errors(self._redis), self._redis.pipeline(transaction=False) as pipeline:
            pipeline.xadd(self._bell, {"ring": ""}, maxlen=1, approximate=False)
            pipeline.expire(self._bell, int(60 * LONGEST_BLOCK))
            pipeline.execute()

    def history(self, job_id: str) -> list[LiveEvent]:
        """Return the events of a job that are kept, the newest two thousand at most, the oldest first.

        Raises
        ------
        BrokerError
            If the server does not answer.
        """
        with broker_errors(self._redis):
            entries: Any = self._redis.xrevrange(events_key(job_id), count=_MOST_EVENTS)
        return [_event(job_id, number, entry) for number, entry in reversed(entries)]

    def frame(self, job_id: str) -> bytes | None:
        """Return a job's newest frame as its run packed it, if somebody looked lately.

        Raises
        ------
        BrokerError
            If the server does not answer.
        """
        with broker_errors(self._redis):
            packed: bytes | None = self._redis.get(frame_key(job_id))  # type: ignore[assignment]
        return packed

    def close(self) -> None:
        """Close the connections that are the reader's own."""
        self._blocking.close()


def _event(job_id: str, number: bytes, entry: Mapping[bytes, bytes]) -> LiveEvent:
    event: Any = None
    with suppress(*_UNREADABLE, KeyError):
        event = json.loads(entry[b"event"])
    # Whoever can write to the server can write anything there; a reader must get past it.
    readable = isinstance(event, dict) and isinstance(event.get("kind"), str)
    return LiveEvent(job_id=job_id, cursor=number.decode(), event=event if readable else {"kind": "unreadable"})


def _last(entries: Sequence[tuple[bytes, Any]] | None, otherwise: str) -> str:
    return entries[-1][0].decode() if entries else otherwise


def _connection(orders: PubSub) -> Any:
    return orders.connection


def _parsed(message: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the order in a message, in a list; nothing for what is no order."""
    with suppress(*_UNREADABLE, TypeError, KeyError):
        order = json.loads(message["data"]) if message else None
        return [order] if isinstance(order, dict) else []
    return []
