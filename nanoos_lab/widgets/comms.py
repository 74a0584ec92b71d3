"""Let a card's buttons work while a cell computes, where the kernel and the front end can.

JupyterLab sends widget messages to a subshell, a thread of the kernel beside the one that runs cells. ipykernel 7.4
sends them back to the thread that last published through the comm, as its attribute `_reply_subshell_for` says: for a
comm that also publishes from a listener thread that is the busy main thread. Our callbacks are thread-safe and
answer no one, so we put the front end's choice back. Kernels and front ends without subshells run the callbacks when
the cell has ended, and the card says so.
"""

from __future__ import annotations

from typing import Any


def answer_in_subshell(comm: Any) -> None:
    """Have `comm`'s messages handled in the subshell to which the front end addressed them."""
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = _as_addressed


def _as_addressed(_data: object, subshell_id: str | None) -> str | None:
    return subshell_id
