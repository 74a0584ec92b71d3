"""Jobs from a shell: submit, list, show, log, cancel, export."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase.build import bulk

from nanoos_lab.engines import displacements, registry
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from nanoos_lab.lab.lab import Lab
    from tests.cli.command import Cli, Shell

MD = ("--engine", "mock", "--task", "md", "-p", "steps=20", "-p", "every=5")


@pytest.fixture
def copper(tmp_path: Path) -> str:
    path = tmp_path / "Cu.cif"
    ase.io.write(path, bulk("Cu", cubic=True))
    return str(path)


@pytest.fixture(scope="session")
def finished(lab: Lab) -> str:
    """Id of a job that has succeeded."""
    structure = bulk("Cu", cubic=True)
    wanted = {"steps": 20, "every": 5, "output": "the mock engine says hello"}
    return lab.submit(structure, engine="mock", task="md", name="finished one", **wanted).wait(60).id


def test_a_structure_file_is_submitted_and_waited_for(shell: Shell, copper: str) -> None:
    job_id = shell("submit", copper, *MD, "--name", "from a shell", "--wait").out.strip()

    found = shell("show", job_id, "--json").json()

    assert found["job"]["status"] == "succeeded"
    assert found["job"]["name"] == "from a shell"
    assert found["job"]["formula"] == "Cu4"
    assert found["request"]["parameters"]["steps"] == 20
    assert len(found["attempts"]) == 1


def test_a_parameter_is_json_or_text_or_the_text_of_a_file(cli: Cli, copper: str, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("from a file")
    options = (
        "-p",
        "duration=.25",
        "-p",
        "ensemble=nvt",
        "-p",
        "temperature=+300",
        "-p",
        "output=@words.txt",
    )

    record = cli("submit", copper, *MD, *options, "--json").json()

    given = cli("show", record["id"], "--json").json()["request"]["parameters"]
    chosen = {name: given[name] for name in ("duration", "ensemble", "temperature", "output")}
    assert chosen == {"duration": 0.25, "ensemble": "nvt", "temperature": 300.0, "output": "from a file"}


def test_a_job_that_fails_is_one_line_and_exit_code_1(shell: Shell, copper: str) -> None:
    answer = shell("submit", copper, *MD, "-p", "fail_at=10", "--wait", code=1)
    last = answer.err.splitlines()[-1]
    assert last.startswith("error: job ")
    assert "failed (engine)" in last
    assert "fail_at" in last


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--engine", "mok", "--task", "md"), "Did you mean 'mock'?"),
        (("--engine", "mock", "--task", "md", "-p", "step=5"), "Did you mean 'steps'?"),
        (("--engine", "mock", "--task", "md", "-p", "steps=-5"), "steps=-5 is not allowed"),
        ((*MD, "--queue", "simulation"), "Did you mean 'simulations'?"),
        ((*MD, "-p", "output=@nowhere"), "nowhere: No such file or directory"),
    ],
)
def test_a_wrong_request_is_one_line_and_nothing_is_stored(
    cli: Cli, lab: Lab, copper: str, arguments: tuple[str, ...], says: str
) -> None:
    before = sum(lab.services.store.count().values())
    answer = cli("submit", copper, *arguments, code=1)
    (line,) = answer.err.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert answer.out == ""
    assert sum(lab.services.store.count().values()) == before


@pytest.mark.parametrize(("content", "says"), [(None, "there is no file"), ("nonsense", "cannot read a structure")])
def test_a_structure_file_that_cannot_be_read_is_named(
    cli: Cli, tmp_path: Path, content: str | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "bad.cif").write_text(content)
    (line,) = cli("submit", "bad.cif", *MD, code=1).err.splitlines()
    assert says in line
    assert "bad.cif" in line


def test_wrong_usage_is_exit_code_2(cli: Cli, copper: str) -> None:
    assert "NAME=VALUE" in cli("submit", copper, *MD, "-p", "steps", code=2).err
    assert "--status" in cli("jobs", "--status", "done", code=2).err
    assert "--engine" in cli("submit", copper, "--task", "md", code=2).err


def test_jobs_are_listed_by_status(cli: Cli, finished: str) -> None:
    rows = cli("jobs", "--status", "succeeded", "--json").json()
    assert finished in [row["id"] for row in rows]
    assert {row["status"] for row in rows} == {"succeeded"}
    assert finished in cli("jobs").out


def test_a_job_is_shown_with_its_progress(cli: Cli, finished: str) -> None:
    shown = cli("show", finished).out
    assert finished in shown
    assert "succeeded" in shown
    assert re.search(r"^progress +100%, 20", shown, re.MULTILINE)


def test_an_unknown_id_is_said_in_one_line(cli: Cli, finished: str) -> None:
    (line,) = cli("show", "ffffffff", code=1).err.splitlines()
    assert "no job 'ffffffff'" in line


def test_the_log_is_what_the_engine_printed(cli: Cli, finished: str) -> None:
    assert cli("logs", finished).out == "the mock engine says hello\n"
    assert cli("logs", "--follow", finished).out == "the mock engine says hello\n"


def test_a_running_job_is_cancelled(shell: Shell, lab: Lab, copper: str) -> None:
    job = lab.load(shell("submit", copper, *MD, "-p", "duration=60").out.strip())
    until(job.running)

    assert "is being cancelled" in shell("cancel", job.id).err

    assert job.wait(90).status == "cancelled"


def test_of_several_ids_none_is_cancelled_if_one_is_unknown(cli: Cli, lab: Lab, copper: str) -> None:
    job = lab.load(cli("submit", copper, *MD, "-p", "duration=60").out.strip())
    cli("cancel", job.id, "ffffffff", code=1)
    assert not job.done()
    cli("cancel", job.id)
    job.wait(90)


@pytest.mark.parametrize("name", ["melt.extxyz", "melt.traj", "melt.xyz"])
def test_a_trajectory_is_exported_in_a_format_of_ase(
    cli: Cli, lab: Lab, finished: str, tmp_path: Path, name: str
) -> None:
    assert "5 frames of 4 atoms" in cli("export", finished, name).err

    frames = ase.io.read(tmp_path / name, index=":")
    positions = lab.load(finished).trajectory.positions
    assert len(frames) == 5
    np.testing.assert_allclose(frames[-1].positions, positions[-1], atol=1e-6)


def test_thermo_is_exported_as_csv(cli: Cli, lab: Lab, finished: str, tmp_path: Path) -> None:
    cli("export", finished, "thermo.csv")
    table = pd.read_csv(tmp_path / "thermo.csv", index_col="step")
    pd.testing.assert_frame_equal(table, lab.load(finished).thermo, check_exact=False, check_index_type=False)


def test_an_export_never_replaces_a_file_unasked_and_leaves_no_half_of_one(
    cli: Cli, finished: str, tmp_path: Path
) -> None:
    (tmp_path / "kept.csv").write_text("mine")
    assert "--force" in cli("export", finished, "kept.csv", code=1).err
    assert (tmp_path / "kept.csv").read_text() == "mine"
    cli("export", finished, "kept.csv", "--force")
    assert (tmp_path / "kept.csv").read_text().startswith("step,")

    (line,) = cli("export", finished, "melt.nonsense", code=1).err.splitlines()
    assert "'nonsense'" in line
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["kept.csv"]


def test_engines_are_listed_with_their_tasks(cli: Cli) -> None:
    found = {info["name"]: info for info in cli("engines", "--json").json()}
    assert {"ase", "lammps", "mock"} <= set(found)
    assert found["mock"]["found"] is True
    assert found["mock"]["tasks"] == ["static", "relax", "md"]
    assert "mock" in cli("engines").out


def test_a_program_that_a_task_of_an_engine_lacks_is_listed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOOS_DOS_X", "/no/such/dos.x")
    (info,) = (info for info in cli("engines", "--json").json() if info["name"] == "espresso")
    assert list(info["lacking"]) == ["dos"]
    assert "no dos: NANOOS_DOS_X is" in cli("engines").out


def test_a_package_that_a_task_of_an_engine_lacks_is_listed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no phonons" not in cli("engines").out
    monkeypatch.setattr(displacements, "find_spec", lambda name: None)
    registry.forget()
    said = " ".join(cli("engines").out.split())
    monkeypatch.undo()
    registry.forget()
    assert "no phonons: phonopy is missing: pip install 'nanoos-lab[phonons]'" in said


def test_the_demo_shows_the_thermo_table_with_its_units(shell: Shell) -> None:
    out = shell("demo", "--engine", "mock", "--steps", "300").out
    names, units = (line.split() for line in out.splitlines()[:2])
    assert dict(zip(names, units, strict=False))["temperature"] == "K"
    assert dict(zip(names, units, strict=False))["pressure"] == "GPa"
    assert out.rstrip().splitlines()[-1].split()[0] == "300"


def test_the_demo_without_lammps_says_what_to_install_and_starts_nothing(own_shell: Shell, own_lab: Lab) -> None:
    hidden = "import sys; sys.modules['lammps'] = None; from nanoos_lab.cli import main; main()"
    command = [sys.executable, "-c", hidden, "demo"]
    done = subprocess.run(command, env=own_shell.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "pip install" in line
    assert "--engine ase" in line
    assert not own_lab.settings.home.exists()


def test_the_demo_names_the_engines_that_it_knows(cli: Cli) -> None:
    assert "Did you mean 'lammps'?" in cli("demo", "--engine", "lamps", code=1).err
