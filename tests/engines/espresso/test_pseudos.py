"""Pseudopotentials are found, unambiguous, of the right element and functional, and as their family means them."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from ase.build import bulk

from nanoos_lab.core.errors import InputError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.core.request import JobRequest
from nanoos_lab.engines.espresso import EspressoEngine, pseudos, upf
from tests.engines.espresso.running import SILICON, request_of, silicon, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines.espresso.running import Runner


def installed(name: str) -> Path:
    """Return a file of pw.x's package."""
    place = pseudos.directory(None)
    assert place is not None
    return place / name


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """A directory with silicon and aluminium, and a table that says so."""
    entries = {}
    for symbol, name, wfc in (("Si", "Si.pz-vbc.UPF", 14.0), ("Al", "Al.pz-vbc.UPF", 16.0)):
        shutil.copy(installed(name), tmp_path / name)
        md5 = hashlib.md5((tmp_path / name).read_bytes()).hexdigest()
        entries[symbol] = {"filename": name, "md5": md5, "cutoff_wfc": wfc, "cutoff_rho": 5 * wfc}
    (tmp_path / "LDA.json").write_text(json.dumps(entries))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "element", "functional", "valence"),
    [
        ("Si.pz-vbc.UPF", "Si", "PZ", 4),
        ("Al.pz-vbc.UPF", "Al", "PZ", 3),
        ("Si.pbe-rrkj.UPF", "Si", "PBE", 4),
        ("Si.pbe-nl-rrkjus_psl.1.0.0.UPF", "Si", "PBE", 4),
        ("Cu.pbe-kjpaw.UPF", "Cu", "PBE", 11),
        ("Fe.pz-nd-rrkjus.UPF", "Fe", "PZ", 8),
        ("Co.pbesol-spn-rrkjus_psl.0.3.1.UPF", "Co", "PBESOL", 17),
        ("H.blyp-vbc.UPF", "H", "BLYP", 1),
    ],
)
def test_headers_of_both_versions_are_read(name: str, element: str, functional: str, valence: float) -> None:
    header = upf.parse(installed(name).read_text(errors="replace"))
    assert (header.element, header.functional, header.valence) == (element, functional, valence)


def test_results_say_where_their_pseudopotentials_are_from() -> None:
    files = {"pseudo_B": installed("B.pbe-n-kjpaw_psl.1.0.0.UPF")}
    request = JobRequest(structure=None, engine="espresso", task="static", parameters={})
    cited = EspressoEngine().citations(request, files)
    assert cited["pseudo_B"] == 'Generated using "atomic" code by A. Dal Corso v.6.3, author ADC, 6Sep2018'


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("Si.pz-vbc.UPF", ""),
        (
            "Si.pbe-nl-rrkjus_psl.1.0.0.UPF",
            'Generated using "atomic" code by A. Dal Corso v.6.3, author ADC, 4Sep2018',
        ),
        ("Si.rel-pbe-rrkj.UPF", 'Generated using "atomic" code by A. Dal Corso (espresso distribution), 27Apr2007'),
        ("C_3.98148.UPF", "Generated using Fritz-Haber code"),
        ("C.UPF", "Generated using Fritz-Haber code, author Feliciano Giustino, 2005-09-18"),
        ("Si_r.upf", "D. R. Hamann, Phys. Rev. B 88, 085117 (2013)"),
    ],
)
def test_where_a_file_is_from_is_read_as_far_as_it_says(name: str, origin: str) -> None:
    assert upf.parse(installed(name).read_text(errors="replace")).origin == origin


def test_every_file_of_the_package_is_read_or_refused() -> None:
    place = pseudos.directory(None)
    assert place is not None
    found = pseudos.candidates(place)
    assert {"Si", "Al", "Fe", "Cu", "H", "O", "Ni"} <= set(found)
    assert all(path.name.lower().startswith(symbol.lower()) for symbol in ("Si", "Al", "Fe") for path in found[symbol])


@pytest.mark.parametrize("text", ["", "nonsense", "<PP_HEADER>", "<PP_HEADER element=3>", '<PP_HEADER element="Xx">'])
def test_what_is_no_header_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        upf.parse(text)


