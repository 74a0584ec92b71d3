"""A program of its own, so that what a model does can harm nobody: load a model of OpenKIM, print how far it reaches.

``python kim_reach.py LIBRARY`` prints ``reach:`` and the longest cut-off of the model's lists of neighbours in Å. That
is what counts here, and not KIM's influence distance, which for some models is twice as long (manual of the KIM API,
``KIM::Model::GetNeighborListPointers``).
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path


class _Constant(ctypes.Structure):
    """A unit or a numbering; KIM's functions take these by value."""

    _fields_ = (("number", ctypes.c_int),)


#: How atoms are counted, and the units that a model is asked for; those of length are all that matter.
_ASKED = (
    "KIM_NUMBERING_zeroBased",
    "KIM_LENGTH_UNIT_A",
    "KIM_ENERGY_UNIT_eV",
    "KIM_CHARGE_UNIT_e",
    "KIM_TEMPERATURE_UNIT_K",
    "KIM_TIME_UNIT_ps",
)


def cutoff(library: Path) -> float:
    """Return the longest cut-off in Å of an installed model, whose folder has its name.

    Raises
    ------
    OSError
        If its library cannot be loaded.
    ValueError
        If KIM cannot make a model of it that has these units.
    """
    # It brings KIM's own library along, that with which it was built.
    kim = ctypes.CDLL(str(library))
    asked = [_Constant.in_dll(kim, name) for name in _ASKED]
    model, accepted = ctypes.c_void_p(), ctypes.c_int()
    name = library.parent.name.encode()
    if kim.KIM_Model_Create(*asked, name, ctypes.byref(accepted), ctypes.byref(model)) or not accepted.value:
        raise ValueError(name)
    count = ctypes.c_int()
    cutoffs, without = ctypes.POINTER(ctypes.c_double)(), ctypes.POINTER(ctypes.c_int)()
    kim.KIM_Model_GetNeighborListPointers(model, ctypes.byref(count), ctypes.byref(cutoffs), ctypes.byref(without))
    return float(max(cutoffs[: count.value]))


if __name__ == "__main__":
    sys.stdout.write(f"reach: {cutoff(Path(sys.argv[1]))!r}\n")
