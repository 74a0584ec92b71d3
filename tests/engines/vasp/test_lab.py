"""Jobs of engine ``vasp`` in a lab of their own; a replay stands in for VASP."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from nanoos_lab.core.errors import InputError, JobFailedError, UnknownNameError
from tests.engines.vasp.running import atoms_of
from tests.engines.vasp.synthetic import Run
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


def replays(directory: Path) -> list[psutil.Process]:
    found = [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"]]
    mine = [process for process in found if any(part.endswith("vasp_replay.py") for part in process.info["cmdline"])]
    return [process for process in mine if process.environ().get("VASP_REPLAY", "").startswith(str(directory))]


def test_a_job_is_corrected_resumed_and_finished(replay, own_lab, tmp_path) -> None:
    first = Run(steps=3)
    diary = replay(first.write(tmp_path / "first"), Run(steps=2, accurate=True).write(tmp_path / "second"))
    job = own_lab.submit(atoms_of(first), engine="vasp", xc="PBE", task="relax", steps=2).wait(120)
    assert job.status == "succeeded", job.log
    assert [attempt.outcome for attempt in job.attempts] == ["corrected", "succeeded"]
    assert job.attempts[0].correction.changes == {"steps": 4}
    assert job.thermo.index.tolist() == [0, 1, 2, 3]
    assert len(job.trajectory) == 4
    assert job.results["free_energy"] == first.free_energy(1)
    assert job.attempts[-1].provenance["potentials"][0]["title"] == "PAW_PBE Si 01Jan2000"
    # What the first attempt has left is not computed again.
    entries = [json.loads(line) for line in diary.read_text().splitlines()]
    assert [entry["INCAR"].partition("NSW = ")[2].split()[0] for entry in entries] == ["3", "3"]
    stored = [path for path in own_lab.services.settings.artifacts.rglob("*") if path.is_file()]
    assert stored
    assert not [path for path in stored if b"End of Dataset" in path.read_bytes()]
    assert {"INCAR", "POSCAR", "KPOINTS", "OUTCAR", "vasp.out"} <= job.files.keys()
    assert not {"POTCAR", "STOPCAR", "WAVECAR"} & job.files.keys()
    assert job.results.units["fermi_level"] == job.results.units["energy_without_entropy"] == "eV"


def test_the_numbers_of_a_job_can_be_had_with_vasp_alone(replay, own_lab, potentials, tmp_path) -> None:
    made = Run(species=["In", "As"], counts=[1, 2], steps=1)
    diary = replay(made.write(tmp_path / "recording"))
    job = own_lab.submit(
        atoms_of(made), engine="vasp", xc="PBE", setups="recommended", task="static", kpts=[3, 3, 3]
    ).wait(60)
    place = job.reproduce(tmp_path / "again")
    assert not (place / "POTCAR").exists()
    environment = {**os.environ, "VASP": os.environ["NANOOS_VASP_STD"]}
    subprocess.run([place / "run.sh"], check=True, timeout=60, env=environment, stdout=subprocess.DEVNULL)
    first, second = [json.loads(line) for line in diary.read_text().splitlines()]
    assert {name: first[name] for name in ("INCAR", "KPOINTS", "POSCAR", "POTCAR bytes")} == {
        name: second[name] for name in ("INCAR", "KPOINTS", "POSCAR", "POTCAR bytes")
    }
    # Another POTCAR than the job's is refused.
    (potentials / "potpaw_PBE" / "As" / "POTCAR").write_text("another")
    again = subprocess.run([place / "run.sh"], check=False, timeout=60, env=environment, capture_output=True)
    assert again.returncode != 0
    assert len(diary.read_text().splitlines()) == 2


def test_levels_along_a_path_can_be_had_with_vasp_alone(replay, own_lab, tmp_path) -> None:
    points = np.linspace([0.0, 0, 0], [0.5, 0, 0], 5)
    first, second = Run(steps=1, kpoints=points[:1]), Run(steps=1, kpoints=points)
    recordings = [first.write(tmp_path / "density"), second.write(tmp_path / "path")]
    diary = replay(*recordings, *recordings)
    job = own_lab.submit(atoms_of(first), engine="vasp", xc="PBE", task="bands", path="GX", points=5).wait(60)
    assert job.status == "succeeded", job.log
    assert job.results["eigenvalues"].shape == (1, 5, 8)
    place = job.reproduce(tmp_path / "again")
    environment = {**os.environ, "VASP": os.environ["NANOOS_VASP_STD"]}
    subprocess.run([place / "run.sh"], check=True, timeout=60, env=environment, stdout=subprocess.DEVNULL)
    *ours, density, path = [json.loads(line) for line in diary.read_text().splitlines()]
    for one, other in zip(ours, (density, path), strict=True):
        for name in ("INCAR", "KPOINTS", "POSCAR", "POTCAR bytes"):
            assert one[name] == other[name]


def test_a_job_is_cancelled_with_all_its_processes(replay, own_lab, tmp_path) -> None:
    replay(Run(steps=400, seconds=0.05).write(tmp_path / "recording"), speed=1)
    job = own_lab.submit(atoms_of(Run()), engine="vasp", xc="PBE", task="relax")
    until(lambda: job.status == "running" and len(job.trajectory) > 1, what="the first steps")
    assert replays(tmp_path)
    job.cancel()
    until(lambda: job.status == "cancelled", what="the end of the job")
    assert not replays(tmp_path)
    assert not {"POTCAR", "STOPCAR"} & job.files.keys()


def test_a_failure_says_what_vasp_said_and_what_to_do(replay, own_lab, tmp_path) -> None:
    replay(Run(steps=1, says=(" Error reading item 'SIGMA' from file INCAR.",)).write(tmp_path / "recording"))
    job = own_lab.submit(atoms_of(Run()), engine="vasp", xc="PBE", task="static").wait(60)
    assert (job.status, str(job.record.reason)) == ("failed", "input")
    with pytest.raises(JobFailedError, match="Error reading item 'SIGMA' from file INCAR") as caught:
        job.result()
    assert "incar={" in caught.value.remedy


def test_bad_input_is_refused_in_the_users_cell(replay, own_lab, monkeypatch) -> None:
    with pytest.raises(UnknownNameError):
        own_lab.submit(atoms_of(Run()), engine="vasp", xc="PBE", task="static", incar={"ISMEER": 0})
    monkeypatch.delenv("VASP_PP_PATH")
    with pytest.raises(InputError, match="VASP_PP_PATH is not set"):
        own_lab.submit(atoms_of(Run()), engine="vasp", xc="PBE", task="static")
    assert len(own_lab.jobs()) == 0
