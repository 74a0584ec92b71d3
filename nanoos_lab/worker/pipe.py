"""Messages between a work-horse and its engine process: a JSON head, then raw arrays. Nothing is pickled."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection

    Arrays = Mapping[str, np.ndarray[Any, Any]]


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
    pipe.send_bytes(json.dumps(head).encode())
    for array in blobs.values():
        pipe.send_bytes(array.reshape(-1).view(np.uint8).data)


def receive(pipe: Connection) -> Message:
    """Read one message.

    Raises
    ------
    EOFError
        If the other side has closed the pipe.
    """
    head = json.loads(pipe.recv_bytes())
    arrays = {
        name: np.frombuffer(pipe.recv_bytes(), dtype=dtype).reshape(shape)
        for name, (dtype, shape) in head["arrays"].items()
    }
    return Message(kind=head["kind"], fields=head["fields"], arrays=arrays)
