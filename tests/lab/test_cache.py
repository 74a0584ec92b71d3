"""Equal requests are computed once, and the user sees why two are not equal."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from ase.build import bulk, molecule

import nanoos_lab as nl
from nanoos_lab.engines.espresso.pseudos import directory
from nanoos_lab.engines.lammps import library
from nanoos_lab.lab.differences import frame
from nanoos_lab.lab.prepare import prepare
from tests.engines.espresso.running import SILICON
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab

COPPER = bulk("Cu", cubic=True)


def emt(lab: Lab, structure=COPPER, **parameters) -> Job:
    wanted = {"engine": "ase", "task": "md", "calculator": "emt", "steps": 20, "every": 5, "temperature": 300.0}
    return lab.submit(structure, **{**wanted, **parameters})


def test_an_equal_job_is_answered_at_once_with_all_that_the_first_has(lab: Lab) -> None:
    first = emt(lab, seed=11).wait(60)
    again = emt(lab, seed=11, name="again", priority=20)

    assert (again.status, again.progress, again.name) == ("succeeded", 1.0, "again")
    assert (again.cached_from, first.cached_from) == (first.id, None)
    assert again.attempts == []
    pd.testing.assert_frame_equal(again.thermo, first.thermo)
    np.testing.assert_array_equal(again.trajectory.positions, first.trajectory.positions)
    np.testing.assert_array_equal(again.results["forces"], first.results["forces"])
    assert again.structure == first.structure
    assert lab.jobs(name="again", results=["energy"])["energy"].tolist() == [first.results["energy"]]


def test_a_job_on_more_threads_is_the_same_job(lab: Lab) -> None:
    wanted = {"engine": "lammps", "task": "static", "potential": "Cu_u6.eam"}
    first = lab.submit(COPPER, **wanted).wait(60)
    assert lab.submit(COPPER, **wanted, resources={"threads": 2}).cached_from == first.id


def test_one_that_must_not_be_corrected_runs_itself(lab: Lab) -> None:
    """The equal one may have been."""
    emt(lab, seed=12).wait(60)
    assert emt(lab, seed=12).cached_from is not None
    assert emt(lab, seed=12, corrections=False).wait(60).cached_from is None


def test_its_files_are_those_of_the_one_that_ran(lab: Lab) -> None:
    lammps = {"engine": "lammps", "task": "static", "potential": "Cu_u3.eam"}
    first, again = (lab.submit(COPPER, **lammps).wait(60) for _ in range(2))
    assert again.cached_from == first.id
    assert again.files == first.files
    assert "log.lammps" in again.files


def test_its_log_is_that_of_the_one_that_ran(lab: Lab) -> None:
    nitrogen = {"engine": "ase", "task": "static", "calculator": "emt"}
    first, again = (lab.submit(molecule("N2"), **nitrogen).wait(60) for _ in range(2))
    assert again.cached_from == first.id
    assert first.log.startswith("warning")
    assert (again.log, again.log_end()) == (first.log, first.log_end())


def test_a_job_on_its_way_is_joined_and_each_has_its_own_record(lab: Lab) -> None:
    def slow() -> Job:
        return emt(lab, COPPER * (3, 3, 3), seed=12, steps=100, every=1)

    first = slow()
    until(lambda: first.status == "running")
    again = slow()

    assert (again.status, again.cached_from) == ("pending", first.id)
    # Its results are still wanted.
    first.cancel()
    assert again.wait(120).status == "succeeded"
    assert (again.cached_from, len(again.trajectory)) == (first.id, 101)


def test_a_job_waits_for_the_final_structure_of_one_that_was_answered_from_the_cache(lab: Lab) -> None:
    emt(lab, seed=13).wait(60)
    again = emt(lab, seed=13)
    child = emt(lab, again, seed=13).wait(60)
    assert again.cached_from is not None
    assert child.status == "succeeded"
    np.testing.assert_array_equal(child.trajectory[0].positions, again.structure.positions)


def test_a_whole_chain_is_answered_from_the_cache(lab: Lab) -> None:
    def chain() -> nl.Group:
        first = nl.Draft(COPPER, engine="ase", task="relax", calculator="emt", cell="free")
        return lab.submit_many([first, first.but(structure=first, fmax=0.001)])

    begun = chain().wait(60)
    again = chain()
    assert again.status["succeeded"] == 2
    assert [job.cached_from for job in again] == list(begun.ids)


def test_equal_jobs_of_one_call_run_once(lab: Lab) -> None:
    draft = nl.Draft(COPPER, engine="ase", task="static", calculator="emt", calculator_options={"asap_cutoff": True})
    group = lab.submit_many([draft, draft.but(), draft.but(name="third")]).wait(60)
    assert [job.cached_from for job in group] == [None, group[0].id, group[0].id]
    assert group.results["energy"].nunique() == 1


def test_cache_false_forces_a_run(lab: Lab) -> None:
    first = emt(lab, seed=14).wait(60)
    forced = emt(lab, seed=14, cache=False).wait(60)
    assert forced.cached_from is None
    assert len(forced.attempts) == 1
    assert forced.request.key == first.request.key
    assert forced.results["energy"] == first.results["energy"]


@pytest.mark.parametrize(
    "request_",
    [
        {"engine": "mock", "task": "static"},
        {"engine": "lammps", "task": "script", "script": "print hello"},
        {"engine": "ase", "task": "static", "calculator": "ase.calculators.emt:EMT"},
    ],
    ids=lambda request_: f"{request_['engine']} {request_['task']}",
)
def test_what_may_end_differently_is_never_answered_from_the_cache(lab: Lab, request_) -> None:
    first, again = (lab.submit(COPPER, **request_).wait(60) for _ in range(2))
    assert first.request.key == again.request.key
    assert [job.status for job in (first, again)] == ["succeeded", "succeeded"]
    assert again.cached_from is None


def test_the_results_of_a_failed_job_will_not_do(lab: Lab) -> None:
    hard = {"task": "relax", "cell": "free", "fmax": 1e-9, "steps": 1, "temperature": None, "every": 1}
    first, again = (emt(lab, bulk("Cu", a=3.5, cubic=True), **hard).wait(60) for _ in range(2))
    assert (first.status, again.status, again.cached_from) == ("failed", "failed", None)


def test_equal_keys_differ_in_nothing(lab: Lab) -> None:
    first, again = emt(lab, seed=15), emt(lab, seed=15, name="other", priority=1, queue="default")
    assert len(frame(first, again)) == 0
    for job in (first, again):
        job.wait(60)


def test_what_differs_is_named_with_both_values(lab: Lab) -> None:
    moved = COPPER.copy()
    moved.positions[1, 0] += 0.25
    first, other = emt(lab, seed=16), emt(lab, moved, seed=17, timestep=2.0)
    table = frame(first, other)
    assert table.index.tolist() == ["parameters.seed", "parameters.timestep", "structure.positions"]
    assert table.loc["parameters.seed"].tolist() == [16, 17, "1"]
    assert table.loc["parameters.timestep", [first.id, other.id]].tolist() == [1.0, 2.0]
    assert table.loc["structure.positions", "difference"] == "1 of 4 rows, by at most 0.25 Å"
    for job in (first, other):
        job.wait(60)


def test_engine_task_version_and_structure_differ(lab: Lab) -> None:
    first = emt(lab, seed=18)
    other = lab.submit(bulk("Cu"), engine="mock", task="static")
    found = set(frame(first, other).index)
    assert {"engine", "version", "task", "structure.atoms", "structure.formula", "structure.cell"} <= found
    assert frame(first, other).loc["structure.atoms", "difference"] == "-3"
    for job in (first, other):
        job.wait(60)


def test_files_differ_by_their_content_not_by_their_name(lab: Lab, tmp_path: Path) -> None:
    theirs = (library.potentials_folder() / "Cu_u3.eam").read_text()
    jobs = []
    for text in (theirs, theirs.replace("Cu functions", "Cu Functions", 1)):
        (tmp_path / "Cu_u3.eam").write_text(text)
        path = str(tmp_path / "Cu_u3.eam")
        jobs.append(lab.submit(COPPER, engine="lammps", task="static", potential=path))
    table = frame(*jobs)
    assert table.index.tolist() == ["files.potential"]
    assert table.iloc[0, 0].startswith("Cu_u3.eam (")
    for job in jobs:
        job.wait(60)


def test_a_file_is_the_same_however_its_path_is_written(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(library.potentials_folder() / "Cu_u3.eam", "mine.eam")
    shutil.copyfile(directory(None) / "Si.pz-vbc.UPF", "mine.UPF")
    script = "units metal\nread_data structure.data\npair_style eam\npair_coeff 1 1 mine.eam  # a/b\nrun 0\n"
    keys = set()
    for where in ("", "./", f"{tmp_path}/"):
        parameters = [
            ("lammps", COPPER, "static", {"potential": f"{where}mine.eam"}),
            ("lammps", COPPER, "script", {"script": script, "files": [f"{where}mine.eam"]}),
            ("espresso", bulk("Si"), "static", {**SILICON, "pseudos": {"Si": f"{where}mine.UPF"}}),
        ]
        for engine, atoms, task, given in parameters:
            request = prepare(lab.services, nl.Draft(atoms, engine=engine, task=task, **given)).request
            keys.add((engine, task, request.key))
    assert len(keys) == 3


def test_a_file_that_was_named_by_its_path_is_there_in_the_run(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "mine.eam"
    shutil.copyfile(library.potentials_folder() / "Cu_u3.eam", path)
    job = lab.submit(COPPER, engine="lammps", task="static", potential=str(path)).wait(60)
    assert job.status == "succeeded"
    assert job.request.parameters["potential"] == "mine.eam"


def test_a_link_has_its_own_name_in_the_run(lab: Lab, tmp_path: Path) -> None:
    shutil.copyfile(library.potentials_folder() / "Cu_u3.eam", tmp_path / "kept")
    (tmp_path / "mine.eam").symlink_to("kept")
    link = str(tmp_path / "mine.eam")
    job = lab.submit(COPPER, engine="lammps", task="static", potential=link).wait(60)
    assert job.status == "succeeded"
    script = "units metal\nboundary p p p\nregion box block 0 3.6 0 3.6 0 3.6\ncreate_box 1 box\n"
    script += "create_atoms 1 single 0 0 0\nmass 1 63.5\npair_style eam\npair_coeff 1 1 mine.eam\nrun 1\n"
    job = lab.submit(None, engine="lammps", task="script", script=script, files=[link]).wait(60)
    assert job.status == "succeeded"


def test_final_structures_of_different_jobs_differ(lab: Lab) -> None:
    parents = [emt(lab, seed=seed) for seed in (19, 20)]
    first, other = (emt(lab, parent, seed=1) for parent in parents)
    table = frame(first, other)
    assert table.index.tolist() == ["structure"]
    assert table.loc["structure", first.id] == f"final structure of job {parents[0].id}"
    for job in (first, other):
        job.wait(60)
