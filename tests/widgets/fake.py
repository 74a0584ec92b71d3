"""A job that needs no lab: its run is a loop of this process, fast to start and under the test's control."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from ase.build import bulk

from nanoos_lab.core.frames import Frame
from nanoos_lab.core.record import Failure, JobRecord, Steering
from nanoos_lab.core.status import Status
from nanoos_lab.core.structures import Structure
from nanoos_lab.core.units import UNITS
from nanoos_lab.lab.summary import Summary
from nanoos_lab.lab.tables import steerable_frame, steerings_frame
from nanoos_lab.lab.watch import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ase import Atoms

    from nanoos_lab.core.status import Reason


def a_record(**changes: Any) -> JobRecord:
    """Return the record of a queued copper run, with `changes`."""
    record = JobRecord(
        id=uuid.uuid4().hex,
        key="0" * 64,
        name="copper at 600 K",
        formula="Cu2048",
        atoms=2048,
        engine="lammps",
        task="md",
        status=Status.QUEUED,
        failure=None,
        queue="simulations",
        priority=5,
        attempt=1,
        max_attempts=3,
        step=0,
        total=50_000,
        worker=None,
        created=datetime.now(UTC),
        started=None,
        ended=None,
        cancel_requested=None,
        lease_until=None,
    )
    return replace(record, **changes)


@dataclass(eq=False)
class FakeSubscription:
    """A subscriber's hold on the fake feed."""

    watch: FakeWatch
    callback: Callable[[Change], None]
    frames: bool = False
    closed: Callable[[], None] | None = None

    def close(self) -> None:
        """Hear no more."""
        self.watch.subscriptions.discard(self)


class FakeTrajectory(list["Atoms"]):
    """Frames that a test appends."""

    @property
    def steps(self) -> range:
        """The steps of the frames."""
        return range(len(self))


@dataclass(eq=False)
class FakePoll:
    """Something that the fake feed does again and again, whenever a test says so."""

    watch: FakeWatch
    callback: Callable[[], None]

    def close(self) -> None:
        """Do it no more."""
        self.watch.polls.discard(self)


@dataclass(eq=False)
class FakeWatch:
    """A feed without a thread: whoever changes the job tells the subscribers."""

    subscriptions: set[FakeSubscription] = field(default_factory=set)
    polls: set[FakePoll] = field(default_factory=set)

    def subscribe(
        self,
        job_id: str,
        callback: Callable[[Change], None],
        *,
        frames: bool = False,
        closed: Callable[[], None] | None = None,
    ) -> FakeSubscription:
        """Follow the job."""
        subscription = FakeSubscription(self, callback, frames, closed)
        self.subscriptions.add(subscription)
        return subscription

    def every(self, seconds: float, callback: Callable[[], None]) -> FakePoll:
        """Have something done again and again."""
        poll = FakePoll(self, callback)
        self.polls.add(poll)
        return poll

    def turn(self) -> None:
        """Do what is to be done again and again."""
        for poll in list(self.polls):
            poll.callback()

    def tell(self, change: Change) -> None:
        """Tell all who want to know."""
        for subscription in list(self.subscriptions):
            if change.frame is None or subscription.frames:
                subscription.callback(change)


