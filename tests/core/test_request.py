"""A request is a value: its key says what decides the result, and nothing else."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from nanoos_lab.core.request import Delivery, FileRef, JobRequest
from nanoos_lab.core.resources import Resources
from nanoos_lab.core.structures import Structure

COPPER = Structure.encode(bulk("Cu"))

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=5,
)
parameters = st.dictionaries(st.text(), plain, max_size=5)


def request(**changes: object) -> JobRequest:
    fields = {
        "structure": COPPER,
        "engine": "mock",
        "task": "md",
        "parameters": {"steps": 10, "temperature": 300.0},
        "files": {"potential": FileRef(name="Cu.eam", sha256="ab" * 32)},
        "resources": Resources(ranks=2),
    }
    return JobRequest(**{**fields, **changes})


@given(parameters)
def test_a_request_survives_its_json(values):
    before = request(parameters=values)
    after = JobRequest.from_json(before.to_json(), COPPER)
    assert after == before
    assert after.key == before.key
    assert after.to_json() == before.to_json()


@given(parameters)
def test_the_order_of_parameters_does_not_matter(values):
    turned = dict(reversed(values.items()))
    assert request(parameters=turned).key == request(parameters=values).key
    assert hash(request(parameters=turned)) == hash(request(parameters=values))


def test_the_key_is_the_same_in_every_process_and_version():
    # Results are found again by their key: a change here forgets them all.
    bare = JobRequest(structure=None, engine="mock", task="md", parameters={"b": 1, "a": "ä"})
    assert bare.key == "a8be216bf10304d6d7a8b67125f0d2d08848aa745a246fac105752aa6400c6f9"


@pytest.mark.parametrize(
    "change",
    [
        {"structure": Structure.encode(bulk("Al"))},
        {"structure": None},
        {"engine": "ase"},
        {"task": "relax"},
        {"parameters": {"steps": 11, "temperature": 300.0}},
        {"parameters": {"steps": 10}},
        {"files": {}},
        {"files": {"potential": FileRef(name="Cu.eam", sha256="cd" * 32)}},
    ],
)
def test_whatever_decides_the_result_changes_the_key(change):
    assert request(**change).key != request().key
    assert request(**change) != request()


def test_resources_do_not_change_the_key_but_make_another_request():
    more = request(resources=Resources(ranks=4))
    assert more.key == request().key
    assert more != request()
    assert hash(more) == hash(request())


def test_equal_requests_are_one_in_a_set():
    assert len({request(), request(), request(engine="ase")}) == 2
    assert request() != "request"


def test_nobody_can_change_a_request():
    options = {"deep": {"list": [1, 2]}}
    frozen = request(parameters=options)
    key = frozen.key
    options["deep"]["list"].append(3)
    options["more"] = {}
    assert frozen.parameters == {"deep": {"list": [1, 2]}}
    assert replace(frozen).key == key
    with pytest.raises(TypeError):
        frozen.parameters["steps"] = 1
    with pytest.raises(FrozenInstanceError):
        frozen.engine = "ase"


def test_values_that_are_not_plain_are_refused():
    with pytest.raises(TypeError):
        request(parameters={"atoms": bulk("Cu")})
    with pytest.raises(ValueError, match="JSON"):
        request(parameters={"temperature": float("nan")})


def test_a_message_is_named_by_job_and_attempt():
    assert Delivery(job_id="abc", attempt=2, queue="default", priority=5).message_id == "abc_2"
