"""What engines compute agrees with the literature, and with the programs run by hand."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.correctness.checks import checks
from tests.correctness.table import Quantity, as_printed, table_of

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab


@pytest.mark.timeout(600)
def test_every_quantity_agrees(lab: Lab) -> None:
    quantities = [one for collect in checks(lab) for one in collect()]
    assert len(quantities) >= 30
    assert len({(one.engine, one.name, one.source) for one in quantities}) == len(quantities)
    assert {one.engine for one in quantities} == {"ase", "lammps", "espresso", "tblite"}
    wrong = [one for one in quantities if not one.agrees]
    assert not wrong, table_of(wrong)


@pytest.mark.parametrize(("said", "tolerance"), [("-1.50", 0.01), ("3.541E+02", 0.1), ("-.65E+01", 0.1), ("7", 1.0)])
def test_a_printed_number_holds_to_its_last_digit(said: str, tolerance: float) -> None:
    one = partial(Quantity, engine="any", name="number", unit="kB", source="here")
    near, far = (as_printed(one, (float(said) + off * tolerance) / 10, said, 0.1) for off in (0.9, 1.1))
    assert near.tolerance == pytest.approx(tolerance / 10)
    assert (near.agrees, far.agrees) == (True, False)
