"""The widgets that show jobs: they carry values to JavaScript and orders back, and decide nothing."""

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


class Source(Protocol):
    """What a widget asks when a page wants to know the whole of it."""

    def state(self) -> Mapping[str, Any]:
        """Return the plain state that its JavaScript shows."""


class CardSource(Source, Protocol):
    """What a card asks when a page wants to know the whole of it."""

    def history(self) -> tuple[int, Series]:
        """Return the curve as it was last sent, and the serial number of what made it so."""


def _state(_value: object, sheet: Sheet) -> dict[str, Any]:
    return dict(sheet.source.state())


def _history(_value: object, card: JobCard) -> dict[str, Any]:
    serial, series = card.source.history()
    columns = [{"name": column.name, "unit": column.unit} for column in series.columns]
    return {"serial": serial, "columns": columns, "rows": _packed(series.rows)}


class Sheet(anywidget.AnyWidget):
    """A widget that shows a plain state and brings orders back; any number of views may be on any number of pages.

    The traits hold nothing: they are computed from the source whenever a page asks, so that a page which comes late or
    is reloaded begins with the present.
    """

    source: Any
    state = traitlets.Any().tag(sync=True, to_json=_state)

    def __init__(self, source: Source, on_order: Callable[[Mapping[str, Any]], None]) -> None:
        self.source = source
        super().__init__()
        answer_in_subshell(self.comm)
        self.on_msg(lambda _widget, content, _buffers: on_order(content))


class JobCard(Sheet):
    """One job card."""

    source: CardSource
    _esm = joined("job.js")
    _css = (STATIC / "card.css").read_text(encoding="utf-8")
    history = traitlets.Any().tag(sync=True, to_json=_history)

    def send_rows(self, serial: int, splice: Splice) -> None:
        """Send how the curve has changed."""
        message = {"kind": "rows", "serial": serial, "start": splice.start}
        self.send(message, buffers=[_packed(splice.rows)])

    def send_log(self, lines: Sequence[str]) -> None:
        """Send the newest lines of the log."""
        self.send({"kind": "log", "lines": list(lines)})


def _packed(rows: Sequence[Row]) -> bytes:
    return np.array(rows, dtype="<f8").tobytes()
