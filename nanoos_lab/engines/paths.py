"""Paths that users name."""

from __future__ import annotations

from pathlib import Path

from nanoos_lab.core.errors import ParameterError


def users_path(name: str, parameter: str) -> Path:
    """Return the path of that name, with the user's home for ``~``; whether something is there is not asked.

    Raises
    ------
    ParameterError
        If nothing can be there: a name that is too long, or the home of a user who is not known.
    """
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError):
        raise ParameterError(parameter, name, "a path that can exist here") from None
    return path
