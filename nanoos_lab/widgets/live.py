"""A live job card: what binds a job, its change feed, the card and the structure together."""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import ipywidgets

from nanoos_lab.core.errors import NanoosError
from nanoos_lab.core.status import Status
from nanoos_lab.widgets.budget import Budget
from nanoos_lab.widgets.card import JobCard
from nanoos_lab.widgets.curve import curve_of
from nanoos_lab.widgets.model import LOG_LINES, CardModel, shows_structure
from nanoos_lab.widgets.series import Series, splice
from nanoos_lab.widgets.steering import Steering

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ase import Atoms

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.watch import Change, Subscription
    from nanoos_lab.widgets.structure import StructureView

log = logging.getLogger(__name__)

#: Size of an update of the card in bytes, as the budget counts it.
UPDATE_BYTES = 1_000
#: Least seconds between two sendings of the log.
LOG_PAUSE = 1.0
#: Least seconds between two looks at what is kept of a run for its atoms.
LOOK_PAUSE = 1.0


class LiveCard:
    """The card of one job in this kernel, whatever the number of its views.

    It listens until the job has ended or the widget is closed. Changes come in the listener thread of the lab, orders
    of the page in a subshell or the main thread; one lock keeps them apart.

    Parameters
    ----------
    job
        Which job.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._lock = threading.RLock()
        self._budget = Budget()
        self._due = False
        self._curve_serial = 0
        self._subscription: Subscription | None = None
        self._structure: StructureView | None = None
        #: When it was last looked which atoms the run has, and whether that is known.
        self._looked = -math.inf
        self._atoms_known = False
        record = job.record
        steering = _steering(job, record, Steering())
        self._model = CardModel.of(record, series=_series(job), steering=steering, warning=job.warning or "")
        self._sent = self._model.series
        self._sent_log: tuple[str, ...] = ()
        self._log_time = 0.0
        self._card = JobCard(self, self._obey)
        self.box = ipywidgets.VBox([self._card])
        self.box.add_class("nanoos-job")
        self._card.comm.on_close(lambda _message: self.close())
        if shows_structure(record):
            self._show_structure(True)
        self._listen(record)

    def refresh(self) -> None:
        """Look at the store again, as when the job is evaluated in another cell; listen if it has come back to life."""
        warning, steering = self._job.warning or "", _steering(self._job, self._job.record, self._model.steering)
        with self._lock:
            # Read only now: the feed may have told of a newer one meanwhile, and says nothing twice.
            record = self._job.record
            self._become(
                lambda model: replace(model.with_record(record), warning=warning, steering=steering), at_once=True
            )
            self._listen(record)

    def close(self) -> None:
        """Take the card from all pages, and hear no more."""
        with self._lock:
            self._hear_no_more()
            structure, self._structure = self._structure, None
        for part in (structure, self._card, self.box):
            if part is not None:
                part.close()

    def state(self) -> Mapping[str, Any]:
        """Return the `CardState` of static/card.js."""
        with self._lock:
            return {**self._model.to_json(datetime.now(UTC)), "serial": self._budget.sent}

    def history(self) -> tuple[int, Series]:
        """Return the curve as it was last sent, and the serial number of what made it so."""
        with self._lock:
            return self._curve_serial, self._sent

    def _listen(self, record: JobRecord) -> None:
        with self._lock:
            if self._subscription is None and not record.status.finished:
                self._subscription = self._job.lab.watch.subscribe(self._job.id, self._hear)

    def _hear_no_more(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def _hear(self, change: Change) -> None:
        if change.frame is not None:
            structure = self._structure
            if structure is not None and not (structure.push(change.frame) and self._atoms_known):
                self._look_for_other_atoms(structure)
            return
        news: dict[str, Any] = {}
        if change.record is not None and self._model.steering.lags(change.record):
            news["steering"] = _steering(self._job, change.record, self._model.steering)
        with self._lock:
            # A card that has seen the end knows better than a change that was on its way.
            if self._subscription is not None:
                self._become(lambda model: replace(_after(model, change), **news))

    def _look_for_other_atoms(self, structure: StructureView) -> None:
        """Show what is kept of the run, now and then, where its atoms are others than those that are shown.

        A run may be of other atoms than those that were submitted, such as a supercell's; its frames do not say which.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_PAUSE:
            return
        self._looked = now
        try:
            trajectory = self._job.trajectory
            atoms = trajectory[-1] if len(trajectory) else None
        except NanoosError as error:
            log.debug("the atoms of job %s are not known yet: %s", self._job.id, error)
            return
        self._atoms_known = atoms is not None
        if atoms is not None and atoms.get_chemical_symbols() != structure.scene.symbols:
            structure.show(atoms, int(trajectory.steps[-1]))

    def _become(self, change: Callable[[CardModel], CardModel], *, at_once: bool = False) -> None:
        """Change the model, tell the page if that is due, and settle the card of a job that has ended."""
        with self._lock:
            before, self._model = self._model, change(self._model)
            moved = self._model.record.status is not before.record.status
            now = time.monotonic()
            self._due = True
            if at_once or moved or self._budget.may_update(now):
                self._flush(now)
            ended = moved and self._model.record.status.finished
            if ended:
                self._hear_no_more()
        if ended:
            threading.Thread(target=self._settle, name="nanoos_lab-card", daemon=True).start()

    def _flush(self, now: float) -> None:
        """Send the page what has changed since the last time."""
        self._due = False
        self._flush_curve()
        self._flush_log(now)
        self._budget = self._budget.after_send(UPDATE_BYTES, now)
        self._card.send_state("state")

    def _flush_curve(self) -> None:
        step = splice(self._sent, self._model.series)
        same_columns = self._sent.columns == self._model.series.columns
        if step.rows or step.start < len(self._sent.rows):
            self._curve_serial += 1
            self._sent = self._model.series
            if same_columns:
                self._card.send_rows(self._curve_serial, step)
            else:
                self._card.send_state("history")

    def _flush_log(self, now: float) -> None:
        due = now - self._log_time >= LOG_PAUSE or self._model.record.status.finished
        if self._model.log_shown and due and self._model.log is not self._sent_log:
            self._log_time = now
            self._sent_log = self._model.log
            self._card.send_log(self._sent_log)

    def _settle(self) -> None:
        """Show a job that has ended as the store and its files have it."""
        series, lines = _series(self._job), _log_of(self._job)
        steering = _steering(self._job, self._model.record, self._model.steering)
        self._become(
            lambda model: replace(
                model, series=series if series.rows else model.series, steering=steering, log=lines or model.log
            ),
            at_once=True,
        )
        if self._structure is not None:
            self._structure.show(*_newest(self._job))

    def _obey(self, order: Mapping[str, Any]) -> None:
        """Do what the page asks for; an error is shown on the card."""
        try:
            self._carry_out(order)
        except NanoosError as error:
            log.warning("job %s: %s", self._job.id, error)
            notice = str(error)
            self._become(lambda model: replace(model, notice=notice), at_once=True)

    def _carry_out(self, order: Mapping[str, Any]) -> None:
        match order.get("order"):
            case "seen":
                self._page_has_seen(int(order["serial"]))
            case "cancel":
                self._job.cancel()
                self.refresh()
            case "steer":
                self._steer(str(order["name"]), order["value"])
            case "look":
                self.refresh()
            case "history":
                self._card.send_state("history")
            case "structure":
                self._show_structure(bool(order["shown"]))
                self._card.send_state("state")
            case "log":
                self._show_log(bool(order["shown"]))

    def _steer(self, name: str, value: Any) -> None:
        """Have a parameter changed; whatever comes of it is the answer that the page waits for."""
        notice = ""
        try:
            self._job.steer(**{name: value})
        except NanoosError as error:
            notice = str(error)
        self._become(lambda model: replace(model, notice=notice, answers=model.answers + 1))
        self.refresh()

    def _page_has_seen(self, serial: int) -> None:
        """Note that the page keeps up, and send what came too soon after the last update."""
        with self._lock:
            now = time.monotonic()
            self._budget = self._budget.after_ack(serial, now)
            if self._due:
                self._flush(now)

    def _show_structure(self, shown: bool) -> None:
        with self._lock:
            self._model = replace(self._model, structure_shown=shown)
            if shown and self._structure is None:
                from nanoos_lab.widgets.structure import StructureView

                self._structure = StructureView(*_newest(self._job), self._want_frames)
        self.box.children = (self._card, self._structure) if shown else (self._card,)

    def _show_log(self, shown: bool) -> None:
        lines = _log_of(self._job) if shown else ()
        self._log_time = 0.0
        self._become(lambda model: replace(model, log_shown=shown, log=lines or model.log), at_once=True)

    def _want_frames(self, wanted: bool) -> None:
        with self._lock:
            if self._subscription is not None:
                self._subscription.frames = wanted


