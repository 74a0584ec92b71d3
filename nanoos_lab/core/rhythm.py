"""How often a run says how far it is while nobody watches: by its age, since what is old changes slowly."""

from __future__ import annotations

#: Seconds between two reports, at least and at most; in between, this part of the time that the run has lasted. So a
#: bar moves by some steps whatever the length of the run, and one of hours is hardly ever disturbed.
SHORTEST, LONGEST, PART = 1.0, 5.0, 0.1


def unwatched_interval(age: float) -> float:
    """Return the seconds until a run that nobody watches should say again how far it is.

    Parameters
    ----------
    age
        Seconds for which it has lasted.
    """
    return min(max(SHORTEST, PART * age), LONGEST)
