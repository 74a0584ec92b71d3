"""pw.x through the whole house: submitted, watched, cancelled, corrected."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from ase import units

from nanoos_lab.core.errors import InputError, JobFailedError
from nanoos_lab.engines.espresso.output import read
from nanoos_lab.lab.potentials import potentials
from tests.engines.espresso.running import SILICON, silicon
from tests.waiting import quickest, until

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab


def test_a_static_calculation_has_its_results_and_its_iterations(lab: Lab) -> None:
    job = lab.submit(silicon(shift=0.1), engine="espresso", task="static", **SILICON).wait(60)
    assert job.status == "succeeded"
    thermo = job.thermo
    assert thermo.index.tolist() == list(range(1, len(thermo) + 1))
    assert thermo["scf_accuracy"].iloc[-1] < 1e-8 < thermo["scf_accuracy"].iloc[0]
    assert thermo.attrs["units"]["scf_accuracy"] == "Ry"
    results = job.results
    assert results["energy"] == pytest.approx(thermo["potential_energy"].iloc[-1], abs=1e-6)
    assert results["forces"].shape == (2, 3)
    assert results["stress"][:3].mean() / -units.GPa == pytest.approx(thermo["pressure"].iloc[-1], rel=1e-3)
    assert results["eigenvalues"].shape[0] == 1
    assert len(job.trajectory) == 1
    assert lab.jobs().loc[job.id, "engine"] == "espresso"


def test_a_relaxation_has_a_frame_for_each_step(lab: Lab) -> None:
    job = lab.submit(silicon(shift=0.2), engine="espresso", task="relax", fmax=0.02, **SILICON).wait(60)
    assert job.status == "succeeded"
    assert len(job.trajectory) == len(job.thermo) == job.results["steps"] + 1
    assert job.results["fmax"] <= 0.02
    assert job.thermo["fmax"].iloc[-1] == pytest.approx(job.results["fmax"])
    assert job.structure.positions == pytest.approx(job.trajectory[-1].positions, abs=1e-6)


def test_a_cancel_ends_pwx_within_two_seconds(lab: Lab) -> None:
    large = silicon(shift=0.2) * (3, 3, 3)

    def seconds() -> float:
        job = lab.submit(large, engine="espresso", task="relax", **{**SILICON, "ecutwfc": 30})
        until(lambda: _programs(job.id), what="pw.x runs")
        begin = time.monotonic()
        job.cancel()
        until(lambda: not _programs(job.id), what="pw.x has ended")
        took = time.monotonic() - begin
        assert job.wait(90).status == "cancelled"
        return took

    assert quickest(seconds, limit=2.0) < 2.0


def test_a_program_that_is_not_there_is_not_waited_for_on_one_computer(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """All workers of an embedded lab lack what one of them lacks, whatever the user's own process has."""
    monkeypatch.setenv("NANOOS_DOS_X", "/no/such/dos.x")
    own_lab: Lab = request.getfixturevalue("own_lab")
    assert own_lab.submit(silicon(), engine="mock", task="static").wait(60).status == "succeeded"
    monkeypatch.delenv("NANOOS_DOS_X")
    job = own_lab.submit(silicon(), engine="espresso", task="dos", **SILICON).wait(60)
    assert job.status == "failed"
    (attempt,) = job.attempts
    assert attempt.failure.reason == "resource"
    with pytest.raises(JobFailedError, match=r"NANOOS_DOS_X is '/no/such/dos\.x', where no program is") as caught:
        job.result()
    assert "job.retry() tries it again" in caught.value.remedy


def _programs(job_id: str, name: str = "pw.x") -> list[psutil.Process]:
    """Return the processes of a program that run for a job."""
    running = psutil.process_iter(["name", "cwd"])
    return [each for each in running if each.info["name"] == name and job_id in (each.info["cwd"] or "")]


def test_a_cycle_that_does_not_converge_is_tried_again_in_another_way(lab: Lab) -> None:
    job = lab.submit(silicon(shift=0.1), engine="espresso", task="static", scf_iterations=4, **SILICON).wait(60)
    assert job.status == "succeeded"
    assert job.results["converged"]
    first, *others = job.attempts
    assert (first.outcome, len(others)) == ("corrected", 1)
    assert first.correction.changes == {"mixing_beta": 0.49, "scf_iterations": 8}
    assert job.results["scf_iterations"] <= 8
    left = lab.submit(
        silicon(shift=0.1),
        engine="espresso",
        task="static",
        scf_iterations=4,
        cache=False,
        corrections=False,
        **SILICON,
    ).wait(60)
    assert (left.status, str(left.record.reason), len(left.attempts)) == ("failed", "convergence", 1)


