"""When an SCF cycle is given up: late rather than wrongly."""

from __future__ import annotations

import pytest

from nanoos_lab.engines import scf

#: Errors in Ry of a cycle of pw.x 6.7 that converges: three layers of iron with moments, mixing_beta 0.3.
SLAB_OF_IRON = [
    1.08, 3.72, 6.13, 0.0326, 0.0881, 0.0766, 0.0165, 0.0138, 0.00217, 0.00278, 0.00247, 0.00575, 0.00251,
    0.000977, 0.000853, 0.000785, 0.000896, 0.000853, 0.00181, 0.000119, 4.92e-05, 3.21e-05, 2.04e-05, 5.97e-06,
    5.62e-06, 1e-07, 0.0175, 0.0176, 0.0176, 0.0176, 0.0177, 0.0176, 0.0177, 0.0177, 0.0177, 0.03, 0.00933,
    0.00598, 0.00115, 0.0129, 0.00985, 0.00194, 0.0018, 0.000223, 0.0187, 0.0102, 0.0144, 0.0147, 0.0143,
    0.0134, 0.0164, 0.019, 0.0158, 0.00303, 0.000417, 6.06e-05, 4.4e-05, 4.28e-06, 2.43e-06, 1.7e-07, 8.2e-07,
    2e-08, 3e-08, 9.9e-10,
]  # fmt: skip
#: Of one that does not: five layers of aluminium without mixing of earlier densities, mixing_beta 1.
SLAB_OF_ALUMINIUM = [
    1.26, 162, 6.37, 110, 14, 257, 63.5, 249, 60, 359, 74.8, 241, 38.2, 334, 77.3, 256, 51.5, 349, 70.7, 243,
    44.7, 349, 78.4, 253, 47.6, 349, 73.6, 248, 47, 352, 76.7, 251, 47.2, 352, 74.8, 249, 47.6, 354, 76.2, 250,
]  # fmt: skip
#: Below all errors here.
TINY = 1e-12


def given_up_at(errors: list[float], *, most: int = 100, small: float = TINY) -> int | None:
    """Return the iteration at which a cycle is given up."""
    found = (at for at in range(len(errors) + 1) if scf.hopeless(errors[:at], most=most, small=small))
    return next(found, None)


def test_a_cycle_that_converges_late_is_not_given_up() -> None:
    assert given_up_at(SLAB_OF_IRON) is None
    assert given_up_at([10 * error for error in SLAB_OF_IRON], most=20) is None


@pytest.mark.parametrize("factor", [0.7, 0.9, 0.97])
def test_a_cycle_whose_error_falls_is_not_given_up_however_lucky_its_start_was(factor: float) -> None:
    assert given_up_at([1e-6, *[factor**k for k in range(1000)]]) is None


def test_a_cycle_that_diverges_is_given_up_early() -> None:
    assert given_up_at(SLAB_OF_ALUMINIUM) == scf.SHORT + 1
    assert given_up_at(SLAB_OF_ALUMINIUM, most=140) == 36
    assert given_up_at(SLAB_OF_ALUMINIUM, most=400) is None


def test_a_cycle_that_stands_still_is_given_up_once_it_has_had_most_of_its_iterations() -> None:
    falling = [10.0**-k for k in range(5)]
    assert given_up_at([*falling, *[1e-3] * 95]) == 5 + scf.PATIENCE
    assert given_up_at([*falling, *[1e-3, 1e-2] * 48]) == 5 + scf.PATIENCE
    assert given_up_at([*falling, *[1e-3] * 995], most=1000) == 5 + 600
    assert given_up_at([*falling, *[1e-3] * 59, 1e-5, *[1e-3] * 40]) is None


def test_a_cycle_that_has_come_near_its_end_is_left_alone() -> None:
    errors = [1.0, 1e-7, *[2.0] * 98]
    assert given_up_at(errors, small=1e-8) is not None
    assert given_up_at(errors, small=1e-6) is None


def test_errors_that_are_no_numbers_or_none_at_all_say_nothing() -> None:
    assert scf.hopeless([], most=100, small=TINY) is None
    assert given_up_at([1.0, *[float("nan")] * 99]) is None
    assert given_up_at([0.0] * 100) is None
