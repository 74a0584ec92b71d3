"""An array that lies on disk, frame by frame, and is read only where it is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class FrameArray:
    """Vectors of every atom in every frame, shape (frames, atoms, 3); indexes like an array, reads what is asked for.

    Parameters
    ----------
    frames, atoms
        The shape.
    read
        Reads the vectors of atoms [start, stop) of a frame: ``read(frame, start, stop)``, shape (stop − start, 3).
    unit
        Unit of the values.
    """

    dtype = np.dtype("<f8")
    ndim = 3

    def __init__(
        self, frames: int, atoms: int, read: Callable[[int, int, int], np.ndarray[Any, Any]], *, unit: str
    ) -> None:
        self.shape = (frames, atoms, 3)
        self.unit = unit
        self._read = read

    @property
    def nbytes(self) -> int:
        """Size in bytes if it were all in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """Return what NumPy would, for ``[i]``, ``[a:b]``, ``[i, j]``, ``[:, j]``, ``[..., 2]``, lists and masks."""
        first, atoms, *rest = _three(key)
        frames = np.arange(self.shape[0])[first]
        start, stop, inner = self._span(atoms)
        if frames.ndim == 0:
            return self._read(int(frames), start, stop)[(inner, *rest)]
        if frames.ndim > 1:
            raise IndexError("frames are picked by a number, a slice, or a list or mask of one dimension")
        if isinstance(atoms, (list, np.ndarray)) and not isinstance(first, slice):
            raise IndexError("pick frames or atoms by a list, not both at once; np.asarray() gives a whole array")
        example = np.empty((stop - start, 3))[(inner, *rest)]
        found = np.empty((len(frames), *example.shape))
        for place, frame in enumerate(frames):
            found[place] = self._read(int(frame), start, stop)[(inner, *rest)]
        return found

    def __iter__(self) -> Iterator[np.ndarray[Any, Any]]:
        for frame in range(len(self)):
            yield self[frame]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError("the array lies on disk; an array in memory is always a copy")
        whole: np.ndarray[Any, Any] = self[:]
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __repr__(self) -> str:
        return f"<{'×'.join(map(str, self.shape))} array on disk, {self.nbytes / 1e6:.3g} MB, {self.unit}>"

    def _span(self, atoms: Any) -> tuple[int, int, Any]:
        """Return the range of atoms to read, and the index to apply to what was read."""
        count = self.shape[1]
        if isinstance(atoms, (int, np.integer)):
            place = range(count)[int(atoms)]
            return place, place + 1, 0
        if isinstance(atoms, slice) and atoms.step in (None, 1):
            start, stop, _ = atoms.indices(count)
            return start, max(start, stop), slice(None)
        return 0, count, atoms


def _three(key: Any) -> tuple[Any, ...]:
    """Spell an index out for three dimensions."""
    parts = list(key) if isinstance(key, tuple) else [key]
    dots = [place for place, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1 or any(part is None for part in parts):
        raise IndexError("index with numbers, slices, lists and at most one '...'")
    place = dots[0] if dots else len(parts)
    parts[place : place + 1] = [slice(None)] * (3 - len(parts) + len(dots))
    if len(parts) > 3:
        raise IndexError(f"too many indices: the array has 3 dimensions, but {len(parts)} were given")
    return tuple(parts)
