"""Messages between a work-horse and its engine process: a JSON head, then raw arrays. Nothing is pickled."""

from __future__ import annotations

import json
import math
import os
import select
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from multiprocessing.connection import Connection

    Arrays = Mapping[str, np.ndarray[Any, Any]]

#: Before each message: its length in bytes, this not counted, and that of its JSON.
_LENGTHS = struct.Struct("<QQ")
#: Parts of a message begin at multiples of this many bytes.
_ALIGNED = 8
#: Bytes that are read at once: as many as a pipe holds. To make room for more takes longer than to read.
_MOST = 1 << 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Message:
    """One message."""

    #: What it is about.
    kind: str
    #: Plain values.
    fields: Mapping[str, Any]
    #: Arrays by name.
    arrays: Arrays = field(default_factory=dict)


class Inbox:
    """Takes messages as they come; only whole ones are given out.

    An engine is stopped wherever it is, when its run is paused or its lease is over, in the middle of a message too.
    Who waited for the rest of it would do nothing else meanwhile, not even resume the run.

    Parameters
    ----------
    pipe
        What to read from.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._data = bytearray()
        # Made once: memory that is new takes longer to get than to fill.
        self._room = memoryview(bytearray(_MOST))

    def read(self) -> list[Message]:
        """Read what is there and return the messages that are whole with it; blocks only if there is nothing.

        Raises
        ------
        EOFError
            If the other side has closed the pipe.
        """
        count = os.readv(self._pipe.fileno(), [self._room])
        if not count:
            raise EOFError
        self._data += self._room[:count]
        messages = []
        while (end := self._end()) is not None:
            with memoryview(self._data) as data:
                messages.append(_message(bytes(data[:end])))
            del self._data[:end]
        return messages

    def _end(self) -> int | None:
        """Return where the first message ends, if it is whole."""
        if len(self._data) < _LENGTHS.size:
            return None
        end = _LENGTHS.size + int(_LENGTHS.unpack_from(self._data)[0])
        return end if end <= len(self._data) else None


def packed(kind: str, fields: Mapping[str, Any] | None = None, arrays: Arrays | None = None) -> bytes:
    """Return one message as it is written."""
    blobs = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    head = {
        "kind": kind,
        "fields": fields or {},
        "arrays": {name: [array.dtype.str, array.shape] for name, array in blobs.items()},
    }
    text = json.dumps(head).encode()
    parts: list[Any] = [text, b" " * _short_of(len(text))]
    for array in blobs.values():
        parts += [array.reshape(-1).view(np.uint8).data, b" " * _short_of(array.nbytes)]
    return b"".join([_LENGTHS.pack(sum(map(len, parts)), len(text)), *parts])


def send(pipe: Connection, kind: str, fields: Mapping[str, Any] | None = None, arrays: Arrays | None = None) -> None:
    """Write one message."""
    # In one piece: for each the other side, whose caches are cold, would be woken once more.
    left = memoryview(packed(kind, fields, arrays))
    while left:
        left = left[os.write(pipe.fileno(), left) :]


def has_room(pipe: Connection) -> bool:
    """Whether a short message can be written without waiting for the other side to read."""
    poll = select.poll()
    poll.register(pipe.fileno(), select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(0))


def readable(descriptors: Iterable[int], timeout: float) -> set[int]:
    """Wait for at most so many seconds until something can be read, or was closed; return where."""
    # What `multiprocessing` has for this makes a selector each time, at some times the cost.
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(1000 * timeout)}


def receive(pipe: Connection) -> Message:
    """Wait for one message and read it.

    Raises
    ------
    EOFError
        If the other side has closed the pipe.
    """
    lengths = _exactly(pipe, _LENGTHS.size)
    return _message(lengths + _exactly(pipe, _LENGTHS.unpack(lengths)[0]))


def _exactly(pipe: Connection, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        data += _read(pipe, min(count - len(data), _MOST))
    return bytes(data)


def _read(pipe: Connection, most: int) -> bytes:
    data = os.read(pipe.fileno(), most)
    if not data:
        raise EOFError
    return data


def _message(data: bytes) -> Message:
    place = _LENGTHS.size + int(_LENGTHS.unpack_from(data)[1])
    head = json.loads(data[_LENGTHS.size : place])
    arrays = {}
    for name, (dtype, shape) in head["arrays"].items():
        place += _short_of(place)
        array = np.frombuffer(data, dtype=dtype, count=math.prod(shape), offset=place).reshape(shape)
        place += array.nbytes
        arrays[name] = array
    return Message(kind=head["kind"], fields=head["fields"], arrays=arrays)


def _short_of(length: int) -> int:
    """Return how many bytes are missing to where the next part begins."""
    return -length % _ALIGNED
