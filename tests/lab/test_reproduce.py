"""What made a result, and how to get it again without nanoos_lab."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import psutil
import pytest
from ase import units
from ase.build import add_adsorbate, bulk, fcc100, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.io import read
from ase.optimize import QuasiNewton

from nanoos_lab.core.errors import InputError, JobError
from nanoos_lab.engines import registry
from nanoos_lab.engines.lammps import library
from tests.engines.espresso.running import SILICON, silicon
from tests.waiting import until

if TYPE_CHECKING:
    from ase import Atoms

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab

COPPER = bulk("Cu", cubic=True) * (3, 3, 3)
COPPER.rattle(0.05, seed=1)
MD = {"ensemble": "nvt", "temperature": 600, "timestep": 2.0, "steps": 200, "every": 50, "seed": 4711}
EAM = {"engine": "lammps", "potential": "Cu_u3.eam"}
#: What numbers in units metal are worth in ours, by the heading of LAMMPS's table.
COLUMNS = {"Temp": ("temperature", 1.0), "PotEng": ("potential_energy", 1.0), "TotEng": ("total_energy", 1.0)}
COLUMNS |= {"Press": ("pressure", 1e5 * units.Pascal / units.GPa), "Volume": ("volume", 1.0)}


@pytest.fixture(scope="module")
def job(lab: Lab) -> Job:
    job = lab.submit(COPPER, task="md", **EAM, **MD, name="melt")
    job.result(120)
    return job


def without_us(directory: Path) -> str:
    """Run the line of shell where Python refuses to import nanoos_lab."""
    blocker = directory.parent / "blocker"
    blocker.mkdir()
    (blocker / "nanoos_lab.py").write_text("raise ImportError('this must work without')\n")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHON": sys.executable, "PYTHONPATH": str(blocker)}
    done = subprocess.run(["sh", "run.sh"], cwd=directory, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tables(log: str) -> pd.DataFrame:
    """Return the last table of thermo in a log of LAMMPS, by step."""
    rows: list[list[float]] = []
    names: list[str] = []
    for line in log.splitlines():
        words = line.split()
        if words[:1] == ["Step"]:
            names, rows = words, []
        elif len(words) == len(names) and words[0].isdigit():
            rows.append([float(word) for word in words])
    return pd.DataFrame(rows, columns=names).set_index("Step")


def assert_same(log: pd.DataFrame, thermo: pd.DataFrame) -> None:
    """Compare to the ten digits that LAMMPS prints."""
    assert log.index.tolist() == thermo.index.tolist()
    for heading, (name, factor) in COLUMNS.items():
        np.testing.assert_allclose(log[heading] * factor, thermo[name], rtol=2e-9, err_msg=name)


def test_lammps_alone_gives_the_numbers_of_a_job_again(job: Job, tmp_path: Path) -> None:
    place = job.reproduce(tmp_path / "again")
    without_us(place)
    assert_same(tables((place / "log.lammps").read_text()), job.thermo)
    expected = pd.read_csv(place / "expected" / "thermo.csv", index_col="step")
    np.testing.assert_allclose(expected, job.thermo)


def test_a_relaxation_is_reproduced_too(lab: Lab, tmp_path: Path) -> None:
    job = lab.submit(COPPER, task="relax", **EAM, fmax=1e-3, cell="free")
    job.result(120)
    place = job.reproduce(tmp_path / "again")
    without_us(place)
    last = tables((place / "log.lammps").read_text()).iloc[-1]
    assert last["PotEng"] == pytest.approx(job.results["energy"], rel=1e-9)
    assert last["Volume"] == pytest.approx(job.structure.get_volume(), rel=1e-9)


def test_a_script_of_the_users_own_is_reproduced_in_its_units_and_with_its_charges(lab: Lab, tmp_path: Path) -> None:
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (2, 2, 2)
    salt.set_initial_charges([1.0 if symbol == "Na" else -1.0 for symbol in salt.symbols])
    script = (
        "units real\natom_style charge\nread_data structure.data\npair_style born/coul/long 5.5\n"
        "kspace_style ewald 1e-5\npair_coeff * * 6.08 0.317 2.755 -24.18 -11.51\n"
        "velocity all create 300 7\nfix 1 all nve\nthermo 10\nrun 20\n"
    )
    job = lab.submit(salt, engine="lammps", task="script", script=script)
    job.result(120)
    place = job.reproduce(tmp_path / "again")
    without_us(place)
    log = tables((place / "log.lammps").read_text())
    assert log.index.tolist() == job.thermo.index.tolist()
    for name in ("Temp", "E_pair", "TotEng", "Press"):
        np.testing.assert_allclose(log[name], job.thermo[name], rtol=1e-7, err_msg=name)


def said_again(job: Job, directory: Path) -> dict[str, list[list[str]]]:
    """Run the recipe of a job where nanoos_lab is not to be had; return its lines by their first word."""
    job.result(600)
    said: dict[str, list[list[str]]] = {}
    for line in without_us(job.reproduce(directory / "again")).splitlines():
        word, *rest = line.split()
        said.setdefault(word, []).append(rest)
    return said


def assert_same_motion(said: dict[str, list[list[str]]], thermo: pd.DataFrame, within: float) -> None:
    """Compare both energies at each sample."""
    rows = {int(words[0]): [float(words[1]), float(words[2])] for words in said["step"]}
    assert list(rows) == thermo.index.tolist()
    np.testing.assert_allclose(list(rows.values()), thermo[["potential_energy", "kinetic_energy"]], rtol=within)


def energy_of(said: dict[str, list[list[str]]]) -> float:
    [[energy, _]] = said["energy"]
    return float(energy)


@pytest.mark.parametrize(
    ("task", "parameters"),
    [("static", {}), ("relax", {"fmax": 0.2, "cell": "free", "optimizer": "FIRE"})],
)
def test_a_script_for_ase_alone_gives_its_numbers_again(
    lab: Lab, tmp_path: Path, task: str, parameters: dict[str, Any]
) -> None:
    job = lab.submit(COPPER, engine="ase", task=task, calculator="emt", **parameters)
    assert energy_of(said_again(job, tmp_path)) == pytest.approx(job.results["energy"], rel=1e-12)


@pytest.mark.parametrize(
    ("parameters", "held"),
    [
        ({"ensemble": "nve"}, 0),
        ({"ensemble": "nvt"}, 0),
        ({"ensemble": "nvt", "temperature_end": 900}, 4),
        ({"ensemble": "nvt", "thermostat": "langevin", "temperature_end": 900}, 0),
        ({"ensemble": "nvt", "thermostat": "langevin"}, 4),
        ({"ensemble": "nvt", "thermostat": "nose-hoover", "tdamp": 50.0}, 0),
        ({"ensemble": "nvt", "thermostat": "nose-hoover"}, 4),
        ({"ensemble": "npt", "pressure": 1.0, "pdamp": 500.0}, 0),
        ({"ensemble": "npt", "pressure": 0.0, "temperature_end": 300}, 0),
    ],
)
def test_dynamics_in_ase_alone_give_the_same_motion(
    lab: Lab, tmp_path: Path, parameters: dict[str, Any], held: int
) -> None:
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.rattle(0.05, seed=1)
    if held:
        atoms.set_constraint(FixAtoms(range(held)))
    wanted = {"steps": 20, "every": 5, "temperature": 600, "timestep": 2.0, **parameters}
    job = lab.submit(atoms, engine="ase", task="md", calculator="emt", **wanted)
    assert_same_motion(said_again(job, tmp_path), job.thermo, 1e-9)


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
def test_the_motion_of_a_structure_goes_on_in_ase_alone(lab: Lab, tmp_path: Path, ensemble: str) -> None:
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.set_velocities(np.random.default_rng(3).normal(0.01, 0.02, (len(atoms), 3)))
    wanted = {"ensemble": ensemble, "temperature": 300 if ensemble == "nvt" else None, "steps": 20, "every": 5}
    job = lab.submit(atoms, engine="ase", task="md", calculator="emt", **wanted)
    assert_same_motion(said_again(job, tmp_path), job.thermo, 1e-9)


def hop() -> tuple[Atoms, Atoms]:
    """Return both ends of the hop of an atom over a bridge of a surface, both relaxed by EMT."""
    slab = fcc100("Al", (2, 2, 3), vacuum=8.0)
    add_adsorbate(slab, "Au", 1.7, "hollow")
    slab.set_constraint(FixAtoms(mask=slab.get_tags() > 1))
    ends = (slab, slab.copy())
    ends[1][-1].x += slab.cell[0, 0] / 2
    for end in ends:
        end.calc = EMT()
        QuasiNewton(end, logfile=None).run(fmax=0.03)
        end.calc = None
    return ends


@pytest.mark.parametrize("optimizer", ["FIRE", "BFGS"])
def test_a_path_is_found_again_by_ase_alone(lab: Lab, tmp_path: Path, optimizer: str) -> None:
    first, last = hop()
    wanted = {"final": last, "images": 3, "optimizer": optimizer}
    job = lab.submit(first, engine="ase", task="neb", calculator="emt", **wanted)
    said = said_again(job, tmp_path)
    [[*energies, _]] = said["energies"]
    np.testing.assert_allclose([float(one) for one in energies], job.results["image_energies"], rtol=1e-9)
    assert float(said["barrier"][0][0]) == pytest.approx(job.results["barrier"], rel=1e-7)
    assert 0.1 < job.results["barrier"] < 1.0
    assert energy_of(said) == pytest.approx(job.results["energy"], rel=1e-10)


@pytest.mark.parametrize(
    ("task", "parameters", "within"),
    [
        ("static", {"method": "GFN1-xTB", "charge": 1}, 1e-9),
        ("relax", {"fmax": 0.02}, 1e-7),
        ("md", {"ensemble": "nvt", "temperature": 300, "timestep": 0.5, "steps": 10, "every": 5}, 1e-6),
    ],
)
def test_tblite_alone_gives_its_numbers_again(
    lab: Lab, tmp_path: Path, task: str, parameters: dict[str, Any], within: float
) -> None:
    job = lab.submit(molecule("CH3OH"), engine="tblite", task=task, **{"method": "GFN2-xTB", **parameters})
    said = said_again(job, tmp_path)
    assert energy_of(said) == pytest.approx(job.results["energy"], rel=within)
    if task == "md":
        assert_same_motion(said, job.thermo, within)


def test_a_chain_is_reproduced_from_the_structure_that_it_went_on_from(lab: Lab, tmp_path: Path) -> None:
    relax = lab.submit(COPPER, engine="ase", task="relax", calculator="emt", fmax=0.05)
    static = lab.submit(relax, task="static", **EAM)
    static.result(120)
    place = static.reproduce(tmp_path / "again")
    without_us(place)
    last = tables((place / "log.lammps").read_text()).iloc[-1]
    assert last["PotEng"] == pytest.approx(static.results["energy"], rel=1e-9)
    np.testing.assert_array_equal(read(place / "structure.traj").positions, relax.structure.positions)


def test_a_result_says_what_made_it(job: Job) -> None:
    made_by: dict[str, Any] = dict(job.provenance)
    potential = library.potentials_folder() / "Cu_u3.eam"
    binary = library.binary()
    assert made_by["engine"] == "lammps"
    assert made_by["task"] == "md"
    assert made_by["version"].startswith("2025")
    assert made_by["binary"] == {"path": str(binary), "sha256": hashlib.sha256(binary.read_bytes()).hexdigest()}
    assert made_by["inputs"] == {
        "potential": {
            "name": "Cu_u3.eam",
            "sha256": hashlib.sha256(potential.read_bytes()).hexdigest(),
            "citation": "Foiles et al, Phys Rev B, 33, 7983 (1986)",
        }
    }
    assert made_by["seed"] == 4711
    assert made_by["request"]["key"] == job.request.key
    assert made_by["request"]["structure"] == job.request.structure.digest
    assert made_by["request"]["parameters"]["temperature"] == 600
    # A worker that has loaded another engine has scipy loaded, too.
    assert {name: told for name, told in made_by["packages"].items() if name != "scipy"} == {
        "nanoos_lab": version("nanoos-lab"),
        "numpy": version("numpy"),
        "ase": version("ase"),
        "python": f"CPython {platform.python_version()}",
    }
    assert made_by["host"]["name"] == platform.node()
    assert made_by["resources"] == {"ranks": 1, "threads": 1, "gpus": 0}
    assert job.attempts[-1].provenance == made_by


def test_every_engine_says_it_in_the_same_way(lab: Lab, job: Job) -> None:
    own = {"program", "suffix", "files", "commands", "checkpoint_every"}
    emt = lab.submit(COPPER, engine="ase", task="static", calculator="emt")
    mock = lab.submit(COPPER, engine="mock", task="static", cache=False)
    for one in (emt, mock):
        one.result(120)
        assert set(one.provenance) >= set(job.provenance) - own
    assert emt.provenance["version"] == version("ase")
    assert emt.provenance["binary"]["path"].endswith("RECORD")
    assert mock.provenance["version"] == "1"


def assert_says_what_failed(job: Job, role: str, file: Path) -> None:
    """Compare what a failed attempt says with what is here."""
    assert job.status == "failed"
    told: dict[str, Any] = dict(job.attempts[-1].provenance)
    found = registry.found(job.request.engine)
    assert (told["engine"], told["task"], told["version"]) == (job.request.engine, job.request.task, found.version)
    assert found.version
    assert told["inputs"][role]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert told["request"]["key"] == job.request.key
    assert told["packages"]["nanoos_lab"] == version("nanoos-lab")
    assert told["host"]["name"] == platform.node()
    assert len(told["binary"]["sha256"]) == 64


def test_a_failed_attempt_of_lammps_says_what_was_run(lab: Lab) -> None:
    job = lab.submit(COPPER, task="relax", **EAM, fmax=1e-9, steps=1, corrections=False).wait(120)
    assert job.exception().reason == "convergence"
    assert_says_what_failed(job, "potential", library.potentials_folder() / "Cu_u3.eam")


def test_a_failed_attempt_of_pw_says_what_was_run(lab: Lab) -> None:
    job = lab.submit(
        silicon(shift=0.2), engine="espresso", task="relax", **SILICON, fmax=1e-6, steps=1, corrections=False
    ).wait(240)
    assert job.exception().reason == "convergence"
    [(role, ref)] = job.request.files.items()
    assert_says_what_failed(job, role, lab.services.artifacts.path(ref))
    # The engine has it loaded, and nothing else of the kind.
    packages: dict[str, str] = job.attempts[-1].provenance["packages"]
    assert packages["scipy"] == version("scipy")
    assert not {"torch", "phonopy"} & set(packages)


def test_an_attempt_whose_engine_was_killed_says_what_was_run(lab: Lab) -> None:
    long = {**MD, "steps": 10**9, "seed": 4712}
    job = lab.submit(COPPER, task="md", **EAM, **long, retries=1)
    until(lambda: job.running() and job.progress > 0, what="the first steps", seconds=120)
    horse = psutil.Process(job.attempts[0].pid)
    log = str(lab.services.artifacts.attempt_dir(job.id, 1) / "log.txt")
    [engine] = [one for one in horse.children(recursive=True) if log in {file.path for file in one.open_files()}]
    engine.kill()
    until(job.done, what="the end of the job", seconds=120)
    assert "killed" in str(job.exception())
    assert_says_what_failed(job, "potential", library.potentials_folder() / "Cu_u3.eam")


def test_the_directory_must_be_new(job: Job, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    with pytest.raises(InputError, match="is not empty"):
        job.reproduce(tmp_path)


def test_without_a_recipe_or_results_it_says_so(lab: Lab, tmp_path: Path) -> None:
    mock = lab.submit(COPPER, engine="mock", task="static")
    mock.result(60)
    with pytest.raises(InputError, match="engine 'mock', task 'static' has no recipe"):
        mock.reproduce(tmp_path / "mock")
    failed = lab.submit(COPPER, engine="mock", task="md", steps=10, fail_at=5)
    failed.wait(60)
    with pytest.raises(JobError):
        failed.reproduce(tmp_path / "failed")
    assert list(tmp_path.iterdir()) == []


def test_what_made_it_lies_beside_it(job: Job, tmp_path: Path) -> None:
    place = job.reproduce(tmp_path / "again")
    assert json.loads((place / "provenance.json").read_text()) == dict(job.provenance)
    results = json.loads((place / "expected" / "results.json").read_text())
    assert results["energy"] == {"value": job.results["energy"], "unit": "eV"}
