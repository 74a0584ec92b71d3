"""What engines compute agrees with the literature, with the programs run by hand, and with recordings of VASP."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from nanoos_lab.engines import registry
from tests.correctness import vasp_recorded
from tests.correctness.checks import checks
from tests.correctness.table import Quantity, as_printed, table_of

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.lab.lab import Lab


@pytest.mark.timeout(600)
def test_every_quantity_agrees(lab: Lab) -> None:
    quantities = [one for collect in checks(lab) for one in collect()]
    assert len(quantities) >= 30
    assert len({(one.engine, one.name, one.source) for one in quantities}) == len(quantities)
    recorded = set() if vasp_recorded.missing() else {"vasp"}
    there = {name for name in ("chgnet", "gpaw") if registry.found(name).found}
    assert {one.engine for one in quantities} == {"ase", "lammps", "espresso", "tblite"} | there | recorded
    wrong = [one for one in quantities if not one.agrees]
    assert not wrong, table_of(wrong)


def test_where_recordings_are_missing_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOOS_VASP_DATA", str(tmp_path))
    assert vasp_recorded.missing().endswith(f"neither beside the project nor where NANOOS_VASP_DATA says: {tmp_path}")


@pytest.mark.parametrize(("said", "tolerance"), [("-1.50", 0.01), ("3.541E+02", 0.1), ("-.65E+01", 0.1), ("7", 1.0)])
def test_a_printed_number_holds_to_its_last_digit(said: str, tolerance: float) -> None:
    one = partial(Quantity, engine="any", name="number", unit="kB", source="here")
    near, far = (as_printed(one, (float(said) + off * tolerance) / 10, said, 0.1) for off in (0.9, 1.1))
    assert near.tolerance == pytest.approx(tolerance / 10)
    assert (near.agrees, far.agrees) == (True, False)