class FakeJob:
    """A job with the attributes that a card uses."""

    def __init__(self, atoms: Atoms | None = None, **changes: Any) -> None:
        self.atoms = atoms if atoms is not None else bulk("Cu", cubic=True) * (8, 8, 8)
        formula = self.atoms.get_chemical_formula()
        self.record = a_record(atoms=len(self.atoms), formula=formula, **changes)
        self.id = self.record.id
        self.lab = FakeLab(watch=FakeWatch())
        self.request = SimpleNamespace(structure=Structure.encode(self.atoms))
        self.trajectory = FakeTrajectory()
        self.log = ""
        self.warning: str | None = None
        self.cancels = 0
        self.cancel_error: Exception | None = None
        self.steer_error: Exception | None = None
        self.parameters: dict[str, float | None] = {"temperature": 600.0, "temperature_end": None, "tdamp": 100.0}
        self.changes: list[Steering] = []
        self._rows: list[dict[str, float]] = []

    @property
    def structure(self) -> Atoms:
        """The final structure."""
        return self.atoms

    @property
    def thermo(self) -> pd.DataFrame:
        """Rows so far."""
        frame = pd.DataFrame(self._rows)
        frame = frame.set_index("step") if self._rows else frame
        frame.attrs["units"] = {name: UNITS.get(name, "") for name in frame.columns}
        return frame

    def log_end(self) -> str:
        """The end of the log."""
        return self.log

    def cancel(self) -> bool:
        """Note that a cancel was asked for."""
        if self.cancel_error is not None:
            raise self.cancel_error
        self.cancels += 1
        self.change(cancel_requested=datetime.now(UTC))
        return True

    @property
    def steerable(self) -> pd.DataFrame:
        """What can be changed on its way."""
        units = {"temperature": "K", "temperature_end": "K", "tdamp": "fs"}
        return steerable_frame([(name, value, units[name]) for name, value in self.parameters.items()])

    @property
    def steerings(self) -> pd.DataFrame:
        """How it was changed."""
        return steerings_frame(self.changes)

    def steer(self, **changes: float) -> int:
        """Note that a change was asked for; no step is known of it yet."""
        if self.steer_error is not None:
            raise self.steer_error
        self.parameters |= changes
        self.changes.append(Steering(number=len(self.changes) + 1, changes=changes))
        self.record = replace(self.record, steerings=len(self.changes))
        return len(self.changes)

    def apply(self, step: int) -> None:
        """Have the newest change hold from a step on, and tell the subscribers that the job is at it."""
        self.changes[-1] = replace(self.changes[-1], step=step)
        self.change(step=step)

    def change(self, **changes: Any) -> None:
        """Change the record and tell the subscribers."""
        self.record = replace(self.record, **changes)
        self.lab.watch.tell(Change(job_id=self.id, record=self.record))

    def start(self) -> None:
        """Become running."""
        self.change(status=Status.RUNNING, started=datetime.now(UTC), worker="w1")

    def end(self, status: Status = Status.SUCCEEDED, failure: Failure | None = None, **scalars: float) -> None:
        """Become finished."""
        self.change(status=status, ended=datetime.now(UTC), failure=failure, scalars=scalars)

    def fail(self, reason: Reason, message: str, remedy: str = "") -> None:
        """Become failed."""
        self.end(Status.FAILED, Failure(reason=reason, message=message, remedy=remedy))

    def progress(self, step: int, *, rate: float = 1000.0, **row: float) -> None:
        """Tell how far the run is; `row` is kept too."""
        self._rows.append({"step": step, **row})
        self.tell(kind="progress", step=step, total=self.record.total, rate=rate, row=row, at=0.0)

    def tell(self, **event: Any) -> None:
        """Tell a live event."""
        self.lab.watch.tell(Change(job_id=self.id, event=event))

    def show(self, step: int, positions: np.ndarray[Any, Any]) -> None:
        """Tell a frame."""
        frame = Frame(step=step, time=float(step), positions=positions, cell=self.atoms.cell.array)
        self.lab.watch.tell(Change(job_id=self.id, frame=frame))


class FakeGroup:
    """A group with the attributes that an overview uses."""

    def __init__(self, *records: JobRecord, columns: Mapping[str, list[Any]] | None = None) -> None:
        self.records = list(records)
        self.columns = dict(columns or {})
        self.lab = FakeLab(watch=FakeWatch())
        self.cancels = 0
        self.error: Exception | None = None
        self.looks = 0

    def __len__(self) -> int:
        return len(self.records)

    @property
    def ids(self) -> tuple[str, ...]:
        """Their ids."""
        return tuple(record.id for record in self.records)

    @property
    def summary(self) -> Summary:
        """How far they are."""
        if self.error is not None:
            raise self.error
        self.looks += 1
        return Summary.of(self.records)

    def foremost(self, limit: int) -> list[JobRecord]:
        """The first ones."""
        return self.records[:limit]

    def change(self, number: int, **changes: Any) -> None:
        """Change one record."""
        self.records[number] = replace(self.records[number], **changes)

    def cancel(self) -> int:
        """End those that have not ended."""
        if self.error is not None:
            raise self.error
        self.cancels += 1
        left = [number for number, record in enumerate(self.records) if not record.status.finished]
        for number in left:
            self.change(number, status=Status.CANCELLED)
        return len(left)


@dataclass(eq=False)
class FakeLab:
    """A lab that has only its feed."""

    watch: FakeWatch


def run_in_background(job: FakeJob, *, steps: int = 100, pause: float = 0.1, every: int = 100) -> threading.Thread:
    """Run a warming crystal in a thread, as a worker would."""

    def run() -> None:
        random = np.random.default_rng(1)
        job.start()
        for index in range(steps + 1):
            step = index * every
            temperature = 600 * (1 - np.exp(-index / 30)) + random.normal(0, 12)
            row = _row(step, float(temperature), len(job.atoms))
            job.progress(step, rate=every / pause, **row)
            job.tell(kind="log", text=f"{step:10d} {temperature:12.4f}")
            amplitude = 0.25 * np.sqrt(max(temperature, 0) / 600)
            job.show(step, job.atoms.positions + random.normal(0, amplitude, job.atoms.positions.shape))
            if job.cancels:
                job.end(Status.CANCELLED)
                return
            done.wait(pause)
        job.end(potential_energy=-7254.31, temperature=598.2)

    done = threading.Event()
    job.change(total=steps * every)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _row(step: int, temperature: float, atoms: int) -> Mapping[str, float]:
    kinetic = 1.5 * atoms * 8.617e-5 * temperature
    return {
        "time": 2.0 * step,
        "temperature": temperature,
        "potential_energy": -3.54 * atoms + kinetic,
        "kinetic_energy": kinetic,
        "total_energy": -3.54 * atoms + 2 * kinetic,
        "pressure": 0.004 * temperature - 1.2,
        "volume": 11.8 * atoms,
    }
