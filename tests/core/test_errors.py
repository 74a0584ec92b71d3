"""Messages name what is allowed, and stay short."""

from __future__ import annotations

from nanoos_lab.core.errors import UnknownNameError

MANY = [f"{kind}_{element}_{number:03}" for kind in ("EAM", "Sw") for element in ("Cu", "Al") for number in range(200)]


def test_of_few_names_all_are_told() -> None:
    assert str(UnknownNameError("task", "mdd", ["md", "relax"])) == (
        "unknown task 'mdd'. Did you mean 'md'? Allowed: md, relax."
    )
    assert str(UnknownNameError("task", "mdd", [])).endswith("Allowed: none.")


def test_of_very_many_names_those_that_are_like_the_given_one_are_told() -> None:
    error = UnknownNameError("model", "eam_al_1999", MANY)
    assert error.nearest == "EAM_Al_199"
    assert "EAM_Al_199" in str(error)
    assert str(error).endswith(", and 792 others.")
    assert len(error.allowed) == 800


def test_of_very_many_names_those_that_have_the_given_one_in_them_are_told_first() -> None:
    assert "Allowed: EAM_Al_150, EAM_Cu_150, Sw_Al_150, Sw_Cu_150, " in str(UnknownNameError("model", "_150", MANY))


def test_of_very_many_names_those_that_begin_alike_are_told_where_none_is_like_the_given_one() -> None:
    told = str(UnknownNameError("model", "Sw_" + "z" * 40, MANY)).split("Allowed: ")[1]
    assert all(name.startswith("Sw_") for name in told.split(", ")[:8])
