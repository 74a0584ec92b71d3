"""What engine ``chgnet`` says where CHGNet is not installed: what is missing, and what could not run anyway."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from nanoos_lab.core.errors import EngineError, ParameterError, StructureError
from nanoos_lab.core.resources import Resources
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import registry
from nanoos_lab.engines.ase import over
from nanoos_lab.engines.chgnet.failures import FAILURES
from nanoos_lab.engines.signatures import Scanner
from tests.engines.ase.running import run
from tests.engines.context import RecordingContext


def absent(name: str) -> str:
    raise PackageNotFoundError(name)


def test_it_says_what_is_missing_and_how_to_get_it(monkeypatch):
    monkeypatch.setattr(over, "version", absent)
    info = registry.get("chgnet").probe()
    assert not info.found
    assert info.missing == "CHGNet is not installed: pip install 'nanoos-lab[chgnet]'"
    assert info.tasks == ("static", "relax", "md", "neb", "phonons")


def test_a_run_on_a_host_without_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "chgnet", None)
    with pytest.raises(EngineError, match="cannot be loaded on this host") as caught:
        run(RecordingContext(workdir=tmp_path), bulk("Si"), "static", engine="chgnet", model="0.3.0")
    assert caught.value.reason is Reason.RESOURCE
    assert "nanoos-lab[chgnet]" in caught.value.remedy


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (molecule("H2O"), "periodic in all directions"),
        (fcc111("Cu", (1, 1, 2), vacuum=5), "set pbc=True with enough vacuum"),
        (Atoms("Am", cell=[4, 4, 4], pbc=True), r"weights \(0.3.0, 0.2.0, r2scan\), and not Am; nanoos_lab.potentials"),
    ],
)
def test_structures_that_it_does_not_know_are_refused(tmp_path, atoms, words):
    with pytest.raises(StructureError, match=words):
        run(RecordingContext(workdir=tmp_path), atoms, "static", engine="chgnet", model="0.3.0")


def test_more_than_one_graphics_processor_is_refused():
    calculation = registry.calculation("chgnet", "static")
    calculation.check_resources(Resources(gpus=1, threads=4))
    with pytest.raises(ParameterError, match="engine 'chgnet', task 'static' uses at most 1") as caught:
        calculation.check_resources(Resources(gpus=2))
    assert (caught.value.field, caught.value.value) == ("resources", {"gpus": 2})


def test_weights_are_not_picked_silently(tmp_path):
    with pytest.raises(ParameterError, match=r"needs one of '0\.3\.0', '0\.2\.0', 'r2scan'"):
        run(RecordingContext(workdir=tmp_path), bulk("Si"), "static", engine="chgnet")


def test_weights_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(ParameterError) as caught:
        run(RecordingContext(workdir=tmp_path), bulk("Si"), "static", engine="chgnet", model="0.4")
    assert caught.value.field == "model"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ValueError: Structure graph_id=None has 1 isolated atom(s) with r_cutoff=6.", Reason.INPUT),
        ("RuntimeError: Found no NVIDIA driver on your system.", Reason.RESOURCE),
        ("AssertionError: Torch not compiled with CUDA enabled", Reason.RESOURCE),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", Reason.MEMORY),
    ],
)
def test_its_failures_are_recognised(line, reason):
    sign = Scanner(FAILURES).scan([line])
    assert sign is not None
    assert sign.signature.reason is reason
