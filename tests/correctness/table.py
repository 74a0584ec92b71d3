"""A table of what engines compute, each beside a value from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One computed number and what it should be."""

    #: Name of the engine.
    engine: str
    #: What it is.
    name: str
    #: The number, through a job, a run or a reader of ours.
    value: float
    #: What it should be.
    reference: float
    #: By how much the two may differ.
    tolerance: float
    #: Unit of all three.
    unit: str
    #: Where the reference is from.
    source: str

    @property
    def agrees(self) -> bool:
        """Whether the number is what it should be."""
        return abs(self.value - self.reference) <= self.tolerance


def as_printed(one: Callable[..., Quantity], value: float, said: str, factor: float = 1.0, **more: str) -> Quantity:
    """Return a quantity whose reference is a number that a program has printed: it holds to the last digit.

    Parameters
    ----------
    one
        Makes the quantity, of what is not given here.
    value
        The number through ours.
    said
        What was printed.
    factor
        The unit of what was printed in that of `value`.
    **more
        The rest of the quantity.
    """
    exponent = Decimal(said).as_tuple().exponent
    assert isinstance(exponent, int), said
    return one(value=float(value), reference=float(said) * factor, tolerance=10.0**exponent * abs(factor), **more)


def table_of(quantities: Sequence[Quantity]) -> Table:
    """Return the table for people."""
    from rich.table import Table

    table = Table(title=f"{len(quantities)} quantities", title_justify="left")
    for heading in ("engine", "quantity"):
        table.add_column(heading)
    for heading in ("value", "reference", "tolerance"):
        table.add_column(heading, justify="right")
    for heading in ("unit", "agrees", "source"):
        table.add_column(heading)
    for one in quantities:
        numbers = (f"{one.value:.10g}", f"{one.reference:.10g}", f"{one.tolerance:.2g}")
        verdict = "[green]yes[/]" if one.agrees else "[red]no[/]"
        table.add_row(one.engine, one.name, *numbers, one.unit, verdict, one.source)
    return table
