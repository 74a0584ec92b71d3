"""Nothing that others can write is unpickled, run, or able to stop the reader."""

from __future__ import annotations

import os
import pickle
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as some
from rq.exceptions import NoSuchJobError
from rq.job import Job

from nanoos_lab.broker.connection import connect
from nanoos_lab.broker.messages import FUNCTION, ForeignDataError, Message, PlainSerializer, read_plain, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from redis import Redis

ID = "0" * 32
OURS = {"data": zlib.compress(pickle.dumps((FUNCTION, None, (ID, 1), {})))}

atoms = some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text() | some.binary()
keys = some.integers() | some.text()
plain_values = some.recursive(
    atoms,
    lambda inner: (
        some.lists(inner) | some.tuples(inner, inner) | some.dictionaries(keys, inner) | some.frozensets(keys)
    ),
    max_leaves=20,
)


class Planted:
    """Leaves a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@given(plain_values, some.sampled_from([4, 5]))
def test_plain_values_are_read_as_they_were_written(value: object, protocol: int) -> None:
    assert read_plain(pickle.dumps(value, protocol=protocol)) == value


@given(some.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(ForeignDataError):
        read_plain(data)


@given(some.data())
def test_any_change_to_our_own_message_is_read_or_refused(data: some.DataObject) -> None:
    ours = bytearray(PlainSerializer.dumps((FUNCTION, None, (ID, 1), {})))
    for _ in range(3):
        ours[data.draw(some.integers(0, len(ours) - 1))] = data.draw(some.integers(0, 255))
    reason = refusal(f"{ID}_1", {"data": zlib.compress(bytes(ours))})
    assert reason is None or reason.isprintable()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_object_is_refused_without_unpickling(tmp_path: Path, protocol: int) -> None:
    canary = tmp_path / "unpickled"
    with pytest.raises(ForeignDataError):
        read_plain(pickle.dumps([1, Planted(canary)], protocol=protocol))
    assert not canary.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"c__builtin__\neval\n(S'1'\ntR.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
        b"(S'true'\nios\nsystem\n.",
        b"\x82\x01.",
        b"P1\n.",
        # Would reserve 16 GiB for the memo.
        b"Nr\xff\xff\xff\x7f.",
        b"N" * 70_000 + b".",
    ],
    ids=["global", "stack global", "inst", "extension", "persistent id", "memory", "size"],
)
def test_every_way_to_an_object_is_refused(data: bytes) -> None:
    with pytest.raises(ForeignDataError):
        read_plain(data)


def test_our_own_message_is_not_refused() -> None:
    empty = dict.fromkeys(("success_callback_name", "failure_callback_name", "stopped_callback_name", "group_id"), b"")
    assert refusal(f"{ID}_1", OURS | empty | {"nanoos_priority": b"7", "a field of a later RQ": b"x"}) is None


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (("os.system", None, ("true",), {}), "os.system"),
        ((FUNCTION, None, (ID, 2), {}), "another message"),
        ((FUNCTION, None, (ID, True), {}), "(job id, attempt)"),
        ((FUNCTION, None, (ID, "1"), {}), "(job id, attempt)"),
        ((FUNCTION, None, (ID,), {}), "(job id, attempt)"),
        ((FUNCTION, None, (ID, 1, 2), {}), "(job id, attempt)"),
        ((FUNCTION, None, (ID, 1), {"more": 1}), "(job id, attempt)"),
        ((FUNCTION, "instance", (ID, 1), {}), "(job id, attempt)"),
        ([FUNCTION, None, (ID, 1), {}], "no call"),
        ("text", "no call"),
    ],
)
def test_another_call_is_refused_and_named(call: object, named: str) -> None:
    assert named in str(refusal(f"{ID}_1", {"data": zlib.compress(pickle.dumps(call))}))


def test_a_small_message_that_inflates_to_a_huge_one_is_refused() -> None:
    assert "too large" in str(refusal(f"{ID}_1", {"data": zlib.compress(b"\0" * 50_000_000)}))


class TestRestore:
    @pytest.fixture
    def broker(self, valkey_url: str) -> Iterator[Redis]:
        with connect(valkey_url) as connection:
            yield connection

    def plant(self, broker: Redis, fields: dict[str, bytes]) -> Message:
        broker.hset(Job.key_for(f"{ID}_1"), mapping=OURS | fields)
        return Message.fetch(f"{ID}_1", connection=broker)

    @pytest.mark.parametrize(
        "field", ["timeout", "created_at", "status", "result_ttl", "failure_ttl", "worker_name", "origin"]
    )
    def test_a_malformed_field_makes_a_refused_message_and_no_error(self, broker: Redis, field: str) -> None:
        message = self.plant(broker, {field: b"\xff\xfe nonsense"})
        assert message.refusal == "a malformed field"

    def test_a_refused_message_keeps_nothing_that_could_run(self, broker: Redis, tmp_path: Path) -> None:
        canary = tmp_path / "unpickled"
        evil = pickle.dumps(Planted(canary))
        names = ("success_callback_name", "failure_callback_name", "stopped_callback_name")
        message = self.plant(
            broker, {"meta": evil, "result": evil, "retries_left": b"3"} | dict.fromkeys(names, b"os.abort")
        )
        assert message.refusal
        assert (message.success_callback, message.failure_callback, message.stopped_callback) == (None, None, None)
        assert (message.webhooks, message.retries_left, message.meta, message.func_name) == ([], None, {}, "refused")
        assert not canary.exists()

    def test_a_stored_result_is_not_unpickled(self, broker: Redis, tmp_path: Path) -> None:
        canary = tmp_path / "unpickled"
        message = self.plant(broker, {"result": pickle.dumps(Planted(canary))})
        assert (message.refusal, canary.exists()) == (None, False)

    def test_a_description_cannot_forge_lines_of_a_log(self, broker: Redis) -> None:
        message = self.plant(broker, {"description": b"a\nb\x1b[2J"})
        assert message.description == "a�b�[2J"

    @pytest.mark.parametrize("name", ["../../x", "", "a b"])
    def test_an_impossible_id_is_an_absent_message(self, broker: Redis, name: str) -> None:
        with pytest.raises(NoSuchJobError):
            Message.fetch(name, connection=broker)

    def test_a_key_of_another_type_is_an_absent_message(self, broker: Redis) -> None:
        broker.rpush(Job.key_for("list"), "x")
        with pytest.raises(NoSuchJobError):
            Message.fetch("list", connection=broker)
