"""The widget of a job card: it carries values to static/card.js and orders back, and decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import anywidget
import numpy as np
import traitlets

from nanoos_lab.widgets.comms import answer_in_subshell
from nanoos_lab.widgets.modules import STATIC, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nanoos_lab.widgets.series import Row, Series, Splice


class CardSource(Protocol):
    """What a card asks when a page wants to know the whole of it."""

    def state(self) -> Mapping[str, Any]:
        """Return the `CardState` of static/card.js."""

    def history(self) -> tuple[int, Series]:
        """Return the curve as it was last sent, and the serial number of what made it so."""


def _state(_value: object, card: JobCard) -> dict[str, Any]:
    return dict(card.source.state())


def _history(_value: object, card: JobCard) -> dict[str, Any]:
    serial, series = card.source.history()
    columns = [{"name": column.name, "unit": column.unit} for column in series.columns]
    return {"serial": serial, "columns": columns, "rows": _packed(series.rows)}


class JobCard(anywidget.AnyWidget):
    """One job card; any number of views of it may be on any number of pages.

    The traits hold nothing: they are computed from the source whenever a page asks, so that a page which comes late or
    is reloaded begins with the present.
    """

    _esm = joined("job.js")
    _css = (STATIC / "card.css").read_text(encoding="utf-8")
    state = traitlets.Any().tag(sync=True, to_json=_state)
    history = traitlets.Any().tag(sync=True, to_json=_history)

    def __init__(self, source: CardSource, on_order: Callable[[Mapping[str, Any]], None]) -> None:
        self.source = source
        super().__init__()
        answer_in_subshell(self.comm)
        self.on_msg(lambda _widget, content, _buffers: on_order(content))

    def send_rows(self, serial: int, splice: Splice) -> None:
        """Send how the curve has changed."""
        message = {"kind": "rows", "serial": serial, "start": splice.start}
        self.send(message, buffers=[_packed(splice.rows)])

    def send_log(self, lines: Sequence[str]) -> None:
        """Send the newest lines of the log."""
        self.send({"kind": "log", "lines": list(lines)})


def _packed(rows: Sequence[Row]) -> bytes:
    return np.array(rows, dtype="<f8").tobytes()
