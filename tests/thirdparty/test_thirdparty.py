"""A package of somebody else adds an engine and a task: installed as any other, and used through a lab."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engines.contract import VARIABLE

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "nanoos_lab_harmonic"
SCRIPT = """
import json, sys
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from nanoos_lab.core.errors import InputError
from nanoos_lab.lab import local
from nanoos_lab.lab.lab import Lab
from nanoos_lab.worker.settings import Settings

def refused(**options):
    try:
        lab.submit(bulk("Cu", cubic=True), **options)
    except InputError as error:
        return str(error)

dimer = Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 2 ** (1 / 6) * 3.4]])
with Lab(Settings.load(home=sys.argv[1], concurrency=1)) as lab:
    try:
        springs = {"engine": "harmonic", "task": "md", "spring": 3.0, "temperature": 300}
        md = lab.submit(bulk("Cu", cubic=True), steps=200, every=50, **springs)
        argon = {"calculator": "lj", "epsilon": 0.0103, "sigma": 3.4, "cutoff": 20.0}
        modes = lab.submit(dimer, engine="ase", task="vibrations", displacement=0.001, **argon)
        long = lab.submit(bulk("Cu", cubic=True), engine="harmonic", task="md", steps=10**9, every=10**9)
        md.result(60), modes.result(60)
        print(json.dumps({
            "steps": md.trajectory.steps.tolist(),
            "energies": md.thermo.total_energy.tolist(),
            "units": dict(md.thermo.attrs["units"]),
            "version": md.request.version,
            "modes": modes.results["mode_energies"].tolist(),
            "mode units": modes.results.units,
            "mode version": modes.request.version,
            "provenance": modes.attempts[-1].provenance,
            "spring": refused(engine="harmonic", task="md", steps=1, sprong=2.0),
            "range": refused(engine="harmonic", task="md", steps=1, spring=-2.0),
            "ensemble": refused(engine="harmonic", task="md", steps=1, ensemble="nvt", temperature=3),
            "task": refused(engine="mock", task="vibrations"),
            "periodic": refused(engine="ase", task="vibrations", calculator="emt"),
        }))
        long.cancel()
        assert long.wait(90).cancelled()
    finally:
        local.stop(lab.settings, now=True)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a shell has in which the package is installed."""
    source, target = tmp_path_factory.mktemp("source") / "package", tmp_path_factory.mktemp("installed")
    shutil.copytree(PACKAGE, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", target, source], check=True, timeout=120)
    assert not (target / "nanoos_lab").exists()
    return {**os.environ, "PYTHONPATH": str(target)}


@pytest.fixture(scope="module")
def said(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came out of a lab to which jobs for the engine and the task were submitted."""
    home = tmp_path_factory.mktemp("home")
    command = [sys.executable, "-c", SCRIPT, home / "lab"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150, cwd=home)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_their_engine_runs_in_a_lab_and_obeys_the_contract(said: dict[str, Any]) -> None:
    assert said["steps"] == [0, 50, 100, 150, 200]
    assert said["energies"] == pytest.approx([said["energies"][0]] * 5, rel=1e-2)
    assert said["units"]["total_energy"] == "eV"
    assert said["version"] == "1.0"


@pytest.mark.timeout(300)
def test_their_engine_passes_the_suite_that_ours_pass(environment: dict[str, str]) -> None:
    places = os.pathsep.join([environment["PYTHONPATH"], str(PACKAGE)])
    theirs = {**environment, "PYTHONPATH": places, VARIABLE: "contract_cases", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/engines/test_contract.py"]
    done = subprocess.run(command, env=theirs, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stdout
    # What it cannot do is left out: it makes no checkpoints, follows no changes, and needs no program.
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|skipped)", done.stdout)}
    assert counts["passed"] >= 18


def test_their_task_runs_on_our_engine_and_finds_what_theory_says(said: dict[str, Any]) -> None:
    # The second derivative of the Lennard-Jones energy at its minimum is 72 ε / (2^(1/3) σ²).
    from ase import units

    spring, mass = 72 * 0.0103 / (2 ** (1 / 3) * 3.4**2), 39.948 / 2
    quantum = units._hbar * 1e10 * (spring / mass / units._e / units._amu) ** 0.5
    *still, stretch = said["modes"]
    assert stretch == pytest.approx(quantum, rel=1e-4)
    assert still == pytest.approx([0.0] * 5, abs=quantum / 100)
    assert said["mode units"] == {"energy": "eV", "mode_energies": "eV", "zero_point_energy": "eV"}
    assert said["mode version"].endswith(", nanoos-lab-harmonic 1.0")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("spring", ["'sprong'", "Did you mean 'spring'?"]),
        ("range", ["spring=-2.0", "a number > 0 and ≤ 1,000 eV/Å²"]),
        ("ensemble", ["ensemble='nvt'", "only 'nve'"]),
        ("task", ["task of engine 'mock'", "'vibrations'"]),
        ("periodic", ["needs a molecule"]),
    ],
)
def test_what_is_wrong_is_said_in_the_users_cell(said: dict[str, Any], what: str, words: list[str]) -> None:
    assert all(word in said[what] for word in words), said[what]


def test_both_are_listed_on_the_command_line(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "nanoos_lab", "engines"]
    wide = {**environment, "COLUMNS": "300"}
    lines = subprocess.run(
        command, env=wide, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    (engine,) = (line for line in lines if line.startswith("harmonic"))
    assert engine.split()[:5] == ["harmonic", "yes", "1.0", "static", "md"]
    (ase,) = (line for line in lines if line.startswith("ase "))
    assert "neb phonons vibrations" in ase
    (task,) = (line for line in lines if line.startswith("vibrations"))
    assert task.split()[:4] == ["vibrations", "nanoos-lab-harmonic", "1.0", "ase"]
