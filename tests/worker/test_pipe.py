"""Messages between work-horse and engine process."""

from __future__ import annotations

import os
import threading
from multiprocessing import Pipe

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nanoos_lab.worker import pipe

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
arrays = hnp.arrays(
    dtype=st.sampled_from(["<f4", "<f8", "<i8", "|u1"]),
    shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
    elements={"allow_nan": False},
)


@given(
    fields=st.dictionaries(st.text(), plain, max_size=4),
    values=st.dictionaries(st.text(), arrays, max_size=3),
)
def test_what_is_sent_is_received(fields, values) -> None:
    ours, theirs = Pipe()
    with ours, theirs:
        pipe.send(ours, "kind", fields, values)
        message = pipe.receive(theirs)
    assert message.kind == "kind"
    assert message.fields == fields
    assert message.arrays.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_array_equal(message.arrays[name], value)
        assert message.arrays[name].dtype == value.dtype


def test_a_closed_pipe_is_the_end() -> None:
    ours, theirs = Pipe()
    ours.close()
    with theirs, pytest.raises(EOFError):
        pipe.receive(theirs)


def test_a_message_that_stops_half_way_holds_nobody_up() -> None:
    ours, theirs = Pipe()
    with ours, theirs:
        inbox = pipe.Inbox(theirs)
        frame = np.arange(300_000.0)
        whole = pipe.packed("sample", {"step": 7}, {"positions": frame})
        os.write(ours.fileno(), whole[:10])
        assert inbox.read() == []
        sender = threading.Thread(target=lambda: os.write(ours.fileno(), whole[10:]))
        sender.start()
        messages: list[pipe.Message] = []
        while not messages:
            messages = inbox.read()
        sender.join()
    (message,) = messages
    assert (message.kind, message.fields) == ("sample", {"step": 7})
    np.testing.assert_array_equal(message.arrays["positions"], frame)


def test_messages_that_come_together_are_all_taken() -> None:
    ours, theirs = Pipe()
    with ours, theirs:
        inbox = pipe.Inbox(theirs)
        for step in range(3):
            pipe.send(ours, "progress", {"step": step})
        assert [message.fields["step"] for message in inbox.read()] == [0, 1, 2]
        ours.close()
        with pytest.raises(EOFError):
            inbox.read()
