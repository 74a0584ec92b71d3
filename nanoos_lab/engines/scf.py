"""When an SCF cycle is given up, by what its error has been after each iteration; pure.

To stop a cycle that would have converged is worse than to stop a hopeless one late, which ends by itself once it has
made all iterations that it may make. A cycle that goes well may stay above an early low for long: little mixing makes
its error fall slowly, and moments that turn over raise it. One of a slab of iron in pw.x fell to 1e-7 Ry, stood at
0.018 Ry for nine iterations, found its next low 35 iterations after the last one, and converged. So one is given up if

- it **diverges**: in each of its last iterations, a quarter of all that it may make but at least `SHORT`, the error was
  above that of the first one, which began with a density made of atoms;
- or it **stands still**, or oscillates: its error has found no new low in 60 % of all iterations, at least `PATIENCE`;

and in either case only if it was **not falling** meanwhile: the second half of that time was no better, on the average,
than the first. One whose low is below what the program calls small is left alone.
"""

from __future__ import annotations

import math
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Iterations, and share of all that may be made, in which a cycle is worse than its beginning.
SHORT, _SHORT_SHARE = 25, 0.25
#: Iterations, and share of all that may be made, in which it finds no new low.
PATIENCE, _PATIENT_SHARE = 60, 0.6
#: By how much less, on the average of its logarithm, the error of a cycle that is falling is in the second half.
_FALL = math.log(1.25)


def hopeless(errors: Sequence[float], *, most: int, small: float) -> str | None:
    """Say why a cycle will not converge; None if it still may.

    Parameters
    ----------
    errors
        Its error after each iteration, ≥ 0, in any unit of energy.
    most
        Iterations that it may make.
    small
        The error, in the same unit, below which a low shows that it gets somewhere.
    """
    if not errors or min(errors) <= small:
        return None
    short, patience = max(SHORT, int(_SHORT_SHARE * most)), max(PATIENCE, int(_PATIENT_SHARE * most))
    if _above(errors, short, errors[0]):
        return f"it diverges: for {short} iterations its error has been larger than after the first one"
    if _above(errors, patience, min(errors[:-patience], default=math.inf)):
        return f"it oscillates or stands still: for {patience} iterations its error has found no new low"
    return None


def _above(errors: Sequence[float], count: int, limit: float) -> bool:
    """Whether the last so many errors, which the first is none of, were above a limit and did not fall."""
    return len(errors) > count and min(errors[-count:]) > limit and not _falls(errors[-count:])


def _falls(errors: Sequence[float]) -> bool:
    """Whether the second half is better than the first."""
    logarithms = [math.log(error) for error in errors]
    half = len(logarithms) // 2
    return fmean(logarithms[:half]) - fmean(logarithms[-half:]) > _FALL
