"""How CHGNet fails."""

from __future__ import annotations

from nanoos_lab.core.status import Reason
from nanoos_lab.engines.signatures import Signature

FAILURES = (
    Signature(
        name="isolated",
        pattern=r"isolated atoms?",
        reason=Reason.INPUT,
        meaning="The model says nothing of atoms that have no neighbour within 6 Å",
        remedy="Use a smaller cell or another engine; in a run, atoms may have flown away: use a shorter time step.",
    ),
    Signature(
        name="no device",
        pattern=r"(?i:found no nvidia driver|no cuda gpus are available|not compiled with cuda)",
        reason=Reason.RESOURCE,
        meaning="There is no graphics processor that torch could use",
        remedy="Leave out resources={'gpus': …}, or send the job to a worker that has one.",
    ),
    Signature(
        name="device memory",
        pattern=r"(?i:cuda out of memory)",
        reason=Reason.MEMORY,
        meaning="The graphics processor has too little memory",
        remedy="Use a smaller cell, or leave out resources={'gpus': …}.",
    ),
)
