"""What a message may be, and a reader that neither unpickles nor runs anything else.

Whoever can write to the server can put a message there that names any function, carries any pickle, asks for
callbacks, webhooks, other jobs. `Message` takes from the server only what one of our own messages has, and
says in `refusal` what else there was.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zlib
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import ResponseError
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import DefaultSerializer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

#: The one function that a message may name.
FUNCTION = "nanoos_lab.worker.run.run_job"
#: Bytes of a pickle that is read at all; ours have about 120.
LARGEST = 64 * 1024
#: Pickle's instructions that build plain values. None of those that import, call, or reserve memory at will.
_PLAIN = """
    PROTO FRAME STOP MARK POP POP_MARK MEMOIZE BINPUT BINGET NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1
    BINFLOAT BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET
"""
#: Fields of RQ's job hash that our messages have.
_FIELDS = """
    data created_at origin description enqueued_at started_at ended_at last_heartbeat worker_name timeout
    result_ttl failure_ttl status
"""
#: Fields that ours leave empty → what it means when they are not.
_FOREIGN = {
    "success_callback_name": "a success callback",
    "failure_callback_name": "a failure callback",
    "stopped_callback_name": "a stopped callback",
    "webhooks": "webhooks",
    "dependency_id": "a dependency",
    "dependency_ids": "a dependency",
    "allow_dependency_failures": "a dependency",
    "meta": "meta data",
    "group_id": "a group",
    "repeats_left": "a repetition",
    "repeat_intervals": "a repetition",
    "retries_left": "RQ's retry",
    "retry_intervals": "RQ's retry",
    "number_of_retries": "RQ's retry",
    "rate_limit_key": "a rate limit",
}
_STATUSES = frozenset(status.value.encode() for status in JobStatus)


class ForeignDataError(ValueError):
    """Data that none of our own processes has written; they were not read."""


class _PlainUnpickler(pickle.Unpickler):
    """Second line of defence behind the check of the instructions."""

    def find_class(self, module: str, name: str) -> Any:
        raise ForeignDataError(f"a pickled {module}.{name}")


def read_plain(data: bytes) -> Any:
    """Read a pickle of plain values: numbers, texts, bytes, tuples, lists, sets and mappings of them.

    Raises
    ------
    ForeignDataError
        If it holds anything else; then nothing of it was read.
    """
    if len(data) > LARGEST:
        raise ForeignDataError("a pickle that is too large")
    try:
        foreign = {instruction.name for instruction, _, _ in pickletools.genops(data)} - set(_PLAIN.split())
        if foreign:
            raise ForeignDataError(f"a pickle with {', '.join(sorted(foreign))}")
        return _PlainUnpickler(io.BytesIO(data)).load()
    except ForeignDataError:
        raise
    except Exception as error:
        raise ForeignDataError("unreadable data") from error


class PlainSerializer:
    """RQ's default encoding, read by a reader that knows plain values only."""

    @staticmethod
    def dumps(value: Any, /) -> bytes:
        """Encode as RQ does."""
        return DefaultSerializer.dumps(value)

    @staticmethod
    def loads(data: bytes, /) -> Any:
        """Decode plain values; see `read_plain`."""
        return read_plain(data)


class Message(Job):
    """RQ's job, restored from the server only as far as it is one of our own messages.

    Overrides of RQ: `__init__` fixes the serializer; `restore` hands RQ only fields that ours have; `fetch`
    takes a message that cannot be one for an absent one.
    """

    #: What of the message is not ours, in words; None if all of it is.
    refusal: str | None = None

    def __init__(self, id: str | None = None, connection: Redis | None = None, serializer: Any = None) -> None:
        super().__init__(id, connection, serializer=PlainSerializer)

    @classmethod
    def fetch(cls, id: str, connection: Redis | None = None, serializer: Any = None) -> Message:
        """Fetch a message by its id.

        Raises
        ------
        NoSuchJobError
            If there is none, or what is there cannot be one.
        """
        try:
            return cast("Message", super().fetch(id, connection, serializer))
        except ValueError as error:
            raise NoSuchJobError(f"no message can have the id {id!r}") from error
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            raise NoSuchJobError(f"what is stored under {id!r} is no message") from error

    def restore(self, raw_data: Mapping[bytes, bytes]) -> None:
        """Take over the fields of one of our messages; of any other only what RQ needs to end it."""
        fields = {name.decode(errors="replace"): value for name, value in raw_data.items()}
        self.refusal = refusal(self.id, fields)
        if self.refusal is None:
            try:
                super().restore({name: fields[name] for name in _FIELDS.split() if name in fields})
            except NoSuchJobError:
                raise
            except Exception:
                self.refusal = "a malformed field"
        if self.refusal is not None:
            super().restore(_husk(fields))
            self.description = f"refused: {self.refusal}"
        self.description = _printable(self.description or "")


def refusal(message_id: str, fields: Mapping[str, bytes]) -> str | None:
    """Say what in RQ's job hash is not ours; None if all is.

    Parameters
    ----------
    message_id
        Its id in RQ.
    fields
        The hash, by field.
    """
    for name, words in _FOREIGN.items():
        if fields.get(name):
            return words
    if "data" not in fields:
        return None
    try:
        return _refused_call(message_id, read_plain(_inflated(fields["data"])))
    except ForeignDataError as error:
        return _printable(str(error))


def _refused_call(message_id: str, call: Any) -> str | None:
    if type(call) is not tuple or len(call) != 4:
        return "data that are no call"
    function, instance, args, kwargs = call
    if function != FUNCTION:
        return f"function {_printable(repr(function))}"
    if instance is not None or kwargs != {}:
        return "arguments that are not (job id, attempt)"
    if type(args) not in (tuple, list) or [type(value) for value in args] != [str, int]:
        return "arguments that are not (job id, attempt)"
    if message_id != f"{args[0]}_{args[1]}":
        return "arguments of another message"
    return None


def _inflated(data: bytes) -> bytes:
    """Undo RQ's compression, of a few bytes at most."""
    inflate = zlib.decompressobj()
    try:
        plain = inflate.decompress(data, LARGEST + 1)
    except zlib.error:
        return data
    return plain


def _husk(fields: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return fields with which RQ can end a message, and nothing that could run."""
    husk = {"data": PlainSerializer.dumps(("refused", None, (), {}))}
    if fields.get("status") in _STATUSES:
        husk["status"] = fields["status"]
    return husk


def _printable(text: str) -> str:
    """Make a text from the server fit for one line of a log or a terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)[:200]
