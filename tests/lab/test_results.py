"""The results of a job as a mapping."""

from __future__ import annotations

import numpy as np
import pytest

from nanoos_lab.core.errors import NanoosError, UnknownResultError
from nanoos_lab.lab.results import ResultsView

RESULTS = ResultsView({"energy": -3.5, "forces": np.zeros((8, 3)), "scf_iterations": 9, "orbital": "d"})


def test_a_result_that_there_is_not_is_told_with_the_nearest_and_with_all_that_there_are() -> None:
    with pytest.raises(KeyError) as caught:
        _ = RESULTS["enrgy"]
    assert isinstance(caught.value, NanoosError)
    assert str(caught.value) == (
        "unknown result 'enrgy'. Did you mean 'energy'? There are: energy, forces, orbital, scf_iterations."
    )
    with pytest.raises(UnknownResultError, match=r"unknown result 'energy'\. There are: none\."):
        _ = ResultsView({})["energy"]


def test_values_are_shown_with_units_which_pure_numbers_and_texts_have_none_of() -> None:
    assert repr(ResultsView({"gap": 1.1, **RESULTS}, {"gap": "eV"})).splitlines() == [
        *("<Results", "  gap = 1.1 eV", "  energy = -3.5 eV", "  forces = array of shape (8, 3) eV/Å"),
        *("  scf_iterations = 9", "  orbital = 'd'", ">"),
    ]


def test_it_is_still_a_mapping() -> None:
    assert "enrgy" not in RESULTS
    assert RESULTS.get("enrgy", 0.0) == 0.0
    assert dict(RESULTS)["energy"] == -3.5
