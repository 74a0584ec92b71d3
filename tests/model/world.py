"""A world of one job, its messages and the workers that hold it, around the real code of the store.

Every operation is one that a process of ours can do at any moment, or that can happen to it. A state is the database's
content beside the messages and workers; two states are the same if nobody could tell them apart but by the time of day.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from nanoos_lab.core.record import Correction, Failure, Usage
from nanoos_lab.core.request import JobRequest, Submission
from nanoos_lab.core.resources import RetryPolicy
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.store.connect import database
from nanoos_lab.store.jobs import Store
from nanoos_lab.store.records import Holder

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

#: Attempts in all of the job, messages and workers at a time, how often a person pauses it, and its engine corrects it.
ATTEMPTS, MESSAGES, WORKERS, PAUSES, CORRECTIONS = 2, 2, 2, 1, 1
LATER = 3600.0


@dataclass(frozen=True, order=True)
class Worker:
    """A work-horse that has claimed an attempt."""

    attempt: int
    #: Whether its engine may run: it ends when the lease is over, by the worker's own clock.
    engine: bool = True


@dataclass(frozen=True)
class State:
    """What there is at one moment."""

    #: The database.
    data: bytes
    #: Attempts that messages offer.
    messages: tuple[int, ...] = ()
    #: Who holds the job or believes to.
    workers: tuple[Worker, ...] = ()
    #: How often the job was paused.
    pauses: int = 0
    #: How often the results of an attempt were accepted.
    accepted: int = 0


Op = tuple[str, int] | tuple[str]


class World:
    """Runs operations of the real store on states."""

    def __init__(self, store: Store, connection: sqlite3.Connection) -> None:
        self._store = store
        self._connection = connection
        self._job = ""

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[World]:
        """Open a world whose database is in memory."""
        url = f"sqlite:///{path}"
        base = database(url)
        with base.rehearsal():
            store = Store(url, lease=LATER, resend=LATER)
            store.count()
            raw = base._engine.raw_connection()
            connection: Any = raw.driver_connection
            raw.close()
            yield cls(store, connection)

    def begin(self) -> State:
        """Return the state after the job was submitted."""
        request = JobRequest(structure=None, engine="mock", task="md", parameters={})
        policy = RetryPolicy(attempts=ATTEMPTS, delay=0.0)
        wanted = Submission(request=request, name="job", retries=policy, corrections=CORRECTIONS)
        [record] = self._store.add([wanted])
        self._job = record.id
        return State(data=self._connection.serialize())

    def load(self, state: State) -> None:
        """Make the database that of a state."""
        self._connection.deserialize(state.data)

    def face(self, state: State) -> tuple[object, ...]:
        """Return what makes a state what it is; its database is loaded."""
        [row] = self._connection.execute(
            "SELECT status, reason, attempt, failures, lost, corrections, cancel_requested IS NULL, paused IS NULL, "
            "lease_until > strftime('%Y-%m-%d %H:%M:%f', 'now'), send_after > strftime('%Y-%m-%d %H:%M:%f', 'now') "
            "FROM jobs"
        )
        outcomes = self._connection.execute("SELECT number, outcome FROM attempts ORDER BY number").fetchall()
        return (row, tuple(outcomes), state.messages, state.workers, state.pauses, state.accepted)

    def record(self) -> Any:
        """Return the job in the loaded database."""
        return self._store.get(self._job)

    def attempts(self) -> Any:
        """Return the attempts in the loaded database."""
        return self._store.attempts(self._job)

    def statuses(self) -> list[str]:
        """Return the job's statuses in the order in which its history has them."""
        return [event.text.split()[0].rstrip(":,") for event in self._store.events(self._job) if event.kind == "status"]

    def possible(self, state: State) -> list[Op]:
        """Return what can happen in a state; its database is loaded."""
        record = self.record()
        ops: list[Op] = [("reap",), ("cancel",)]
        if record.status is Status.QUEUED:
            ops += [("send",), ("send and crash",), ("resend is due",)]
        if record.status is Status.PENDING:
            ops.append(("promote",))
        if state.pauses < PAUSES:
            ops.append(("pause",))
        if record.paused is not None:
            ops.append(("resume",))
        ops += [(name, number) for number in set(state.messages) for name in ("lose", "double", "deliver")]
        names = ("crash", "beat", "succeed", "fail", "lack", "release") + (("correct",) if CORRECTIONS else ())
        ops += [(name, place) for place in range(len(state.workers)) for name in names]
        if record.status is Status.RUNNING:
            ops.append(("lease is over",))
        return ops

    def after(self, state: State, op: Op) -> State:
        """Do an operation in a state whose database is loaded; return the state after it."""
        name = op[0].replace(" ", "_")
        changed: State = getattr(self, f"_{name}")(state, *op[1:])
        return replace(changed, data=self._connection.serialize())

    # -- messages ----------------------------------------------------------------------------------------------------

    def _send(self, state: State, *, crash: bool = False) -> State:
        waiting = self._store.undelivered()
        if not crash:
            self._store.mark_sent(waiting)
        messages = (*state.messages, *(one.attempt for one in waiting))
        return replace(state, messages=tuple(sorted(messages))[:MESSAGES] if len(messages) > MESSAGES else messages)

    def _send_and_crash(self, state: State) -> State:
        return self._send(state, crash=True)

    def _resend_is_due(self, state: State) -> State:
        self._connection.execute("UPDATE jobs SET send_after = '2000-01-01' WHERE send_after IS NOT NULL")
        return state

    def _lose(self, state: State, number: int) -> State:
        return replace(state, messages=_without(state.messages, number))

    def _double(self, state: State, number: int) -> State:
        if len(state.messages) >= MESSAGES:
            return state
        return replace(state, messages=tuple(sorted((*state.messages, number))))

    def _deliver(self, state: State, number: int) -> State:
        if len(state.workers) >= WORKERS:
            return state
        left = replace(state, messages=_without(state.messages, number))
        if self._store.claim(self._job, number, Holder(worker="w", host="h", pid=1)) is None:
            return left
        return replace(left, workers=tuple(sorted((*state.workers, Worker(number)))))

    # -- workers -----------------------------------------------------------------------------------------------------

    def _gone(self, state: State, place: int) -> State:
        return replace(state, workers=state.workers[:place] + state.workers[place + 1 :])

    def _crash(self, state: State, place: int) -> State:
        return self._gone(state, place)

    def _beat(self, state: State, place: int) -> State:
        worker = state.workers[place]
        orders = self._store.beat(self._job, worker.attempt, step=0, total=None)
        if not orders.current:
            return self._gone(state, place)
        if orders.cancel:
            self._store.end_cancelled(self._job, worker.attempt)
            return self._gone(state, place)
        renewed = [replace(one, engine=True) if at == place else one for at, one in enumerate(state.workers)]
        return replace(state, workers=tuple(sorted(renewed))) if worker.engine else state

    def _succeed(self, state: State, place: int) -> State:
        worker = state.workers[place]
        won = self._store.succeed(self._job, worker.attempt, step=1, scalars={}, provenance={})
        return replace(self._gone(state, place), accepted=state.accepted + won)

    def _fail(self, state: State, place: int, reason: Reason = Reason.ENGINE) -> State:
        self._store.fail(self._job, state.workers[place].attempt, Failure(reason=reason, message="no"))
        return self._gone(state, place)

    def _correct(self, state: State, place: int) -> State:
        failure = Failure(reason=Reason.CONVERGENCE, message="no")
        correction = Correction(changes={"mixing": 0.5}, why="a smaller mixing")
        self._store.fail(self._job, state.workers[place].attempt, failure, correction=correction)
        return self._gone(state, place)

    def _lack(self, state: State, place: int) -> State:
        return self._fail(state, place, Reason.RESOURCE)

    def _release(self, state: State, place: int) -> State:
        if self.record().paused is None:
            return state
        self._store.release(self._job, state.workers[place].attempt, usage=Usage())
        return self._gone(state, place)

    def _lease_is_over(self, state: State) -> State:
        """Let the lease end: by its own clock the worker knows it too, and its engine has ended."""
        self._connection.execute("UPDATE jobs SET lease_until = '2000-01-01' WHERE lease_until IS NOT NULL")
        current = self.record().attempt
        workers = [replace(one, engine=False) if one.attempt == current else one for one in state.workers]
        return replace(state, workers=tuple(sorted(workers)))

    # -- others ------------------------------------------------------------------------------------------------------

    def _reap(self, state: State) -> State:
        self._store.expire()
        return state

    def _promote(self, state: State) -> State:
        self._store.promote()
        return state

    def _cancel(self, state: State) -> State:
        self._store.cancel(self._job)
        return state

    def _pause(self, state: State) -> State:
        before = self.record().paused
        after = self._store.pause(self._job).paused
        return replace(state, pauses=state.pauses + (before is None and after is not None))

    def _resume(self, state: State) -> State:
        self._store.resume(self._job)
        return state


#: What happens by itself once no more faults do: from everywhere it must lead to an end.
FAIR = {"send", "resend is due", "deliver", "reap", "promote", "resume", "succeed", "lease is over", "beat"}
Kind = Literal["safety", "liveness"]


def _without(messages: tuple[int, ...], number: int) -> tuple[int, ...]:
    place = messages.index(number)
    return messages[:place] + messages[place + 1 :]
