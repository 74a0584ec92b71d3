"""Following an engine process from the start of its run to its end: its output, its lease, its limits, our orders."""

from __future__ import annotations

import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import psutil

from nanoos_lab.core.errors import StoreError
from nanoos_lab.worker import pipe
from nanoos_lab.worker.clocks import RunningTime, left, now, passed
from nanoos_lab.worker.processes import descendants
from nanoos_lab.worker.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoos_lab.broker.live import LiveWriter
    from nanoos_lab.core.record import Assignment
    from nanoos_lab.store.records import Orders
    from nanoos_lab.worker.nursery import EngineProcess
    from nanoos_lab.worker.recorder import Recorder

log = logging.getLogger(__name__)

#: Seconds between two signs of life, and between two flushes of what the engine produced; orders come in between. It is
#: less for a short lease, of which this part may pass.
BEAT, _PART = 5.0, 0.25
#: At most so many while orders cannot be heard, since the store knows them too, and for a run whose memory is limited.
_OFTEN = 2.0
#: A young run is looked after sooner: after this part of its age, and at first after so many seconds.
_PART_OF_AGE, _SOONEST = 0.5, 0.5
#: What was to come after this part of the time, or more, comes now if the process is awake anyway.
_RIPE = 0.6
#: The engine, and who ends it, are told of a longer lease when less than this part of the one they know of is left, or
#: when it cannot be renewed: each time that they are told they are woken.
_LEFT = 0.6
#: A frame pays at most so many times what it costs itself.
_DEAREST = 3.0
#: Seconds that an engine has to stop by itself before it is killed.
GRACE = 5.0
#: Seconds that it has before a long pause, and at its soft time limit if there is no hard one, to come to a state worth
#: keeping.
LONG_GRACE = 300.0
#: Seconds that a run lasts before orders are listened to: one that is shorter needs no connection for them.
SHORT = 0.1
#: Seconds that a paused run keeps its place in memory; then it makes room.
KEPT = 300.0
_GIB = 1024**3

Cause = Literal["cancel", "pause", "soft", "hard", "memory", "silence"]
#: What an engine is told when it is to stop.
_REASONS = {"cancel": "cancel", "pause": "pause", "soft": "time_limit"}


@dataclass(frozen=True, kw_only=True)
class EndOfRun:
    """How following ended."""

    #: The engine's last message, "done", "failed" or, if it said nothing, "gone"; None if the attempt is not ours.
    message: pipe.Message | None
    #: Why we ended it, if we did.
    cause: Cause | None
    #: Seconds that it ran, pauses not counted.
    ran: float
    #: Until when the attempt is ours, by `clocks.now`.
    lease_until: float
    #: Memory in bytes, when it was killed for it.
    memory: int = 0
    #: Seconds for which it might have been quiet, when it was killed for that.
    patience: float = 0.0