def _after(model: CardModel, change: Change) -> CardModel:
    if change.record is not None:
        return model.with_record(change.record)
    return model.with_event(change.event) if change.event is not None else model


def _series(job: Job) -> Series:
    """Return the durable thermo as a curve; an empty one before the first row."""
    thermo = job.thermo
    return curve_of(thermo) if len(thermo) else Series()


def _steering(job: Job, record: JobRecord, known: Steering) -> Steering:
    """Return what can be changed of a job, and what was; what is known of it if that cannot be read."""
    if record.status.finished and not record.steerings:
        return known
    try:
        return Steering.of(job.steerable, job.steerings)
    except NanoosError as error:
        # Its engine may not be installed here; the card shows all the rest.
        log.debug("how job %s is steered cannot be read: %s", job.id, error)
        return known


def _log_of(job: Job) -> tuple[str, ...]:
    return tuple(job.log_end().splitlines()[-LOG_LINES:])


def _newest(job: Job) -> tuple[Atoms, int | None]:
    """Return the newest structure that is kept, and its step: the final one, the last frame, or the first structure."""
    trajectory = job.trajectory
    if job.record.status is Status.SUCCEEDED:
        return job.structure, int(trajectory.steps[-1]) if len(trajectory) else None
    if len(trajectory):
        return trajectory[-1], int(trajectory.steps[-1])
    structure = job.request.structure
    if structure is None:
        raise NanoosError("this job has no structure yet")
    return structure.atoms(), None
