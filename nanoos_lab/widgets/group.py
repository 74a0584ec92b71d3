"""The live overview of a group: what binds the group, the lab's one listener thread, and the widget together."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import JobNotFoundError, NanoosError
from nanoos_lab.widgets.budget import Budget
from nanoos_lab.widgets.card import Sheet
from nanoos_lab.widgets.modules import STATIC, joined
from nanoos_lab.widgets.overview import ROWS, OverviewModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nanoos_lab.lab.group import Group
    from nanoos_lab.lab.watch import Poll

log = logging.getLogger(__name__)

#: Seconds between two looks at the store: two short questions, whatever the number of jobs.
PAUSE = 1.0
#: Size of an update in bytes, as the budget counts it.
UPDATE_BYTES = 5_000


class GroupSheet(Sheet):
    """One overview; any number of views of it may be on any number of pages."""

    _esm = joined("group.js")
    _css = "\n".join((STATIC / name).read_text(encoding="utf-8") for name in ("card.css", "group.css"))


class LiveGroup:
    """The overview of one group in this kernel, whatever the number of its views.

    It looks until all jobs have ended or the widget is closed: in the listener thread of the lab, and where an order of
    the page is obeyed.

    Parameters
    ----------
    group
        Which group.
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        #: Held for what takes no time, and for a look at the store.
        self._lock, self._looking = threading.RLock(), threading.Lock()
        self._budget = Budget()
        self._poll: Poll | None = None
        self._model = OverviewModel.of(group, time.monotonic())
        self.box = GroupSheet(self, self._obey)
        self.box.comm.on_close(lambda _message: self.close())
        self._follow()

    def refresh(self) -> None:
        """Look again, as when the group is evaluated in another cell; go on looking if it has come back to life."""
        self._look()
        self._follow()

    def close(self) -> None:
        """Take the overview from all pages, and look no more."""
        self._rest()
        self.box.close()

    def state(self) -> Mapping[str, Any]:
        """Return the `OverviewState` of static/overview.js."""
        with self._lock:
            return {**self._model.to_json(), "serial": self._budget.sent}

    def _follow(self) -> None:
        with self._lock:
            if self._poll is None and not self._model.summary.done:
                self._poll = self._group.lab.watch.every(PAUSE, self._look_if_due)

    def _rest(self) -> None:
        with self._lock:
            if self._poll is not None:
                self._poll.close()
                self._poll = None

    def _look_if_due(self) -> None:
        """Look, unless the page has not answered for so long that this would be too often."""
        if not self._budget.may_update(time.monotonic()):
            return
        try:
            self._look()
        except JobNotFoundError as error:
            # Somebody has deleted some of them.
            self._rest()
            self._notify(str(error))

    def _look(self) -> None:
        """Ask the store, and tell the page what is new."""
        # One look after the other: the older of two must not be shown last.
        with self._looking:
            summary, rows = self._group.summary, self._group.foremost(ROWS)
            self._become(lambda model: model.after(summary, rows, time.monotonic()))
            if summary.done:
                self._rest()

    def _become(self, change: Callable[[OverviewModel], OverviewModel]) -> None:
        """Change the model, and send what is then to be seen."""
        with self._lock:
            before, self._model = self._model, change(self._model)
            if self._model.differs(before):
                self._budget = self._budget.after_send(UPDATE_BYTES, time.monotonic())
                self.box.send_state("state")

    def _notify(self, notice: str) -> None:
        self._become(lambda model: replace(model, notice=notice))

    def _obey(self, order: Mapping[str, Any]) -> None:
        """Do what the page asks for; an error is shown."""
        match order.get("order"):
            case "seen":
                with self._lock:
                    self._budget = self._budget.after_ack(int(order["serial"]), time.monotonic())
            case "cancel":
                self._cancel()

    def _cancel(self) -> None:
        notice = ""
        try:
            self._group.cancel()
            self.refresh()
        except NanoosError as error:
            log.warning("the group was not cancelled: %s", error)
            notice = str(error)
        self._notify(notice)
