"""What engines compute agrees with the literature, and with the programs run by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.correctness.checks import checks
from tests.correctness.table import table_of

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab


@pytest.mark.timeout(600)
def test_every_quantity_agrees(lab: Lab) -> None:
    quantities = [one for collect in checks(lab) for one in collect()]
    assert len(quantities) >= 30
    assert len({(one.engine, one.name, one.source) for one in quantities}) == len(quantities)
    wrong = [one for one in quantities if not one.agrees]
    assert not wrong, table_of(wrong)
