"""The outcome of an attempt on disk: it waits there while the store is away, and the next attempt can adopt it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from nanoos_lab.core.record import Usage
from nanoos_lab.store.files import write_durably
from nanoos_lab.store.results import ARRAYS, RESULTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

OUTCOME = "outcome.json"


@dataclass(frozen=True, kw_only=True)
class Success:
    """What the store is told of an attempt that has succeeded."""

    #: Last step.
    step: int
    #: Steps in all, if known.
    total: int | None
    #: Scalar results.
    scalars: Mapping[str, float | int | str | bool]
    #: What made the results.
    provenance: Mapping[str, Any]
    #: What the attempt used.
    usage: Usage
    #: The steps at which it has applied steerings: their numbers and the steps.
    steered: tuple[tuple[int, int], ...] = ()

    def write(self, directory: Path) -> None:
        """Write it beside the results of the attempt, which are there already."""
        write_durably(directory / OUTCOME, json.dumps(asdict(self), default=str).encode())

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read what `write` wrote.

        Raises
        ------
        FileNotFoundError
            If nothing waits there.
        ValueError
            If it is damaged.
        """
        values = json.loads((directory / OUTCOME).read_bytes())
        try:
            return cls(**{**values, "usage": Usage(**values["usage"])})
        except (TypeError, KeyError) as error:
            raise ValueError(f"{directory / OUTCOME} is damaged") from error


def adopt(directory: Path, earlier: Sequence[Path]) -> Success | None:
    """Take over the results of an earlier attempt whose outcome the store never heard of.

    Parameters
    ----------
    directory
        The new attempt's own.
    earlier
        The directories of the earlier attempts, the last last.
    """
    for place in reversed(earlier):
        try:
            success = Success.read(place)
            data = (place / RESULTS).read_bytes()
            arrays = (place / ARRAYS).read_bytes() if (place / ARRAYS).exists() else None
        except (OSError, ValueError):
            continue
        if arrays is not None:
            write_durably(directory / ARRAYS, arrays)
        write_durably(directory / RESULTS, data)
        return success
    return None
