"""Results on disk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from nanoos_lab.core.frames import Results
from nanoos_lab.core.structures import Structure
from nanoos_lab.store import read_results, scalars, write_results

if TYPE_CHECKING:
    from pathlib import Path

FORCES = np.linspace(0, 1, 12).reshape(4, 3)
RESULTS = Results(
    properties={
        "energy": np.float64(-3.5),
        "forces": FORCES,
        "phase": "fcc",
        "converged": np.True_,
        "stress": [1.0, 2.0],
    },
    structure=Structure.encode(bulk("Cu", cubic=True)),
    provenance={"engine": "mock 1.0", "seed": np.int64(3)},
    stopped=True,
)


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    write_results(tmp_path, RESULTS)
    found = read_results(tmp_path)
    assert np.array_equal(found.properties["forces"], FORCES)
    rest = {name: value for name, value in found.properties.items() if name != "forces"}
    assert rest == {"energy": -3.5, "phase": "fcc", "converged": True, "stress": [1.0, 2.0]}
    assert found.structure == RESULTS.structure
    assert found.provenance == {"engine": "mock 1.0", "seed": 3}
    assert found.stopped


def test_people_can_read_them(tmp_path: Path) -> None:
    write_results(tmp_path, RESULTS)
    text = json.loads((tmp_path / "results.json").read_text())
    assert text["properties"]["energy"] == -3.5
    assert np.load(tmp_path / "results.npz")["forces"].shape == (4, 3)


def test_plain_results_need_no_arrays(tmp_path: Path) -> None:
    write_results(tmp_path, Results(properties={"energy": 1.0}, structure=None))
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert read_results(tmp_path).structure is None


def test_what_has_not_been_written_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_results(tmp_path)


def test_objects_are_refused_and_leave_nothing_behind(tmp_path: Path) -> None:
    for value in (np.array([object()]), object(), {1, 2}):
        with pytest.raises(TypeError):
            write_results(tmp_path, Results(properties={"odd": value}, structure=None))
    assert list(tmp_path.iterdir()) == []


def test_pickles_in_an_archive_are_not_opened(tmp_path: Path) -> None:
    write_results(tmp_path, RESULTS)
    np.savez(tmp_path / "results.npz", forces=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_results(tmp_path)


def test_numbers_words_and_truths_fit_into_a_table() -> None:
    assert scalars(RESULTS) == {"energy": -3.5, "phase": "fcc", "converged": True}
