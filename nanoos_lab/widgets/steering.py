"""What of a job a card lets a person steer, and how it was steered, as a frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from nanoos_lab.core.status import Status

if TYPE_CHECKING:
    import pandas as pd

    from nanoos_lab.core.record import JobRecord


@dataclass(frozen=True, kw_only=True)
class Steering:
    """The parameters of a job that can be changed on its way, and the changes so far."""

    #: Name, value that holds in the end (None for none), and unit of each number that can be changed.
    controls: tuple[tuple[str, float | None, str], ...] = ()
    #: The changes in order: the step from which each holds (None until it was applied), and its words.
    changes: tuple[tuple[int | None, str], ...] = ()

    @classmethod
    def of(cls, steerable: pd.DataFrame, steerings: pd.DataFrame) -> Self:
        """Read `Job.steerable` and `Job.steerings`."""
        controls = tuple(
            (str(name), value, str(unit))
            for name, value, unit in zip(steerable.index, steerable["value"], steerable["unit"], strict=True)
            if _is_number(value) or value is None
        )
        units = {name: unit for name, _, unit in controls}
        steps = [None if missing else int(step) for step, missing in _steps(steerings)]
        words = [", ".join(_words(name, value, units) for name, value in one.items()) for one in steerings["changes"]]
        return cls(controls=controls, changes=tuple(zip(steps, words, strict=True)))

    def lags(self, record: JobRecord) -> bool:
        """Whether the store may know more: of another change, or of the step of one that has none yet."""
        awaits = record.status is Status.RUNNING and any(step is None for step, _ in self.changes)
        return awaits or len(self.changes) != record.steerings

    @property
    def newest(self) -> str:
        """The newest change in words; empty if there was none."""
        if not self.changes:
            return ""
        step, words = self.changes[-1]
        return f"{words}, " + ("from the next halt of the run on" if step is None else f"from step {step:,} on")

    def to_json(self, record: JobRecord) -> dict[str, Any]:
        """Return what static/steering.js and the marks of the plot show; nothing can be changed of a job that ends."""
        ending = record.status.finished or record.cancel_requested is not None
        return {
            "controls": [] if ending else [list(one) for one in self.controls],
            "marks": [[step, words] for step, words in self.changes if step is not None],
        }


def _steps(steerings: pd.DataFrame) -> zip[tuple[Any, bool]]:
    return zip(steerings["step"], steerings["step"].isna(), strict=True)


def _words(name: str, value: Any, units: dict[str, str]) -> str:
    text = f"{value:g}" if _is_number(value) else str(value)
    return " ".join(part for part in (name.replace("_", " "), text, units.get(name, "")) if part)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
