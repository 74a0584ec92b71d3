"""Names that a user chooses from some that are allowed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Collection


def one_of(field: str, value: Any, allowed: Collection[str]) -> str:
    """Return a name if it is allowed.

    Raises
    ------
    UnknownNameError
        If it is not, or no text.
    """
    if not isinstance(value, str) or value not in allowed:
        raise UnknownNameError(field, value, [str(name) for name in allowed])
    return value


def some_of(field: str, values: Any, allowed: Collection[str]) -> tuple[str, ...]:
    """Return names, of which one may be given as it is, if all are allowed.

    Raises
    ------
    UnknownNameError
        If one is not, or no text.
    """
    several = values if isinstance(values, Iterable) and not isinstance(values, str) else [values]
    return tuple(one_of(field, value, allowed) for value in several)