def test_a_family_brings_files_and_cutoffs(family: Path, pw: Runner) -> None:
    request, files = request_of(silicon(), "static", pseudopotentials=family, kpts=(1, 1, 1))
    assert {role: ref.name for role, ref in request.files.items()} == {
        "pseudo_Si": "Si.pz-vbc.UPF",
        "family": "LDA.json",
    }
    assert pseudos.cutoffs(files, pseudos.read_all(files)) == pseudos.Cutoffs(wfc=14.0, rho=70.0)
    _, files = request_of(bulk("AlSi", "zincblende", a=5.4), "static", pseudopotentials=family, smearing="gaussian")
    assert pseudos.cutoffs(files, pseudos.read_all(files)) == pseudos.Cutoffs(wfc=16.0, rho=80.0)
    run = pw(silicon(), "static", pseudopotentials=family, kpts=(1, 1, 1))
    text = (run.context.workdir / "espresso.in").read_text()
    assert "ecutwfc = 14.0" in text
    assert "ecutrho = 70.0" in text


def test_nothing_is_chosen_from_the_files_beside_pwx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it has but one for an element: it is there because pw.x is."""
    place = pseudos.directory(None)
    assert place is not None
    alone = next(symbol for symbol, files in pseudos.candidates(place).items() if len(files) == 1)
    atoms, given = bulk(alone, "fcc", a=4.0), {"ecutwfc": 20, "smearing": "gaussian"}
    with pytest.raises(
        ParameterError, match=rf"such as {{'{alone}': '(.*)'}}, since {place} has \1 for {alone}\."
    ) as caught:
        request_of(atoms, "static", **given)
    assert caught.value.field == "pseudos"
    # Where somebody has named a directory that has but one, they have chosen it.
    for more in ({"pseudos": {alone: pseudos.candidates(place)[alone][0].name}}, {"pseudopotentials": place}):
        _, files = request_of(atoms, "static", **given, **more)
        assert set(files) == {f"pseudo_{alone}"}
    monkeypatch.setenv("NANOOS_PSEUDO_DIR", str(place))
    request_of(atoms, "static", **given)


def test_the_choice_that_is_proposed_is_one_that_works() -> None:
    """Of one functional, though the first file of each element is of another."""
    given = {"ecutwfc": 20, "ecutrho": 200, "smearing": "gaussian"}
    oxide = bulk("NiO", "rocksalt", a=4.2)
    with pytest.raises(ParameterError) as caught:
        request_of(oxide, "static", **given)
    proposed = re.search(r"a choice such as (\{.*?\})", str(caught.value))
    assert proposed is not None
    request_of(oxide, "static", pseudos=ast.literal_eval(proposed.group(1)), **given)


def test_no_family_beside_pwx_is_chosen_for_the_user(family: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (family / "share/espresso").mkdir(parents=True)
    (family / "bin").mkdir()
    program = shutil.copy("/bin/true", family / "bin" / "pw.x")
    (family / "share/espresso/pseudo").symlink_to(family)
    monkeypatch.setenv("NANOOS_PW_X", str(program))
    with pytest.raises(ParameterError, match=r"a choice among those in .*: 'LDA'") as caught:
        request_of(silicon(), "static")
    assert caught.value.field == "family"
    _, files = request_of(silicon(), "static", family="LDA")
    assert files["family"].name == "LDA.json"


def test_a_dual_stands_for_the_second_cutoff(family: Path) -> None:
    table = json.loads((family / "LDA.json").read_text())
    table["Si"] = {"filename": "Si.pz-vbc.UPF", "cutoff": 20, "dual": 8}
    (family / "LDA.json").write_text(json.dumps(table))
    files = {"family": family / "LDA.json", "pseudo_Si": family / "Si.pz-vbc.UPF"}
    assert pseudos.cutoffs(files, pseudos.read_all(files)) == pseudos.Cutoffs(wfc=20, rho=160)


def test_a_second_cutoff_that_the_table_leaves_out_is_four_times_the_first(family: Path) -> None:
    table = json.loads((family / "LDA.json").read_text())
    table["Si"] |= {"cutoff_wfc": 30.0, "cutoff_rho": None}
    (family / "LDA.json").write_text(json.dumps(table))
    _, files = request_of(bulk("AlSi", "zincblende", a=5.4), "static", pseudopotentials=family, smearing="gaussian")
    assert pseudos.cutoffs(files, pseudos.read_all(files)) == pseudos.Cutoffs(wfc=30.0, rho=120.0)


def test_the_table_says_nothing_of_other_files_of_its_elements(family: Path, tmp_path: Path) -> None:
    atoms = bulk("AlSi", "zincblende", a=5.4)
    how: dict[str, Any] = {"pseudopotentials": family, "smearing": "gaussian", "kpts": (1, 1, 1)}
    (tmp_path / "mine").mkdir()
    shutil.copy(family / "Si.pz-vbc.UPF", tmp_path / "mine" / "Si.of-mine.UPF")
    with pytest.raises(ParameterError, match=r"ecutwfc=None.*no table recommends one"):
        request_of(atoms, "static", **how, pseudos={"Si": tmp_path / "mine" / "Si.of-mine.UPF"})
    # The same name, and another content.
    (tmp_path / "mine" / "Si.pz-vbc.UPF").write_text((family / "Si.pz-vbc.UPF").read_text() + "\n")
    with pytest.raises(ParameterError, match=r"ecutwfc=None.*no table recommends one"):
        request_of(atoms, "static", **how, pseudos={"Si": tmp_path / "mine" / "Si.pz-vbc.UPF"})
    assert request_of(atoms, "static", **how, pseudos={"Si": "Si.pz-vbc.UPF"})


def test_copper_keeps_the_cutoff_of_its_density(tmp_path: Path) -> None:
    shutil.copy(installed("Cu.pz-d-rrkjus.UPF"), tmp_path)
    table = {"Cu": {"filename": "Cu.pz-d-rrkjus.UPF", "cutoff_wfc": 30.0, "cutoff_rho": 240.0}}
    (tmp_path / "LDA.json").write_text(json.dumps(table))
    how: dict[str, Any] = {"pseudopotentials": tmp_path, "smearing": "gaussian"}
    for wfc, rho in ((20, 240), (30, 240), (40, 320)):
        assert f"ecutrho = {rho}.0" in text_of(bulk("Cu"), **how, ecutwfc=wfc)
    assert "ecutrho = 200" in text_of(bulk("Cu"), **how, ecutwfc=40, ecutrho=200)
    table["Cu"]["cutoff_rho"] = None
    (tmp_path / "LDA.json").write_text(json.dumps(table))
    with pytest.raises(ParameterError, match=r"ecutrho=None.*Cu\.pz-d-rrkjus\.UPF, ultrasoft or PAW"):
        request_of(bulk("Cu"), "static", **how)
    with pytest.raises(ParameterError, match=r"ecutrho=None.*8 to 12 times ecutwfc.*suggest, in Ry: Si\S+ 174\.974"):
        request_of(silicon(), "static", ecutwfc=40, pseudos={"Si": "Si.pbe-nl-rrkjus_psl.1.0.0.UPF"})


def test_files_say_whether_they_add_charge() -> None:
    place = pseudos.directory(None)
    assert place is not None
    paths = [path for files in pseudos.candidates(place).values() for path in files]
    added = {path.name for path in paths if upf.parse(path.read_text(errors="replace")).augmented}
    marks = ("rrkjus", "kjpaw", "-van", "US")
    by_name = {path.name for path in paths if any(mark in path.name for mark in marks)}
    assert len(paths) > 40
    assert added == by_name


def test_a_file_that_the_family_does_not_mean_is_refused(family: Path) -> None:
    with (family / "Si.pz-vbc.UPF").open("a") as file:
        file.write("\n")
    with pytest.raises(ParameterError, match="md5 differs"):
        request_of(silicon(), "static", pseudopotentials=family)
    (family / "Si.pz-vbc.UPF").unlink()
    with pytest.raises(ParameterError, match="is not there"):
        request_of(silicon(), "static", pseudopotentials=family)


def test_an_element_without_pseudopotential_is_named(family: Path) -> None:
    with pytest.raises(StructureError, match=r"LDA.json has no pseudopotential for Cu; it has Al, Si"):
        request_of(bulk("Cu"), "static", pseudopotentials=family)
    (family / "LDA.json").unlink()
    with pytest.raises(StructureError, match=r"no pseudopotential for Cu .* files for: Al, Si"):
        request_of(bulk("Cu"), "static", pseudopotentials=family)


def test_one_of_several_files_is_never_picked_silently(family: Path) -> None:
    how: dict[str, Any] = {"pseudopotentials": family, "ecutwfc": 12, "kpts": (1, 1, 1)}
    (family / "LDA.json").unlink()
    assert request_of(silicon(), "static", **how)[1]["pseudo_Si"].name == "Si.pz-vbc.UPF"
    shutil.copy(installed("Si.pbe-rrkj.UPF"), family)
    with pytest.raises(ParameterError, match=r"has Si\.pbe-rrkj\.UPF, Si\.pz-vbc\.UPF for Si"):
        request_of(silicon(), "static", **how)
    assert request_of(silicon(), "static", **how, pseudos={"Si": "Si.pbe-rrkj.UPF"})


def test_one_of_several_tables_is_never_picked_silently(family: Path) -> None:
    shutil.copy(family / "LDA.json", family / "other.json")
    with pytest.raises(ParameterError, match="'LDA', 'other'"):
        request_of(silicon(), "static", pseudopotentials=family)
    assert request_of(silicon(), "static", pseudopotentials=family, family="other")
    with pytest.raises(UnknownNameError, match="Did you mean 'LDA'"):
        request_of(silicon(), "static", pseudopotentials=family, family="lda1")


def test_a_file_of_another_element_is_refused() -> None:
    with pytest.raises(ParameterError, match="that file is for Al, not Si"):
        request_of(silicon(), "static", ecutwfc=12, pseudos={"Si": "Al.pz-vbc.UPF"})


def test_files_of_one_name_are_kept_apart(tmp_path: Path, pw: Runner) -> None:
    names = {"Al": "Al.pz-vbc.UPF", "Si": "Si.pz-vbc.UPF"}
    chosen = {}
    for symbol, name in names.items():
        (tmp_path / symbol).mkdir()
        chosen[symbol] = tmp_path / symbol / "of the lab.UPF"
        shutil.copy(installed(name), chosen[symbol])
    atoms = bulk("AlSi", "zincblende", a=5.4)
    how: dict[str, Any] = {"ecutwfc": 12, "kpts": (1, 1, 1), "smearing": "gaussian"}
    run = pw(atoms, "static", **how, pseudos=chosen)
    assert run["energy"] == pw(atoms, "static", **how, pseudos=names)["energy"]
    made_by = run.results.provenance["pseudopotentials"]
    assert {one["file"] for one in made_by.values()} == {"of the lab.UPF"}
    request, files = request_of(atoms, "static", **how, pseudos=chosen)
    recipe = EspressoEngine().recipe(request, files, {})
    assert recipe.files == {"pseudo_Al": "pseudo/Al.upf", "pseudo_Si": "pseudo/Si.upf"}


def test_functionals_are_not_mixed() -> None:
    atoms = bulk("SiC", "zincblende", a=4.36)
    how = {"ecutwfc": 20, "ecutrho": 160, "pseudos": {"Si": "Si.pz-vbc.UPF", "C": "C.pbe-rrkjus.UPF"}}
    with pytest.raises(ParameterError, match=r"Si\.pz-vbc\.UPF: PZ"):
        request_of(atoms, "static", **how)
    assert request_of(atoms, "static", **how, input={"system": {"input_dft": "PBE"}})


def test_names_that_are_not_there_are_told_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean 'Si\.pz-vbc\.UPF'"):
        request_of(silicon(), "static", ecutwfc=12, pseudos={"Si": "Si.pz-vcb.UPF"})
    with pytest.raises(ParameterError, match="there is no file"):
        request_of(silicon(), "static", ecutwfc=12, pseudos={"Si": "no/such.UPF"})
    with pytest.raises(ParameterError, match="there is no directory"):
        request_of(silicon(), "static", ecutwfc=12, pseudopotentials="no/such")
    with pytest.raises(UnknownNameError, match="element in pseudos 'Sy'"):
        request_of(silicon(), "static", ecutwfc=12, pseudos={**SILICON["pseudos"], "Sy": "Si.pz-vbc.UPF"})


def test_the_directory_is_found_by_variables_or_beside_the_program(
    family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ESPRESSO_PSEUDO", str(family))
    monkeypatch.delenv("NANOOS_PSEUDO_DIR", raising=False)
    assert pseudos.directory(None) == family
    monkeypatch.setenv("NANOOS_PSEUDO_DIR", str(family.parent))
    assert pseudos.directory(None) == family.parent
    for name in pseudos.VARIABLES:
        monkeypatch.setenv(name, str(family / "mistyped"))
        with pytest.raises(ParameterError, match=rf"{name}=.*there is no directory"):
            request_of(silicon(), "static", ecutwfc=12)
        monkeypatch.delenv(name)
    assert (installed("Si.pz-vbc.UPF")).is_file()
    monkeypatch.setenv("PATH", "")
    assert pseudos.directory(None) is None
    with pytest.raises(ParameterError, match="NANOOS_PSEUDO_DIR"):
        request_of(silicon(), "static", ecutwfc=12)