def test_a_run_that_met_its_limit_goes_on_by_a_retry(lab: Lab) -> None:
    job = lab.submit(silicon(shift=0.1), engine="espresso", task="md", steps=5000, limits={"soft": 5}, **SILICON)
    assert str(job.wait(60).record.reason) == "time_limit"
    reached = int(job.thermo.index[-1])
    assert reached >= 1
    job.retry(limits={"soft": 5})
    assert str(job.wait(60).record.reason) == "time_limit"
    assert job.thermo.index.tolist() == list(range(len(job.thermo)))
    assert len(job.trajectory) == len(job.thermo) > reached + 2
    assert f"goes on from the checkpoint at step {reached}" in job.log
    total = job.thermo["total_energy"]
    assert total.max() - total.min() < 0.05 * job.thermo["kinetic_energy"].max()


def test_a_paused_pwx_stands_still_and_goes_on(lab: Lab) -> None:
    job = lab.submit(silicon(shift=0.1), engine="espresso", task="md", steps=5000, **SILICON)
    until(lambda: _programs(job.id), what="pw.x runs")
    job.pause()
    until(lambda: {each.status() for each in _programs(job.id)} == {psutil.STATUS_STOPPED}, what="it stands still")
    job.resume()
    until(lambda: {each.status() for each in _programs(job.id)} & {"running", "sleeping"}, what="it goes on")
    job.cancel()
    assert job.wait(90).status == "cancelled"


def test_what_cannot_run_is_refused_before_it_is_queued(lab: Lab) -> None:
    before = len(lab.jobs())
    with pytest.raises(InputError, match="that file is for Al, not Si"):
        lab.submit(silicon(), engine="espresso", task="static", ecutwfc=12, pseudos={"Si": "Al.pz-vbc.UPF"})
    assert len(lab.jobs()) == before


def test_pwx_alone_gives_the_same_numbers(lab: Lab, tmp_path: Path) -> None:
    job = lab.submit(silicon(shift=0.2), engine="espresso", task="relax", fmax=0.02, **SILICON).wait(60)
    place = job.reproduce(tmp_path / "again")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NANOOS")}
    subprocess.run([place / "run.sh"], env=environment, check=True, timeout=60)
    with (place / "espresso.out").open() as lines:
        _, cycles = read(lines, 2)
    assert [cycle.energy for cycle in cycles] == job.thermo["potential_energy"].tolist()
    assert cycles[-1].forces == pytest.approx(job.results["forces"], abs=1e-6)
    made_by = job.provenance
    assert made_by["inputs"]["pseudo_Si"]["name"] == "Si.pz-vbc.UPF"


def test_vibrations_have_their_units_and_the_programs_alone_give_the_same(lab: Lab, tmp_path: Path) -> None:
    job = lab.submit(silicon(), engine="espresso", task="gamma_phonons", **SILICON).wait(60)
    assert job.status == "succeeded"
    results = job.results
    assert (results["frequencies"].shape, results["modes"].shape) == ((6,), (6, 2, 3))
    assert results["force_constants"].shape == (2, 2, 3, 3)
    assert (results.units["frequencies"], results.units["born_charges"]) == ("THz", "e")
    assert "ph.x: representation 2 of 2" in job.log
    ours = Path(job.provenance["ph.x"]["path"])
    assert (ours.name, job.provenance["ph.x"]["sha256"]) == ("ph.x", hashlib.sha256(ours.read_bytes()).hexdigest())
    place = job.reproduce(tmp_path / "again")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NANOOS")}
    done = subprocess.run([place / "run.sh"], env=environment, check=True, timeout=60, capture_output=True, text=True)
    again = [float(each) for each in re.findall(r"= +(\S+) \[THz\]", done.stdout)]
    assert results["frequencies"] == pytest.approx(again, abs=2e-4)


def test_a_response_that_does_not_converge_is_tried_again_in_another_way(lab: Lab) -> None:
    how = {**SILICON, "response_iterations": 2, "response_thr": 1e-10}
    job = lab.submit(silicon(), engine="espresso", task="gamma_phonons", **how).wait(120)
    assert job.status == "succeeded"
    first, *_, last = job.attempts
    assert (first.outcome, last.outcome) == ("corrected", "succeeded")
    assert first.correction.changes == {"response_mixing": 0.49, "response_iterations": 4}


def test_a_cancel_ends_phx_within_two_seconds(lab: Lab) -> None:
    def seconds() -> float:
        large = {**SILICON, "ecutwfc": 24, "kpts": (6, 6, 6)}
        job = lab.submit(silicon(shift=0.1), engine="espresso", task="gamma_phonons", cache=False, **large)
        until(lambda: _programs(job.id, "ph.x"), what="ph.x runs")
        begin = time.monotonic()
        job.cancel()
        until(lambda: not _programs(job.id, "ph.x"), what="ph.x has ended")
        took = time.monotonic() - begin
        assert job.wait(90).status == "cancelled"
        return took

    assert quickest(seconds, limit=2.0) < 2.0


def test_pseudopotentials_are_listed_for_each_element() -> None:
    found = potentials(["Si", "Al"], "espresso")
    assert found.loc["Si.pz-vbc.UPF", "kind"] == "UPF PZ"
    assert found.loc["Al.pz-vbc.UPF", "elements"] == ("Al",)
    assert set(found["elements"]) == {("Si",), ("Al",)}
