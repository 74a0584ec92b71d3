"""Arrays on disk index as NumPy's do, and read no more than they must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoos_lab.store import FrameArray

WHOLE = np.arange(5 * 4 * 3, dtype=float).reshape(5, 4, 3)


class Recording:
    """Reads from memory and remembers how many atoms of which frames were asked for."""

    def __init__(self) -> None:
        self.reads: list[tuple[int, int]] = []

    def __call__(self, frame: int, start: int, stop: int) -> np.ndarray:
        self.reads.append((frame, stop - start))
        return WHOLE[frame, start:stop].copy()


def lazy() -> FrameArray:
    return FrameArray(5, 4, Recording(), unit="Å")


def parts(size: int) -> st.SearchStrategy[object]:
    return st.integers(-size, size - 1) | st.slices(size)


@given(st.tuples(parts(5), parts(4), parts(3)), st.integers(0, 3))
def test_numbers_and_slices_pick_what_numpy_picks(key: tuple[object, ...], length: int) -> None:
    assert np.array_equal(lazy()[key[:length]], WHOLE[key[:length]])


@pytest.mark.parametrize(
    "key",
    [
        3,
        -1,
        np.int64(2),
        ...,
        (..., 2),
        (1, ..., 0),
        [0, 3],
        np.array([True, False, True, False, True]),
        ([0, 3], 1),
        (slice(None), [0, 2]),
        (slice(1, 3), np.array([True, False, False, True])),
        (2, [1, 3], 0),
        (slice(None), slice(None, None, 2)),
    ],
)
def test_lists_masks_and_dots_pick_what_numpy_picks(key: object) -> None:
    assert np.array_equal(lazy()[key], WHOLE[key])


@pytest.mark.parametrize("key", [5, (0, 4), (0, 0, 3), (0, 0, 0, 0), None, (..., ...), ([0], [0]), [[0]]])
def test_what_cannot_be_picked_is_an_index_error(key: object) -> None:
    with pytest.raises(IndexError):
        lazy()[key]


def test_only_what_is_asked_for_is_read() -> None:
    read = Recording()
    array = FrameArray(5, 4, read, unit="Å")
    array[1]
    array[2, 3]
    array[3:5, 1:3]
    assert read.reads == [(1, 4), (2, 1), (3, 2), (4, 2)]


def test_the_whole_becomes_an_array_when_numpy_asks() -> None:
    assert np.array_equal(np.asarray(lazy()), WHOLE)
    assert np.asarray(lazy(), dtype="f4").dtype == np.float32
    assert np.mean(lazy()) == WHOLE.mean()
    assert np.array_equal(list(lazy()), WHOLE)
    with pytest.raises(ValueError, match="copy"):
        np.asarray(lazy(), copy=False)


def test_it_says_what_it_is() -> None:
    assert (len(lazy()), lazy().shape, lazy().ndim, lazy().dtype) == (5, (5, 4, 3), 3, np.float64)
    assert repr(lazy()) == "<5×4×3 array on disk, 0.00048 MB, Å>"
