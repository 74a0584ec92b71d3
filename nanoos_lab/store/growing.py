"""A table on disk that grows by rows and is a valid ``.npy`` file all the time.

NumPy pads the header of a ``.npy`` file so that the number of rows can be rewritten in place. We do so at every flush,
and readers take the number of rows from the size of the file: what a killed writer has written is never lost, and a row
cut in the middle is not there yet.
"""

from __future__ import annotations

import os
from io import BytesIO
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


#: NumPy's own reader and writer of headers, which has no types.
_NPY: Any = np.lib.format


class GrowingTable:
    """The one writer of a table.

    Parameters
    ----------
    path
        A file that does not exist yet.
    dtype
        Structured type of a row, little-endian.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._rows = 0
        self._flushed = -1
        self._file = path.open("xb")
        self._file.write(_header(dtype, 0))
        # At once and in one write: a reader finds a whole header or an empty file.
        self._file.flush()

    def append(self, row: bytes) -> None:
        """Add a row, as the bytes that the dtype describes; it may stay in memory until the next flush."""
        self._file.write(row)
        self._rows += 1

    @property
    def flushed(self) -> bool:
        """Whether all rows are on disk."""
        return self._rows == self._flushed

    def flush(self) -> None:
        """Put all rows on disk."""
        if self.flushed:
            return
        self._file.flush()
        os.pwrite(self._file.fileno(), _header(self._dtype, self._rows), 0)
        os.fdatasync(self._file.fileno())
        self._flushed = self._rows

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_table(path: Path) -> np.ndarray[Any, Any]:
    """Return the complete rows of a table as a read-only memory map; loads nothing.

    Raises
    ------
    FileNotFoundError
        Also while its writer has only just made the file.
    ValueError
        If it is no such table.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise FileNotFoundError(path)
        if _NPY.read_magic(file) != (1, 0):
            raise ValueError(f"{path} is not a table of nanoos_lab")
        _, _, dtype = _NPY.read_array_header_1_0(file)
        start = file.tell()
        rows = (os.fstat(file.fileno()).st_size - start) // dtype.itemsize
        if rows == 0:
            return np.empty(0, dtype)
        return np.memmap(file, dtype=dtype, mode="r", offset=start, shape=(rows,))


def _header(dtype: np.dtype[Any], rows: int) -> bytes:
    """Return a header that has the same length for any number of rows."""
    stream = BytesIO()
    head = {"descr": _NPY.dtype_to_descr(dtype), "fortran_order": False, "shape": (rows,)}
    _NPY.write_array_header_1_0(stream, head)
    return stream.getvalue()