class Follower:
    """Follows one run.

    Parameters
    ----------
    engine
        The engine process, whose run has begun.
    recorder
        Takes what it produces.
    live
        Brings orders.
    beat
        Renews the lease and returns what is asked of the run; raises StoreError while the store is away.
    lease
        How long a lease lasts, in s.
    assignment
        The limits, and what counts from earlier attempts.
    releasable
        Whether the engine can go on later from where it was, in another process.
    """

    def __init__(
        self,
        engine: EngineProcess,
        recorder: Recorder,
        live: LiveWriter,
        beat: Callable[[], Orders],
        *,
        lease: float,
        assignment: Assignment,
        releasable: bool,
    ) -> None:
        self._engine = engine
        self._inbox = pipe.Inbox(engine.pipe)
        self._recorder = recorder
        self._live = live
        self._beat = beat
        self._lease = lease
        self._beat_interval = min(BEAT, _PART * lease)
        self._limits = assignment.limits
        self._time = RunningTime(assignment.ran)
        self._quiet = Quiet(recorder.directory)
        self._releasable = releasable
        self._last: pipe.Message | None = None
        self._ours = True
        self._cause: Cause | None = None
        self._kill_at: float | None = None
        self._paused_at: float | None = None
        self._memory = 0
        self._deaf = False
        #: CPU seconds that a frame costs here, as a running mean.
        self._live_cost = 0.0
        #: This process's CPU seconds when the last frame had been shown.
        self._paid = 0.0
        #: Until when the engine knows that it may run.
        self._told = -math.inf

    def follow(self, heard: float) -> EndOfRun:
        """Follow the engine until it has ended, its process is gone, or the attempt is no longer ours.

        Parameters
        ----------
        heard
            When the lease was last renewed, by `clocks.now`.
        """
        self._renewed(heard)
        listen = time.monotonic() + SHORT
        ripe, due = self._next_beat()
        while self._last is None and self._ours:
            listening = time.monotonic() >= listen
            self._hear(due if listening else listen, listening=listening)
            if time.monotonic() >= ripe:
                self._look_after()
                ripe, due = self._next_beat()
        message = self._last if self._ours else None
        return EndOfRun(
            message=message,
            cause=self._cause,
            ran=self._time.here,
            lease_until=self._heard + self._lease,
            memory=self._memory,
            patience=self._quiet.patience,
        )

    def _next_beat(self) -> tuple[float, float]:
        """Return from when on to look after the run again if there is something else to do, and when at last.

        As usual, or when it passes a limit or is to be killed.
        """
        moment = time.monotonic()
        limit = math.inf if self._time.paused else left(self._limits, self._time.total)
        kill = math.inf if self._kill_at is None or self._kill_at < moment else self._kill_at - moment
        usual = min(self._usual, max(_SOONEST, _PART_OF_AGE * self._time.here))
        # A little later, so that it is over then.
        due = min(usual, min(limit, kill) + 0.01)
        return moment + min(_RIPE * usual, due), moment + due

    @property
    def _usual(self) -> float:
        often = self._deaf or self._limits.memory is not None
        return min(self._beat_interval, _OFTEN) if often else self._beat_interval

    def _hear(self, until: float, *, listening: bool) -> None:
        """Wait for the engine and for orders, and take what comes first."""
        woken, shown = time.process_time(), self._recorder.shown
        orders = self._live.fileno() if listening else None
        self._deaf = listening and orders is None
        engine = self._engine.pipe.fileno()
        sources = [engine] if orders is None else [engine, orders]
        ready = pipe.readable(sources, timeout=max(0.0, until - time.monotonic()))
        if orders in ready:
            self._obey()
        if engine in ready:
            self._read()
            if self._recorder.shown > shown:
                self._learn(woken, self._recorder.shown - shown, first=not shown)

    def _read(self) -> None:
        try:
            messages = self._inbox.read()
        except (EOFError, OSError):
            if now() >= self._told:
                # Its own watchdog, or the nursery's, has ended it.
                self._give_up("its lease is over")
            else:
                self._last = pipe.Message(kind="gone", fields={})
            return
        if messages:
            self._quiet.heard(self._time.here)
        for message in messages:
            if message.kind in ("done", "failed"):
                self._last = message
            elif message.kind == "patience":
                self._quiet.patience = message.fields["seconds"]
            else:
                self._recorder.take(message)

    def _learn(self, woken: float, frames: int, *, first: bool) -> None:
        """Note what frames have cost here, in CPU seconds, all that was done since the last one included.

        For a run pays with its frames for being followed, too; yet if that is dear, it may show some all the same.
        """
        spent = time.process_time()
        alone, whole = spent - woken, spent - self._paid
        self._paid = spent
        # The first one would pay for what is made only once.
        if not first:
            cost = min(whole, _DEAREST * alone) / frames
            self._live_cost = 0.8 * self._live_cost + 0.2 * cost if self._live_cost else cost

    def _obey(self) -> None:
        for order in self._live.orders():
            if order.get("order") in ("cancel", "pause", "resume", "steer"):
                # Only a hint: the store decides, now instead of at the next beat.
                self._look_after()
            elif order.get("order") == "look" and isinstance(order.get("seconds"), (int, float)):
                self._recorder.look(order["seconds"])
                self._tell_viewers()

    def _tell_viewers(self) -> None:
        self._engine.tell("look", watched=self._recorder.watched, cost=self._live_cost)

    def _look_after(self) -> None:
        """Flush, renew the lease, and see whether the run may go on."""
        self._recorder.flush()
        if self._recorder.watched or self._recorder.left():
            # Each time with what a live sample has cost here lately, which its cadence takes into account.
            self._tell_viewers()
        asked = now()
        try:
            orders = self._beat()
        except StoreError as error:
            log.warning("no beat: %s", error)
            self._tell_lease()
            if now() - self._heard > self._lease:
                self._give_up("its lease is over")
            return
        if not orders.current:
            self._give_up("it is no longer ours")
            return
        self._renewed(asked)
        if orders.steerings:
            self._engine.order("steer", steerings=[one.to_json() for one in orders.steerings])
        self._judge(orders)

    def _renewed(self, asked: float) -> None:
        """Tell those who end the engine by their own clock that the lease was renewed when we asked for it."""
        self._heard = asked
        if asked > self._told - _LEFT * self._lease:
            self._tell_lease()

    def _tell_lease(self) -> None:
        self._told = self._heard + self._lease
        self._engine.lease(self._told)

    def _judge(self, orders: Orders) -> None:
        """Follow the orders of the store, and see to the limits."""
        which = passed(self._limits, self._time.total)
        if which == "hard":
            self._kill("hard")
        elif self._uses_too_much():
            self._kill("memory")
        elif self._is_stuck():
            self._kill("silence")
        elif orders.cancel:
            self._stop("cancel", GRACE)
        elif which == "soft":
            self._stop("soft", self._until_hard_limit())
        elif orders.pause != self._time.paused and self._cause is None:
            self._pause() if orders.pause else self._resume()
        elif self._time.paused and self._releasable and time.monotonic() > (self._paused_at or 0.0) + KEPT:
            self._stop("pause", LONG_GRACE)
        if self._kill_at is not None and time.monotonic() > self._kill_at:
            self._engine.kill()

    def _stop(self, cause: Cause, grace: float) -> None:
        """Ask the engine to stop; a cancel goes before what was asked for earlier."""
        if self._cause == cause or (self._cause is not None and cause != "cancel"):
            return
        self._cause = cause
        self._kill_at = time.monotonic() + grace
        self._resume()
        self._engine.order("stop", reason=_REASONS[cause], grace=grace)

    def _until_hard_limit(self) -> float:
        """Return the seconds that a run has at its soft limit, at which nothing but the hard one need end it."""
        hard = self._limits.hard
        return LONG_GRACE if hard is None else max(0.0, hard - self._time.total)

    def _kill(self, cause: Cause) -> None:
        self._cause = cause
        self._engine.kill()

    def _pause(self) -> None:
        self._engine.pause()
        self._time.pause()
        self._paused_at = time.monotonic()
        self._live.event({"kind": "paused", "paused": True})

    def _resume(self) -> None:
        if self._time.paused:
            self._engine.resume()
            self._time.resume()
            self._live.event({"kind": "paused", "paused": False})

    def _give_up(self, why: str) -> None:
        """End the engine of an attempt that another worker may have taken."""
        log.warning("%s; its engine is ended", why)
        self._ours = False
        self._engine.kill()

    def _is_stuck(self) -> bool:
        """Whether nothing has been heard of it for too long; not while it stands still, or has words to be read."""
        if self._time.paused or self._cause is not None or not self._quiet.too_long(self._time.here):
            return False
        return not pipe.readable([self._engine.pipe.fileno()], timeout=0.0)

    def _uses_too_much(self) -> bool:
        if self._limits.memory is None:
            return False
        self._memory = _memory_of(self._engine.pid)
        return self._memory > self._limits.memory * _GIB


def _memory_of(pid: int) -> int:
    """Return the memory of a process and its descendants, in bytes; what they share is counted more than once."""
    total = 0
    for one in (pid, *descendants(pid)):
        with suppress(psutil.NoSuchProcess):
            total += psutil.Process(one).memory_info().rss
    return total
