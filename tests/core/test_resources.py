"""What a job may use is checked where it is written."""

from __future__ import annotations

import numpy as np
import pytest

from nanoos_lab.core.errors import ParameterError, UnknownNameError
from nanoos_lab.core.resources import Limits, Resources, RetryPolicy


def test_nothing_means_one_core():
    assert Resources.from_any(None) == Resources(ranks=1, threads=1, gpus=0)


def test_a_mapping_and_a_ready_value_are_the_same():
    ready = Resources(ranks=4, threads=2)
    assert Resources.from_any({"ranks": np.int64(4), "threads": 2}) == ready
    assert Resources.from_any(ready) is ready
    assert Resources(**ready.to_json()) == ready


def test_a_number_is_a_number_of_attempts():
    assert RetryPolicy.from_any(5).attempts == 5


def test_an_unknown_field_is_told_with_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        Resources.from_any({"rank": 2})
    assert caught.value.nearest == "ranks"


@pytest.mark.parametrize("ranks", [0, -1, 1.5, "2", True, None, 10**9])
def test_ranks_are_a_positive_integer(ranks):
    with pytest.raises(ParameterError, match="from 1 to") as caught:
        Resources.from_any({"ranks": ranks})
    assert caught.value.field == "resources.ranks"


@pytest.mark.parametrize("attempts", [0, 101, True, "3", [3]])
def test_attempts_are_an_integer_up_to_a_hundred(attempts):
    with pytest.raises(ParameterError):
        RetryPolicy.from_any(attempts)


@pytest.mark.parametrize("seconds", [10**400, 1e300, -1, True, "60", np.arange(3), np.float64("nan"), float("inf")])
def test_a_limit_is_a_number_that_a_clock_can_be_told(seconds):
    with pytest.raises(ParameterError, match=r"> 0 s and ≤ 1,000,000,000 s") as caught:
        Limits.from_any({"hard": seconds})
    assert caught.value.field == "limits.hard"


def test_numpys_numbers_are_numbers_of_attempts_and_of_seconds():
    assert RetryPolicy.from_any(np.int64(5)).attempts == 5
    assert Limits.from_any({"hard": np.array(60.0)}) == Limits(hard=60.0)
