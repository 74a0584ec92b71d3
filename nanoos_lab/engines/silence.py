"""For how long a run, or the program that it has started, may say nothing until it counts as stuck."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from typing import Any

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.parameters import field
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.program import variable

#: Seconds without a word after which a run counts as stuck unless somebody says otherwise. An iteration of the
#: SCF cycle of a large cell may take an hour, with exact exchange some; custodian waits as long for VASP.
SILENCE = 6 * 3600.0


def silence_field() -> Any:
    """Declare the parameter of a task that `patience` is given."""
    return field(
        None,
        unit="s",
        ge=0,
        le=1e7,
        doc="time without a word after which the run is stopped as stuck, 0 for never; unless given that of the "
        f"worker's NANOOS_SILENCE, or else {SILENCE / 3600:g} h",
    )


def patience(given: float | None = None, *, least: float = 0.0) -> float:
    """Return after how many seconds without a word a run or a program counts as stuck; infinity for never.

    Parameters
    ----------
    given
        What the user says, 0 for never; None: the variable ``NANOOS_SILENCE``, or else `SILENCE`.
    least
        Seconds that it may well take to say something, which nobody is kept from by a limit that is not `given`.

    Raises
    ------
    EngineError
        If the variable is no number of seconds.
    """
    usual = _usual() if given is None else 0.0
    return max(usual, least) if usual else given or math.inf


def _usual() -> float:
    name = variable("silence")
    with suppress(ValueError):
        seconds = float(os.environ.get(name) or SILENCE)
        if 0 <= seconds < math.inf:
            return seconds
    raise EngineError(
        f"{name} is {os.environ[name]!r}, not a number of seconds",
        reason=Reason.RESOURCE,
        remedy="On the worker's host, set it to seconds without a word after which a run counts as stuck, 0 for "
        "never, or unset it.",
    )
