"""Messages between a work-horse and its engine process: a JSON head, then raw arrays. Nothing is pickled."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection

    Arrays = Mapping[str, np.ndarray[Any, Any]]

#: Parts of a message begin at multiples of this many bytes.
_ALIGNED = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Message:
    """One message."""

    #: What it is about.
    kind: str
    #: Plain values.
    fields: Mapping[str, Any]
    #: Arrays by name.
    arrays: Arrays = field(default_factory=dict)


def send(pipe: Connection, kind: str, fields: Mapping[str, Any] | None = None, arrays: Arrays | None = None) -> None:
    """Write one message."""
    blobs = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    head = {
        "kind": kind,
        "fields": fields or {},
        "arrays": {name: [array.dtype.str, array.shape] for name, array in blobs.items()},
    }
    text = json.dumps(head).encode()
    parts: list[Any] = [len(text).to_bytes(_ALIGNED, "little"), text, b" " * _short_of(len(text))]
    for array in blobs.values():
        parts += [array.reshape(-1).view(np.uint8).data, b" " * _short_of(array.nbytes)]
    # In one piece: for each the other side, whose caches are cold, would be woken once more.
    pipe.send_bytes(b"".join(parts))


def receive(pipe: Connection) -> Message:
    """Read one message.

    Raises
    ------
    EOFError
        If the other side has closed the pipe.
    """
    data = pipe.recv_bytes()
    place = _ALIGNED + int.from_bytes(data[:_ALIGNED], "little")
    head = json.loads(data[_ALIGNED:place])
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
