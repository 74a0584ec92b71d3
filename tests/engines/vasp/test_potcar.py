"""POTCARs: how they are found, lent to a run, and refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from nanoos_lab.core.errors import InputError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.engines.vasp import potcar
from tests.engines.vasp.given import check, parameters
from tests.engines.vasp.synthetic import potcar as stand_in

if TYPE_CHECKING:
    from pathlib import Path


def test_potentials_are_found_by_functional_and_setup(potentials) -> None:
    found = potcar.find(parameters("static"), ["In", "As"])
    assert [each.title for each in found] == ["PAW_PBE In_d 01Jan2000", "PAW_PBE As 01Jan2000"]
    assert [each.enmax for each in found] == [239.2, 208.7]
    found = potcar.find(parameters("static", setups={"In": ""}, potentials="potpaw_PBE.54"), ["In"])
    assert found[0].path == potentials / "potpaw_PBE.54" / "In" / "POTCAR"
    assert len(found[0].sha256) == 64


def test_what_goes_with_a_job_says_which_potentials_it_has(potentials, tmp_path) -> None:
    def checked() -> Path:
        structure = Structure.encode(bulk("Si"))
        found: Path = registry.get("vasp").check(structure, "static", parameters("static"), EnginePolicy())[
            "potentials"
        ]
        return found

    first = checked()
    assert first.is_relative_to(tmp_path / "cache")
    assert json.loads(first.read_text())["Si"]["title"] == "PAW_PBE Si 01Jan2000"
    assert "End of Dataset" not in first.read_text()
    assert checked() == first
    (potentials / "potpaw_PBE" / "Si" / "POTCAR").write_text(stand_in("Si", enmax=300.0))
    assert checked().read_text() != first.read_text()


def test_folders_of_potentials_are_listed_by_elements(potentials, monkeypatch) -> None:
    engine = registry.get("vasp")
    (potentials / "potpaw_PBE.54" / "As" / "POTCAR").unlink()
    assert [each.name for each in engine.potentials(["In", "As"])] == ["potpaw_PBE"]
    assert [each.name for each in engine.potentials([])] == ["potpaw_PBE", "potpaw_PBE.54"]
    assert engine.potentials(["In"])[1].elements == ("Fe", "In", "Si")
    monkeypatch.delenv("VASP_PP_PATH")
    assert engine.potentials(["In"]) == []


def test_a_potcar_is_there_only_while_it_is_lent(potentials, workdir) -> None:
    found = potcar.find(parameters("static"), ["In", "As"])
    with potcar.lent(workdir, found) as path:
        assert path.parent == workdir
        assert path.stat().st_mode & 0o777 == 0o600
        text = path.read_text()
        assert text.index("TITEL  = PAW_PBE In_d") < text.index("TITEL  = PAW_PBE As")
    assert list(workdir.iterdir()) == []


def test_a_potcar_goes_when_a_run_fails_too(potentials, workdir) -> None:
    found = potcar.find(parameters("static"), ["As"])
    with pytest.raises(ZeroDivisionError), potcar.lent(workdir, found) as path:
        divmod(path.stat().st_size, 0)
    assert list(workdir.iterdir()) == []


def test_a_killed_run_leaves_no_potcar_with_its_job(potentials, workdir, tmp_path, monkeypatch) -> None:
    passing, second = tmp_path / "passing", tmp_path / "second"
    passing.mkdir()
    second.mkdir()
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from nanoos_lab.core.parameters import validate\n"
        "from nanoos_lab.engines.vasp import VaspEngine, potcar\n"
        "given = validate(VaspEngine.tasks['static'], {'xc': 'PBE'}, where='')\n"
        "with potcar.lent(Path(sys.argv[1]), potcar.find(given, ['As'])) as path:\n"
        "    print(path.read_text(), flush=True)\n    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(workdir)]
    environment = {**os.environ, "TMPDIR": str(passing)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "PAW_PBE As" in process.stdout.readline()
        assert (workdir / "POTCAR").is_symlink()
        (place,) = passing.iterdir()
        os.utime(place, (0, 0))
        monkeypatch.setattr(tempfile, "tempdir", str(passing))
        # It lives, so another run does not touch what is its own.
        with potcar.lent(second, potcar.find(parameters("static"), ["As"])):
            assert len(list(passing.iterdir())) == 2
        assert (workdir / "POTCAR").is_file()
        process.kill()
    # A job's files are those that are no links.
    assert not [path for path in workdir.rglob("*") if path.is_file() and not path.is_symlink()]
    assert list(passing.iterdir()) == [place]
    with potcar.lent(workdir, potcar.find(parameters("static"), ["As"])) as path:
        assert path.is_file()
        assert not place.exists()
    assert list(passing.iterdir()) == []
    assert list(workdir.iterdir()) == []


def test_a_run_on_several_hosts_has_its_potcar_where_all_can_read_it(potentials, workdir, monkeypatch) -> None:
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    with potcar.lent(workdir, potcar.find(parameters("static"), ["As"])) as path:
        assert not path.is_symlink()
        assert path.stat().st_mode & 0o777 == 0o600
    assert list(workdir.iterdir()) == []


def test_a_potcar_that_changes_under_way_is_refused(potentials, workdir) -> None:
    found = potcar.find(parameters("static"), ["As"])
    found[0].path.write_text(stand_in("As") + "more")
    with pytest.raises(InputError, match="was changed"), potcar.lent(workdir, found):
        pass
    assert list(workdir.iterdir()) == []


def test_without_a_directory_of_potentials(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("VASP_PP_PATH", raising=False)
    with pytest.raises(InputError, match="VASP_PP_PATH is not set"):
        check(bulk("Si"))
    monkeypatch.setenv("VASP_PP_PATH", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="there is no such directory"):
        check(bulk("Si"))
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("VASP_PP_PATH", str(tmp_path / "empty"))
    with pytest.raises(ParameterError, match="it has no folder potpaw"):
        check(bulk("Si"))


def test_a_folder_that_is_not_there_is_answered_with_those_that_are(potentials) -> None:
    with pytest.raises(ParameterError, match=r"'potpaw_PBE', 'potpaw_PBE.54'") as caught:
        check(bulk("Si"), potentials="potpaw_PBE.64")
    assert caught.value.field == "potentials"
    with pytest.raises(ParameterError, match="no folder potpaw in"):
        check(bulk("Si"), xc="LDA")


def test_nothing_is_chosen_for_the_user_where_there_is_a_choice(potentials) -> None:
    with pytest.raises(ParameterError, match="xc=None is not allowed: test needs one of 'PBE', 'PBEsol'"):
        validate(registry.get("vasp").tasks["static"], {}, where="test")
    both = "such as {'In': ''}, since .* has In, In_d for In; VASP recommends In_d, which is setups='recommended'."
    for setups in (None, {"Si": ""}):
        with pytest.raises(ParameterError, match=both) as caught:
            check(bulk("In"), setups=setups)
        assert caught.value.field == "setups"
    with pytest.raises(ParameterError, match="has Fe, Fe_pv for Fe; In, In_d for In; VASP recommends Fe, In_d"):
        check(bulk("FeIn", "cesiumchloride", a=3), setups=None)
    (potentials / "potpaw_PBE" / "In_d" / "POTCAR").rename(potentials / "potpaw_PBE" / "In" / "other")
    check(bulk("In"), setups=None)
    (potentials / "potpaw_PBE" / "In_h").mkdir()
    (potentials / "potpaw_PBE" / "In" / "other").rename(potentials / "potpaw_PBE" / "In_h" / "POTCAR")
    with pytest.raises(ParameterError, match=r"has In, In_h for In\.$"):
        check(bulk("In"), setups=None)
    (potentials / "potpaw_PBE" / "In_h" / "POTCAR").rename(potentials / "potpaw_PBE" / "In_d" / "POTCAR")
    check(bulk("Si"), setups=None)
    (indium,) = potcar.find(parameters("static", setups={"base": "recommended", "Si": ""}), ["In"])
    assert indium.title.startswith("PAW_PBE In_d")


def test_elements_and_setups_without_a_potcar(potentials) -> None:
    with pytest.raises(StructureError, match="there is no POTCAR for Cu"):
        check(bulk("Cu"))
    with pytest.raises(ParameterError, match=r"take setups=\{'Fe': ''\} or setups=\{'Fe': '_pv'\}"):
        check(bulk("Fe"), setups={"Fe": "_sv"})
    with pytest.raises(UnknownNameError, match="recommended"):
        check(bulk("Si"), setups="recomended")
    with pytest.raises(UnknownNameError):
        check(bulk("Si"), setups={"Sl": "_pv"})
    with pytest.raises(ParameterError, match="a suffix such as"):
        check(bulk("Si"), setups={"Si": "/../../Fe"})


def test_a_potcar_of_another_element_is_refused(potentials) -> None:
    (potentials / "potpaw_PBE" / "Si" / "POTCAR").write_text(stand_in("Fe"))
    with pytest.raises(InputError, match="for another element than Si: its title is 'PAW_PBE Fe 01Jan2000'"):
        check(bulk("Si"))
    (potentials / "potpaw_PBE" / "Si" / "POTCAR").write_text("a text\n" * 100)
    with pytest.raises(InputError, match="is no POTCAR"):
        check(bulk("Si"))
    # S is not Si, however it begins.
    (potentials / "potpaw_PBE" / "Si" / "POTCAR").write_text(stand_in("S"))
    with pytest.raises(InputError, match="another element"):
        check(bulk("Si"))


@pytest.mark.parametrize(
    ("xc", "lexch", "folder"),
    [("LDA", "PE", "potpaw_LDA"), ("PBE", "CA", "potpaw_PBE"), ("SCAN", "CA", "potpaw_PBE")],
)
def test_potentials_of_another_functional_are_refused(potentials, xc: str, lexch: str, folder: str) -> None:
    """VASP would say nothing: without a tag it takes the functional of the POTCAR."""
    place = potentials / "potpaw_PBE.54" / "Si" / "POTCAR"
    place.write_text(stand_in("Si", lexch=lexch))
    with pytest.raises(ParameterError, match=rf"such as those in {folder};.*LEXCH = {lexch}") as caught:
        check(bulk("Si"), xc=xc, potentials="potpaw_PBE.54")
    assert caught.value.field == "potentials"


def test_potentials_of_lda_are_for_lda(potentials) -> None:
    place = potentials / "potpaw_LDA.54" / "Si" / "POTCAR"
    place.parent.mkdir(parents=True)
    place.write_text(stand_in("Si", lexch="CA"))
    check(bulk("Si"), xc="LDA", potentials="potpaw_LDA.54")
