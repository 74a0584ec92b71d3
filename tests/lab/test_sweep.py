"""A job for each combination of values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from nanoos_lab.core.errors import InputError, ParameterError

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab

COPPER, SILVER = bulk("Cu", cubic=True), bulk("Ag", cubic=True)
MD = {"engine": "mock", "task": "md", "steps": 20, "every": 10}
LATER = datetime.now(UTC) + timedelta(days=30)


def test_every_combination_is_a_job_and_a_row_of_results(lab: Lab) -> None:
    group = lab.sweep(COPPER, over={"temperature": [300, 600], "timestep": np.array([1.0, 2.0])}, **MD).wait(60)

    results = group.results
    assert results[["temperature", "timestep"]].to_numpy().tolist() == [[300, 1], [300, 2], [600, 1], [600, 2]]
    assert results["status"].tolist() == ["succeeded"] * 4
    assert results["energy"].tolist() == [job.results["energy"] for job in group]
    assert results.attrs["units"] == {"temperature": "K", "timestep": "fs", "energy": "eV"}
    assert [job.request.parameters["temperature"] for job in group] == [300, 300, 600, 600]
    assert group[2].name == "Cu4 md temperature=600, timestep=1"


def test_structures_are_swept_by_name_or_place(lab: Lab) -> None:
    by_name = lab.sweep(over={"structure": {"copper": COPPER, "silver": SILVER}}, not_before=LATER, **MD)
    by_place = lab.sweep(over={"structure": [COPPER, SILVER]}, not_before=LATER, **MD)
    for group in (by_name, by_place):
        group.cancel()
        assert group.jobs["formula"].tolist() == ["Cu4", "Ag4"]
    assert by_name.results["structure"].tolist() == ["copper", "silver"]
    assert by_place.results["structure"].tolist() == [0, 1]


def test_engine_and_delivery_are_swept_too(lab: Lab) -> None:
    fixed = {"task": "static", "not_before": LATER}
    group = lab.sweep(COPPER, over={"engine": ["mock"], "priority": np.arange(3, 5)}, **fixed)
    group.cancel()
    assert group.jobs["priority"].tolist() == [3, 4]


def test_what_jobs_have_in_common_waits_for_one_job(lab: Lab) -> None:
    relaxed = lab.submit(COPPER, engine="mock", task="relax", fmax=0.001, duration=2.0)
    group = lab.sweep(relaxed, over={"temperature": [300, 600]}, **MD)
    assert group.status["pending"] == 2
    assert group.wait(60).status["succeeded"] == 2
    np.testing.assert_array_equal(group[1].trajectory[0].positions, relaxed.structure.positions)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"over": {}}, ParameterError, "a mapping of names to their values"),
        ({"over": {"temperature": []}}, ParameterError, "at least one value"),
        ({"over": {"temperature": 300}}, ParameterError, "a list of values"),
        ({"over": {"ensemble": "nvt"}}, ParameterError, "a list of values"),
        ({"over": {"steps": [10, 20]}}, InputError, "steps is both fixed and in over="),
        ({"over": {"structure": [SILVER]}}, InputError, "structure is both fixed and in over="),
        ({"over": {"temperature": [300, -1]}}, ParameterError, "temperature=-1"),
    ],
)
def test_a_sweep_without_sense_is_refused_whole(lab: Lab, arguments, error: type[Exception], says: str) -> None:
    before = lab.services.store.count()
    with pytest.raises(error, match=says):
        lab.sweep(COPPER, **arguments, **MD)
    assert lab.services.store.count() == before
