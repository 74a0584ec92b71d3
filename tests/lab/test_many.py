"""Many jobs in one call, which may depend on each other."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from nanoos_lab.core.errors import InputError, JobNotFoundError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines.espresso.pseudos import directory
from nanoos_lab.engines.lammps.library import potentials_folder
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker.settings import Settings
from tests.engines.espresso.running import SILICON

if TYPE_CHECKING:
    from pathlib import Path

COPPER = bulk("Cu", cubic=True)
#: What keeps a job from running: a time that no test lives to see.
LATER = datetime.now(UTC) + timedelta(days=30)


def md(structure=COPPER, **options) -> Draft:
    return Draft(structure, **{"engine": "mock", "task": "md", "steps": 20, "every": 10, **options})


def test_drafts_become_jobs_in_the_order_given(lab: Lab) -> None:
    group = lab.submit_many([md(name="one"), md(name="two", priority=7)]).wait(60)
    assert [job.name for job in group] == ["one", "two"]
    assert group[1].record.priority == 7
    assert [job.status for job in group] == ["succeeded", "succeeded"]


def test_a_draft_as_structure_means_its_final_structure(lab: Lab) -> None:
    relax = Draft(COPPER, engine="mock", task="relax", fmax=0.001)
    group = lab.submit_many([md(relax, steps=0, name="child"), relax]).wait(60)
    child, parent = group
    assert [job.status for job in group] == ["succeeded", "succeeded"]
    np.testing.assert_array_equal(child.trajectory[0].positions, parent.structure.positions)
    assert (child.structure.positions != COPPER.positions).any()
    assert child.request.structure_of.job_id == parent.id
    assert child.request.structure_of.key == parent.request.key


def test_an_unfinished_job_as_structure_means_its_final_structure(lab: Lab) -> None:
    parent = lab.submit(COPPER, engine="mock", task="relax", fmax=0.001, duration=2.0)
    child = lab.submit(parent, engine="mock", task="md", steps=0)
    assert child.status == "pending"
    assert child.wait(60).status == "succeeded"
    np.testing.assert_array_equal(child.trajectory[0].positions, parent.structure.positions)


def test_a_job_on_the_structure_of_another_one_has_the_files_that_its_user_named(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is checked again once that structure is known, where the user's paths mean nothing."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(potentials_folder() / "Cu_u3.eam", "mine.eam")
    shutil.copyfile(directory(None) / "Si.pz-vbc.UPF", "mine.UPF")
    script = "units metal\nread_data structure.data\npair_style eam\npair_coeff 1 1 mine.eam\nrun 0\n"
    copper, silicon = (Draft(atoms, engine="mock", task="static") for atoms in (COPPER, bulk("Si")))
    own = [
        Draft(copper, engine="lammps", task="static", potential="mine.eam"),
        Draft(copper, engine="lammps", task="script", script=script, files=["mine.eam"]),
        Draft(silicon, engine="espresso", task="static", **{**SILICON, "pseudos": {"Si": "./mine.UPF"}}),
    ]
    group = lab.submit_many([copper, silicon, *own]).wait(120)
    assert [job.exception() for job in group] == [None] * 5


def test_a_job_on_the_structure_of_one_that_leaves_none_has_failed_once(lab: Lab) -> None:
    empty = Draft(COPPER, engine="lammps", task="script", script="units metal\n")
    parent, child = lab.submit_many([empty, md(empty)]).wait(60)
    assert parent.status == "succeeded"
    assert (child.status, child.record.reason, len(child.attempts)) == ("failed", "input", 1)
    assert child.record.failure.message == f"job {parent.id} has left no final structure"


def test_jobs_fan_out_and_in(lab: Lab) -> None:
    first = md(duration=0.3)
    middle = [md(after=first, seed=seed) for seed in (1, 2, 3)]
    last = md(after=middle)
    group = lab.submit_many([last, *middle, first]).wait(60)
    ends, *_, begin = (job.record for job in group)
    assert all(record.status == "succeeded" for record in group.records)
    assert all(begin.ended <= record.started for record in group.records[1:4])
    assert max(record.ended for record in group.records[1:4]) <= ends.started


def test_a_chain_does_not_wait_for_the_reconciler_between_its_jobs(lab: Lab) -> None:
    chain = [md()]
    while len(chain) < 10:
        chain.append(md(chain[-1]))
    first, *_, last = lab.submit_many(chain).wait(90).records
    # The reconciler comes every five seconds; nine hops would take it forty and more.
    assert last.started - first.ended < timedelta(seconds=30)


def test_a_failed_job_cancels_those_that_depend_on_it_and_says_why(lab: Lab) -> None:
    bad = md(fail_at=10)
    child, brave = md(after=bad), md(after=bad, after_failure="run")
    grandchild = md(child)
    failed, cancelled, below, ran = lab.submit_many([bad, child, grandchild, brave]).wait(60)
    assert [job.status for job in (failed, cancelled, below, ran)] == ["failed", "cancelled", "cancelled", "succeeded"]
    assert all(failed.id in job.record.failure.message for job in (cancelled, below))


def test_a_thousand_jobs_go_to_the_broker_in_one_call_and_share_one_encoded_structure(lab: Lab, monkeypatch) -> None:
    encoded, offered = [], []
    encode, put = Structure.encode.__func__, lab.services.queue.put
    monkeypatch.setattr(
        Structure, "encode", classmethod(lambda cls, atoms: encoded.append(atoms) or encode(cls, atoms))
    )
    monkeypatch.setattr(
        lab.services.queue, "put", lambda deliveries: offered.append(len(deliveries)) or put(deliveries)
    )
    draft = md(duration=60.0)
    group = lab.submit_many(
        [draft.but(seed=seed, not_before=LATER) for seed in range(1, 990)]
        + [draft]
        + [draft.but(seed=seed, queue="default") for seed in range(990, 1000)]
    )
    group.cancel()
    assert len(group) == 1000
    assert len(encoded) == 1
    assert offered == [11]
    assert group.wait(60).status["cancelled"] == 1000


def test_a_structure_that_changes_after_the_draft_does_not_change_the_draft(lab: Lab) -> None:
    atoms = COPPER.copy()
    draft = md(atoms, not_before=LATER)
    atoms.positions += 0.1
    (job,) = lab.submit_many([draft])
    job.cancel()
    np.testing.assert_array_equal(job.request.structure.atoms().positions, COPPER.positions)


def test_nothing_to_submit_is_a_group_of_no_jobs(lab: Lab) -> None:
    group = lab.submit_many([])
    assert (len(group), group.done(), group.progress) == (0, True, 1.0)
    assert len(group.wait().results) == 0


@pytest.mark.parametrize(
    ("drafts", "error", "says"),
    [
        (lambda: [md(), md(steps=-1)], ParameterError, "steps"),
        (lambda: [md(), md(engine="mok")], UnknownNameError, "'mock'"),
        (lambda: [md(), md(after="0" * 32)], JobNotFoundError, "no job"),
        (lambda: [md(), md(after=md())], InputError, "draft 1 depends on a draft that is not submitted"),
        (lambda: [md(), md(md())], InputError, "draft 1 depends on a draft that is not submitted"),
        (lambda: [md(), "a job"], ParameterError, "Draft"),
        (lambda: [md()] * 2, InputError, "twice"),
        (lambda: [md(), md(after=7)], ParameterError, "after=7"),
        (lambda: [md(), md(after=[None])], ParameterError, "after=None"),
        (lambda: [md(), md(after_failure="go")], UnknownNameError, "cancel, run"),
        (lambda: circle("structure"), InputError, "circle"),
        (lambda: circle("after"), InputError, "circle"),
    ],
)
def test_one_bad_draft_refuses_all(lab: Lab, drafts, error: type[Exception], says: str) -> None:
    before = lab.services.store.count()
    with pytest.raises(error, match=says):
        lab.submit_many(drafts())
    assert lab.services.store.count() == before


def circle(by: str) -> list[Draft]:
    """Two drafts that need each other; one has to be forced, for drafts cannot be changed."""
    first = md()
    second = md(first) if by == "structure" else md(after=first)
    changed = {"structure": second} if by == "structure" else {"options": {**first.options, "after": second}}
    for name, value in changed.items():
        object.__setattr__(first, name, value)
    return [first, second]


def test_the_error_says_which_draft_it_is_about(lab: Lab) -> None:
    with pytest.raises(ParameterError) as caught:
        lab.submit_many([md(), md(), md(temperature=-1.0)])
    assert caught.value.__notes__ == ["This is draft 2 of 3, counted from 0."]


def test_a_structure_that_no_engine_can_run_is_refused_with_the_draft() -> None:
    with pytest.raises(StructureError, match=r"ase\.Atoms"):
        md("POSCAR")


def test_a_job_of_another_lab_is_refused(lab: Lab, tmp_path: Path) -> None:
    job = lab.submit(COPPER, engine="mock", task="md", steps=0, not_before=LATER)
    with Lab(Settings.load(home=tmp_path / "elsewhere", concurrency=1)) as other:
        for options in ({"structure": job}, {"structure": COPPER, "after": job}):
            with pytest.raises(InputError, match="another lab"):
                other.submit(**options, engine="mock", task="md", steps=0)
    assert job.cancel()
