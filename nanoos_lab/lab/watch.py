"""One change feed per lab: a single listener thread, whatever the number of jobs and views.

A subscriber gets a snapshot first, then what changes. Live events come from the broker and may be lost; the
truth comes from the store, which is asked at every status event and every few seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from nanoos_lab.broker.live import LiveReader, look
from nanoos_lab.core.errors import ServiceError
from nanoos_lab.core.frames import Frame
from nanoos_lab.worker.reaper import Reconciler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.worker.services import Services

log = logging.getLogger(__name__)

#: Seconds between two looks into the store for the jobs that are watched.
STORE_INTERVAL = 2.0
#: Seconds for which a viewer is believed to look, and between two renewals.
LOOK_LEASE = 12.0
LOOK_INTERVAL = 4.0
#: Seconds between two passes of the reconciler.
RECONCILE_INTERVAL = 10.0
#: Seconds to wait before a broker that went away is asked again.
RECONNECT = 1.0


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a subscriber is told; one of record, event and frame is set."""

    #: Id of the job.
    job_id: str
    #: The job as the store knows it now.
    record: JobRecord | None = None
    #: A live event of the running attempt.
    event: Mapping[str, Any] | None = None
    #: The newest frame.
    frame: Frame | None = None


@dataclass(eq=False)
class Subscription:
    """One subscriber's hold on the feed; `close` ends it."""

    #: Id of the job.
    job_id: str
    #: Called in the listener thread.
    callback: Callable[[Change], None]
    #: Whether frames are wanted; may be changed at any time.
    frames: bool
    #: Called when the lab is closed, in the thread that closes it; None if that does not matter.
    closed: Callable[[], None] | None
    _watch: Watch = field(repr=False)
    _greeted: bool = False

    def close(self) -> None:
        """Hear no more."""
        self._watch._drop(self)

    def tell(self, change: Change) -> None:
        """Call back; a subscriber's error is logged and stops nobody."""
        try:
            self.callback(change)
        except Exception:
            log.exception("a subscriber of job %s failed", self.job_id)


@dataclass(eq=False)
class Poll:
    """Something that the listener thread does again and again; `close` ends it."""

    #: Seconds between two calls, at least.
    seconds: float
    #: Called in the listener thread.
    callback: Callable[[], None]
    _watch: Watch = field(repr=False)
    #: When it is due, by the monotonic clock.
    due: float = 0.0

    def close(self) -> None:
        """Do it no more."""
        self._watch._drop(self)

    def make(self) -> None:
        """Call back; an error is logged and stops nobody."""
        try:
            self.callback()
        except ServiceError as error:
            log.debug("a poll has to wait: %s", error)
        except Exception:
            log.exception("a poll failed")
        self.due = time.monotonic() + self.seconds


