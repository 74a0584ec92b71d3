"""Parameters are checked in the user's cell, and the message says what to write instead."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, JsonValue, model_validator

from nanoos_lab.core.errors import InputError, NanoosError, ParameterError, UnknownNameError
from nanoos_lab.core.parameters import (
    DEFAULT_SEED,
    MDParameters,
    RelaxParameters,
    StaticParameters,
    Steps,
    TaskParameters,
    allowed,
    field,
    validate,
)

WHERE = "engine 'test', task 'md'"


def md(**values: object) -> MDParameters:
    return validate(MDParameters, values, where=WHERE)


def test_defaults_are_filled_in():
    assert md(steps=10).model_dump() == {
        "steps": 10,
        "timestep": 1.0,
        "ensemble": "nve",
        "temperature": None,
        "temperature_end": None,
        "pressure": None,
        "tdamp": 100.0,
        "pdamp": 1000.0,
        "every": 100,
        "seed": DEFAULT_SEED,
    }


def test_an_unknown_name_is_told_with_the_nearest_one():
    with pytest.raises(UnknownNameError) as caught:
        md(steps=10, temprature=300)
    assert caught.value.nearest == "temperature"
    assert WHERE in str(caught.value)


def test_an_unknown_name_comes_before_the_missing_one_that_it_was_meant_to_be():
    with pytest.raises(UnknownNameError) as caught:
        md(step=10)
    assert caught.value.nearest == "steps"


def test_an_unknown_name_comes_before_a_wrong_value():
    with pytest.raises(UnknownNameError):
        md(steps=-1, colour="red")


def test_a_missing_parameter_is_named():
    with pytest.raises(ParameterError, match="needs an integer") as caught:
        md()
    assert caught.value.field == "steps"


@pytest.mark.parametrize(
    ("values", "field_name", "words"),
    [
        ({"steps": -1}, "steps", "an integer ≥ 0 and ≤ 1,000,000,000,000"),
        ({"steps": 1.5}, "steps", "an integer"),
        ({"steps": "many"}, "steps", "an integer"),
        ({"steps": "10"}, "steps", "an integer"),
        ({"steps": b"10"}, "steps", "an integer"),
        ({"steps": 1, "temperature": "300"}, "temperature", "a number ≥ 0 and ≤ 1,000,000 K"),
        ({"steps": 1, "temperature": np.str_("300")}, "temperature", "a number"),
        # In seconds.
        ({"steps": 1, "timestep": 1e-15}, "timestep", "a number ≥ 0.001 and ≤ 100 fs"),
        ({"steps": 1, "temperature": -5}, "temperature", "a number ≥ 0 and ≤ 1,000,000 K"),
        ({"steps": 1, "temperature": float("nan")}, "temperature", "a number"),
        ({"steps": 1, "temperature": [300, 600]}, "temperature", "a number"),
        ({"steps": 1, "temperature": np.array([300.0, 600.0])}, "temperature", "a number"),
        ({"steps": 1, "ensemble": "nph"}, "ensemble", "one of 'nve', 'nvt', 'npt'"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(values, field_name, words):
    with pytest.raises(ParameterError) as caught:
        md(**values)
    assert caught.value.field == field_name
    assert words in caught.value.allowed


@pytest.mark.parametrize(
    ("values", "field_name"),
    [
        ({"ensemble": "nvt"}, "temperature"),
        ({"ensemble": "nvt", "temperature": 0}, "temperature"),
        ({"ensemble": "npt", "temperature": 300}, "pressure"),
        ({"ensemble": "nvt", "temperature": 300, "pressure": 1}, "pressure"),
        ({"temperature_end": 300}, "temperature_end"),
    ],
)
def test_an_ensemble_takes_what_it_needs_and_nothing_else(values, field_name):
    with pytest.raises(ParameterError) as caught:
        md(steps=1, **values)
    assert caught.value.field == field_name
    assert "ensemble='n" in str(caught.value)


def test_every_error_is_a_value_error_and_ours():
    with pytest.raises(InputError) as caught:
        md(steps=-1)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, NanoosError)


def test_numpy_numbers_are_numbers():
    parameters = md(steps=np.int64(10), temperature=np.float32(300), timestep=np.array(2.0))
    assert parameters.model_dump_json() == md(steps=10, temperature=300, timestep=2).model_dump_json()


def test_a_float_without_a_fraction_is_an_integer():
    assert md(steps=1e4, every=np.float64(5)) == md(steps=10_000, every=5)
    assert isinstance(md(steps=1e4).steps, int)


class Mixed(TaskParameters):
    """One parameter of every kind."""

    class Colour(StrEnum):
        """Any colour you like."""

        RED = "red"
        BLUE = "blue"

    flag: bool = field(False, doc="a flag")
    text: str = field("", doc="")
    words: tuple[str, ...] = field((), doc="some words")
    either: int | str = field(1, doc="this or that")
    colour: Colour = field(Colour.RED, doc="paint")
    stop: Steps | None = field(None, doc="last step")
    small: Annotated[float, Field(gt=1e-8, lt=0.5)] = field(0.1, unit="Å", doc="a length")
    options: dict[str, int] = field({}, doc="more")
    choice: Literal["a"] | None = field(None, doc="")

    @model_validator(mode="after")
    def _no_red_flags(self) -> Mixed:
        if self.flag and self.colour is Mixed.Colour.RED:
            raise ParameterError("flag", True, "not with colour='red'")
        return self


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("flag", "True or False (a flag)"),
        ("text", "a text"),
        ("words", "a list of texts (some words)"),
        ("either", "an integer or a text (this or that)"),
        ("colour", "one of 'red', 'blue' (paint)"),
        ("stop", "an integer ≥ 0 and ≤ 1,000,000,000,000 (last step)"),
        ("small", "a number > 1e-08 and < 0.5 Å (a length)"),
        ("options", "a mapping of names to integers (more)"),
        ("choice", "one of 'a'"),
    ],
)
def test_what_is_allowed_is_said_in_words(name, words):
    assert allowed(Mixed.model_fields[name]) == words


def test_an_error_of_a_models_own_check_reaches_the_user_as_it_is():
    with pytest.raises(ParameterError, match="not with colour='red'") as caught:
        validate(Mixed, {"flag": True}, where=WHERE)
    assert caught.value.__cause__ is None


def test_values_inside_a_mapping_or_list_may_be_numpys_or_paths():
    values = {"options": {"a": np.int8(3)}, "words": [np.str_("x"), Path("y")], "text": Path("z")}
    found = validate(Mixed, values, where=WHERE)
    assert (found.options, found.words, found.text) == ({"a": 3}, ("x", "y"), "z")


Count = Annotated[int, Field(ge=1)]


class Mesh(TaskParameters):
    """Numbers in lists."""

    kpts: tuple[Count, Count, Count] = field((1, 1, 1), doc="divisions")
    shift: tuple[float, ...] | None = field(None, unit="Å", doc="a shift")
    vectors: list[tuple[float, float, float]] = field([], doc="")
    pair: tuple[int, str] | None = field(None, doc="")
    colours: list[Literal["red", "blue"]] = field([], doc="")
    sections: dict[str, dict[str, bool | float]] = field({}, doc="")
    extra: dict[str, JsonValue] = field({}, doc="")
    several: str | Annotated[list[str], Field(min_length=1)] = field("", doc="")
    other: StaticParameters | None = field(None, doc="another structure")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("kpts", "3 integers ≥ 1 (divisions)"),
        ("shift", "a list of numbers Å (a shift)"),
        ("vectors", "a list of lists of 3 numbers"),
        ("pair", "2 values: an integer, a text"),
        ("colours", "a list of values, each one of 'red', 'blue'"),
        ("sections", "a mapping of names to mappings of names to values"),
        ("extra", "a mapping of names to values"),
        ("several", "a text or a list of texts"),
        ("other", "another structure"),
    ],
)
def test_how_many_and_which_members_a_list_has_is_said_in_words(name, words):
    assert allowed(Mesh.model_fields[name]) == words


@pytest.mark.parametrize("kpts", [[1, 2], [0, 1, 1], [1.5, 1, 1], [True, 1, 1], 4])
def test_a_list_with_a_wrong_number_is_told_as_it_was_given(kpts):
    with pytest.raises(ParameterError, match="must be 3 integers ≥ 1") as caught:
        validate(Mesh, {"kpts": kpts}, where=WHERE)
    assert (caught.value.field, caught.value.value) == ("kpts", kpts)


@pytest.mark.parametrize("values", [{"steps": True}, {"steps": 1, "temperature": np.bool_(True)}])
def test_true_and_false_are_no_numbers(values):
    with pytest.raises(ParameterError, match="must be a"):
        md(**values)


@pytest.mark.parametrize("value", [False, "0.5"])
def test_a_flag_or_a_text_is_no_number_in_a_list_or_a_mapping_either(value):
    with pytest.raises(ParameterError, match="shift"):
        validate(Mesh, {"shift": [0.5, value]}, where=WHERE)
    with pytest.raises(ParameterError, match="options"):
        validate(Mixed, {"options": {"a": value}}, where=WHERE)


def test_a_text_stays_one_where_a_text_may_be():
    found = validate(Mixed, {"either": "1", "text": "2", "words": ["3"]}, where=WHERE)
    assert (found.either, found.text, found.words) == ("1", "2", ("3",))


def test_a_list_in_itself_is_refused():
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ParameterError, match="nested") as caught:
        md(steps=endless)
    assert caught.value.field == "steps"


class Mute:
    """Something that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("value", [[1] * 100_000, "x" * 100_000, 10**5000, Mute()], ids=["list", "text", "int", "mute"])
def test_whatever_a_value_is_its_error_is_short(value):
    with pytest.raises(ParameterError) as caught:
        md(steps=value)
    assert len(str(caught.value)) < 400
    with pytest.raises(UnknownNameError) as unknown:
        raise UnknownNameError("engine", value, ["mock"])
    assert len(str(unknown.value)) < 400


@given(st.builds(dict, steps=st.integers(0, 10**12), temperature=st.none() | st.floats(0, 1e6)))
def test_what_was_accepted_is_accepted_again_after_a_trip_through_json(values):
    first = md(**values)
    assert MDParameters(**first.model_dump(mode="json")) == first


@pytest.mark.parametrize("model", [StaticParameters, RelaxParameters, MDParameters])
def test_every_parameter_has_a_meaning_and_every_dimensional_number_a_unit(model):
    dimensionless = {"steps", "every", "seed"}
    for name, info in model.model_fields.items():
        assert info.description, name
        words = allowed(info)
        if words.startswith(("a number", "an integer")) and name not in dimensionless:
            assert info.json_schema_extra["unit"], name
