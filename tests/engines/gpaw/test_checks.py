"""What engine ``gpaw`` says where GPAW is not installed: what is missing, and what could not run anyway."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest
from ase.build import bulk, fcc111, molecule

from nanoos_lab.core.errors import EngineError, ParameterError, StructureError
from nanoos_lab.core.request import JobRequest
from nanoos_lab.core.status import Reason
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry
from nanoos_lab.engines.ase import over
from nanoos_lab.engines.gpaw import datasets
from nanoos_lab.engines.gpaw.failures import FAILURES
from nanoos_lab.engines.gpaw.parameters import GpawParameters
from nanoos_lab.engines.signatures import Scanner
from tests.engines.ase.running import run
from tests.engines.context import RecordingContext


def absent(name: str) -> str:
    raise PackageNotFoundError(name)


def test_it_says_what_is_missing_and_how_to_get_it(monkeypatch):
    monkeypatch.setattr(over, "version", absent)
    info = registry.get("gpaw").probe()
    assert not info.found
    assert "pip install 'nanoos-lab[gpaw]'" in info.missing
    assert "libxc-dev" in info.missing


def test_a_run_on_a_host_without_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gpaw", None)
    with pytest.raises(EngineError, match="cannot be loaded on this host") as caught:
        run(RecordingContext(workdir=tmp_path), bulk("Si"), "static", engine="gpaw", xc="PBE")
    assert caught.value.reason is Reason.RESOURCE


def test_its_parameters_become_those_of_gpaw():
    found = GpawParameters(xc="PBE", ecut=300, kpoints=(4, 4, 4), smearing=0.05, spin=True, mixing=0.1).keywords()
    assert found["mode"] == {"name": "pw", "ecut": 300}
    assert found["kpts"] == {"size": (4, 4, 4), "gamma": True}
    assert found["occupations"] == {"name": "fermi-dirac", "width": 0.05}
    assert found["spinpol"] is True
    assert found["mixer"] == {"beta": 0.1}
    usual = registry.get("gpaw").tasks["relax"](xc="PBE").keywords()
    assert usual["kpts"] == {"density": 3.5, "gamma": True}
    assert "spinpol" not in usual
    assert "symmetry" not in usual
    for task in ("md", "neb", "phonons"):
        model = registry.get("gpaw").tasks[task]
        how = {"final": [[0.0, 0, 0]]} if task == "neb" else {"steps": 1} if task == "md" else {}
        assert model(xc="PBE", **how).keywords()["symmetry"] == {"point_group": False}
    assert "mixer" not in usual


def test_its_recipe_is_a_script_for_ase_and_gpaw_alone():
    request = JobRequest(
        structure=Structure.encode(bulk("Si")),
        engine="gpaw",
        task="relax",
        parameters={"xc": "PBE", "ecut": 300, "kpoints": (4, 4, 4), "fmax": 0.02},
    )
    script = registry.get("gpaw").recipe(request, {}, {}).texts["run.py"]
    compile(script, "run.py", "exec")
    assert "nanoos_lab" not in script
    assert "from gpaw import GPAW\n" in script
    (made,) = (line.strip() for line in script.splitlines() if "GPAW(" in line)
    # What the script calls is what the engine calls, but for the log.
    found = eval(made.removeprefix("return "), {"GPAW": dict})
    assert found == {**registry.get("gpaw").tasks["relax"](**request.parameters).keywords(), "txt": "gpaw.txt"}
    assert "fmax=0.02" in script


@pytest.mark.parametrize(
    ("atoms", "parameters", "field"),
    [
        (bulk("Si"), {"ecut": 10}, "ecut"),
        (bulk("Si"), {"kpoints": (0, 1, 1)}, "kpoints"),
        (bulk("Si"), {"kpoints": (2, 2, 2), "kpoint_density": 5}, "kpoint_density"),
        (fcc111("Al", (1, 1, 2), vacuum=5), {"kpoints": (2, 2, 2)}, "kpoints"),
    ],
)
def test_values_that_cannot_be_are_refused(tmp_path, atoms, parameters, field):
    if field == "kpoints" and not atoms.pbc.all():
        atoms.cell[2, 2] = 20
    with pytest.raises(ParameterError) as caught:
        run(RecordingContext(workdir=tmp_path), atoms, "static", engine="gpaw", xc="PBE", **parameters)
    assert caught.value.field == field


def test_the_functional_is_the_users_choice(tmp_path):
    with pytest.raises(ParameterError, match=r"xc=None is not allowed: .*such as 'PBE', 'LDA'"):
        run(RecordingContext(workdir=tmp_path), bulk("Si"), "static", engine="gpaw")


def test_a_molecule_needs_a_cell(tmp_path):
    with pytest.raises(StructureError, match="vacuum"):
        run(RecordingContext(workdir=tmp_path), molecule("H2O"), "static", engine="gpaw", xc="PBE")


def test_an_element_without_a_data_set_is_refused(tmp_path, monkeypatch):
    (tmp_path / "Si.PBE.gz").touch()
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    # Where there are none at all GPAW is not installed, and a worker says so.
    datasets.check({"Al"})
    monkeypatch.setenv("GPAW_SETUP_PATH", f"{tmp_path}/nowhere:{tmp_path}")
    datasets.check({"Si"})
    with pytest.raises(StructureError, match=f"no PAW data set for Al in {tmp_path}; GPAW_SETUP_PATH names folders"):
        run(RecordingContext(workdir=tmp_path), bulk("Al"), "static", engine="gpaw", xc="PBE")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gpaw").mkdir()
    (tmp_path / ".gpaw" / "rc.py").touch()
    datasets.check({"Al"})


def test_a_density_that_swings_is_mixed_less():
    sign = Scanner(FAILURES).scan(["KohnShamConvergenceError: "])
    assert sign is not None
    first = sign.error("gpaw", {"mixing": None})
    assert first.reason is Reason.CONVERGENCE
    assert first.correction is not None
    assert first.correction.changes == {"mixing": 0.05}
    second = sign.error("gpaw", {"mixing": 0.05}).correction
    assert second is not None
    assert second.changes == {"mixing": 0.02}
    assert sign.error("gpaw", {"mixing": 0.02}).correction is None