class Watch:
    """The change feed of a lab.

    Parameters
    ----------
    services
        The lab's services.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._subscriptions: set[Subscription] = set()
        self._polls: set[Poll] = set()
        self._listener: _Listener | None = None

    def subscribe(
        self,
        job_id: str,
        callback: Callable[[Change], None],
        *,
        frames: bool = False,
        closed: Callable[[], None] | None = None,
    ) -> Subscription:
        """Follow a job.

        Parameters
        ----------
        job_id
            Which job.
        callback
            Called in the listener thread, first with a snapshot; must return soon.
        frames
            Whether the newest frames are wanted too; the run makes them only then.
        closed
            Called if the lab is closed, after which nothing comes any more.
        """
        subscription = Subscription(job_id, callback, frames, closed, self)
        with self._lock:
            self._subscriptions.add(subscription)
        self._awake()
        return subscription

    def every(self, seconds: float, callback: Callable[[], None]) -> Poll:
        """Have the listener thread call back at once, and again and again.

        For views of many jobs at once, which ask the store something cheap instead of following each job.

        Parameters
        ----------
        seconds
            Between two calls, at least.
        callback
            Called in the listener thread; must return soon.
        """
        made = Poll(seconds, callback, self)
        with self._lock:
            self._polls.add(made)
        self._awake()
        return made

    def close(self) -> None:
        """End the listener thread, and tell those who asked for it."""
        with self._lock:
            left, self._subscriptions = self._subscriptions, set()
            self._polls = set()
            listener, self._listener = self._listener, None
        if listener is not None and listener is not threading.current_thread():
            listener.wake()
            listener.join(timeout=5.0)
        for subscription in left:
            if subscription.closed is not None:
                subscription.closed()

    def by_job(self) -> dict[str, list[Subscription]]:
        """Return the subscriptions of every watched job."""
        jobs: dict[str, list[Subscription]] = defaultdict(list)
        with self._lock:
            for subscription in self._subscriptions:
                jobs[subscription.job_id].append(subscription)
        return jobs

    def retire(self, listener: _Listener) -> bool:
        """Let the listener go if nobody subscribes; the next subscriber starts another one."""
        with self._lock:
            if (self._subscriptions or self._polls) and self._listener is listener:
                return False
            if self._listener is listener:
                self._listener = None
            return True

    def polls(self) -> list[Poll]:
        """Return what is to be done again and again."""
        with self._lock:
            return list(self._polls)

    def _awake(self) -> None:
        """Have a listener, and one that sees at once what is new."""
        with self._lock:
            if self._listener is None:
                self._listener = _Listener(self, self._services)
                self._listener.start()
            listener = self._listener
        listener.wake()

    def _drop(self, held: Subscription | Poll) -> None:
        with self._lock:
            self._subscriptions.discard(held)
            self._polls.discard(held)


class _Listener(threading.Thread):
    """The thread behind a watch."""

    def __init__(self, watch: Watch, services: Services) -> None:
        super().__init__(name="nanoos_lab-watch", daemon=True)
        self._watch = watch
        self._services = services
        self._reader = LiveReader(services.connection)
        self._records: dict[str, JobRecord] = {}
        self._cursors: dict[str, str] = {}
        self._next_store = 0.0
        self._next_poll = inf
        self._reconciler = Reconciler(services.store, services.queue)
        self._next_pass = 0.0
        #: Job id → when its viewer's lease is to be renewed.
        self._looks: dict[str, float] = {}

    def wake(self) -> None:
        """Make the thread look for new subscribers now."""
        try:
            self._reader.wake()
        except ServiceError as error:
            log.debug("not woken: %s", error)

    def run(self) -> None:
        try:
            while not self._watch.retire(self):
                self._make(self._watch.polls())
                self._turn(self._watch.by_job())
        finally:
            self._reader.close()

    def _make(self, polls: Sequence[Poll]) -> None:
        for poll in polls:
            if time.monotonic() >= poll.due:
                poll.make()
        self._next_poll = min((poll.due for poll in polls), default=inf)

    def _turn(self, jobs: Mapping[str, list[Subscription]]) -> None:
        try:
            self._follow(jobs)
            self._read_store(jobs)
            self._reconcile()
            self._look(jobs)
            self._read_live(jobs)
        except ServiceError as error:
            log.debug("the feed waits: %s", error)
            self._read_store_quietly(jobs)
            time.sleep(RECONNECT)
        except Exception:
            # Whoever waits for a job waits for this thread.
            log.exception("the feed of the lab met something unexpected")
            time.sleep(RECONNECT)

    def _reconcile(self) -> None:
        """Put right what is lost, while somebody looks: a cluster may have nothing but plain workers."""
        if not self._services.settings.embedded and time.monotonic() >= self._next_pass:
            self._next_pass = time.monotonic() + RECONCILE_INTERVAL
            self._reconciler.make_pass()

    def _follow(self, jobs: Mapping[str, list[Subscription]]) -> None:
        """Take the place in each new job's stream before its snapshot: nothing falls between the two."""
        for job_id in jobs.keys() - self._cursors.keys():
            history = self._reader.history(job_id)
            self._cursors[job_id] = history[-1].cursor if history else "0"
        for job_id in self._cursors.keys() - jobs.keys():
            del self._cursors[job_id]
            self._records.pop(job_id, None)

    def _read_store(self, jobs: Mapping[str, list[Subscription]]) -> None:
        newcomers = {job_id for job_id, heard in jobs.items() if any(not one._greeted for one in heard)}
        wanted = set(newcomers)
        if time.monotonic() >= self._next_store:
            wanted |= {job_id for job_id in jobs if not self._finished(job_id)}
            self._next_store = time.monotonic() + STORE_INTERVAL
        self._refresh(wanted, jobs)

    def _read_store_quietly(self, jobs: Mapping[str, list[Subscription]]) -> None:
        try:
            self._read_store(jobs)
        except ServiceError as error:
            log.debug("the store does not answer either: %s", error)

    def _refresh(self, ids: set[str], jobs: Mapping[str, list[Subscription]]) -> None:
        if not ids:
            return
        for job_id, record in self._services.store.get_many(ids).items():
            changed = self._records.get(job_id) != record
            self._records[job_id] = record
            for subscription in jobs[job_id]:
                if changed or not subscription._greeted:
                    subscription._greeted = True
                    subscription.tell(Change(job_id=job_id, record=record))

    def _look(self, jobs: Mapping[str, list[Subscription]]) -> None:
        """Take and renew the viewer's lease of each job whose frames are wanted."""
        now = time.monotonic()
        wanted = [
            job_id for job_id, heard in jobs.items() if any(one.frames for one in heard) and not self._finished(job_id)
        ]
        due = {job_id: self._looks.get(job_id, 0.0) for job_id in wanted}
        for job_id in wanted:
            if now >= due[job_id]:
                look(self._services.connection, job_id, LOOK_LEASE)
                due[job_id] = now + LOOK_INTERVAL
        self._looks = due

    def _read_live(self, jobs: Mapping[str, list[Subscription]]) -> None:
        block = max(0.0, min([self._next_store, self._next_poll, *self._looks.values()]) - time.monotonic())
        cursors = {job_id: cursor for job_id, cursor in self._cursors.items() if not self._finished(job_id)}
        events = self._reader.read(cursors, block=block)
        framed: set[str] = set()
        moved: set[str] = set()
        for live in events:
            self._cursors[live.job_id] = live.cursor
            kind = live.event.get("kind")
            if kind == "frame":
                framed.add(live.job_id)
            elif kind in ("status", "steered"):
                moved.add(live.job_id)
            else:
                _tell(jobs.get(live.job_id, []), Change(job_id=live.job_id, event=live.event))
        for job_id in framed:
            self._show_frame(job_id, [one for one in jobs.get(job_id, []) if one.frames])
        self._refresh(moved & jobs.keys(), jobs)

    def _show_frame(self, job_id: str, heard: list[Subscription]) -> None:
        """Fetch the newest frame only: a slow viewer skips, it never queues."""
        data = self._reader.frame(job_id) if heard else None
        if data is None:
            return
        try:
            frame = Frame.unpack(data)
        except ValueError as error:
            log.debug("the newest frame of job %s is unreadable: %s", job_id, error)
            return
        _tell(heard, Change(job_id=job_id, frame=frame))

    def _finished(self, job_id: str) -> bool:
        record = self._records.get(job_id)
        return record is not None and record.status.finished


def _tell(heard: list[Subscription], change: Change) -> None:
    for subscription in heard:
        subscription.tell(change)
