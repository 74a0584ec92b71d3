"""The verdict on a run that has ended well: all that was to converge has converged, or what has not. Pure."""

from __future__ import annotations

from typing import Any

from nanoos_lab.core.record import CAVEAT


def verdict(*caveats: str) -> dict[str, Any]:
    """Return the properties of the results that say so: ``converged``, and ``caveat`` where it is False.

    Parameters
    ----------
    caveats
        What has not converged, and how far it is from that; one sentence each, without a full stop.
    """
    return {"converged": not caveats, **({CAVEAT: "; ".join(caveats)} if caveats else {})}
