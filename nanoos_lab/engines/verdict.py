"""The verdict on a run that has ended well: all that was to converge has converged, or what has not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.core.record import CAVEAT

if TYPE_CHECKING:
    from nanoos_lab.engines.base import RunContext


def verdict(context: RunContext, *caveats: str) -> dict[str, Any]:
    """Return the properties of the results that say so: ``converged``, and ``caveat`` where it is False.

    Parameters
    ----------
    context
        Its log is told of what has not converged, too.
    caveats
        What has not converged, and how far it is from that; one sentence each, without a full stop.
    """
    for caveat in caveats:
        context.log(f"warning: {caveat}")
    return {"converged": not caveats, **({CAVEAT: "; ".join(caveats)} if caveats else {})}
