"""How far the forces of a force field of the user's own reach, as LAMMPS itself says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ase.build import bulk
from ase.io import write

from nanoos_lab.core.errors import StructureError
from nanoos_lab.engines.lammps import library
from nanoos_lab.engines.lammps.molecules import reach
from tests.engines.lammps.molecules import water
from tests.engines.lammps.outside import submitted
from tests.engines.lammps.test_potentials import end_in_lammps

if TYPE_CHECKING:
    from pathlib import Path

MOVING = {"ensemble": "nvt", "temperature": 300.0, "timestep": 0.5, "steps": 60, "every": 20}
ATOMS = (
    "atom_style full\nregion box block 0 60 0 60 0 60\ncreate_box 2 box\nmass * 28\n"
    "create_atoms 1 single 0 0 0\ncreate_atoms 2 single 20 0 0\nset type 1 charge 1\nset type 2 charge -1\n"
)
FILES = ("CuNi.eam.alloy", "GaN.sw", "Cu_u3.eam", "library.meam", "SiC.meam")
STYLES = [
    "pair_style lj/cut 9.0\npair_coeff * * 0.1 3.0",
    "pair_style lj/cut/coul/cut 9.0 11.0\npair_coeff * * 0.1 3.0",
    "pair_style lj/cut/coul/long 10.0\npair_coeff * * 0.1 3.0\nkspace_style ewald 1e-3",
    "pair_style lj/charmm/coul/long 8.0 10.0\npair_coeff * * 0.1 3.0\nkspace_style ewald 1e-3",
    "pair_style buck/coul/long 9.0\npair_coeff * * 1000.0 0.3 20.0\nkspace_style ewald 1e-3",
    "pair_style lj/cut/coul/dsf 0.2 8.0 9.5\npair_coeff * * 0.1 3.0",
    "pair_style lj/charmm/coul/charmm 8.0 10.0 8.5 11.0\npair_coeff * * 0.1 3.0",
    "pair_style lj/gromacs 8.0 10.0\npair_coeff * * 0.1 3.0",
    "pair_style buck/coul/cut 7.0 8.0\npair_coeff * * 1000.0 0.3 20.0",
    "pair_style born/coul/wolf 0.25 7.0 8.0\npair_coeff * * 6.0 0.3 2.3 11.0 -1.0",
    "pair_style morse 6.5\npair_coeff * * 0.3 1.2 2.8",
    "pair_style mie/cut 7.5\npair_coeff * * 0.1 3.0 12 6",
    "pair_style zbl 3.0 4.5\npair_coeff * * 14 14",
    "pair_style coul/wolf 0.2 8.5\npair_coeff * *",
    "pair_style eam/alloy\npair_coeff * * CuNi.eam.alloy Cu Ni",
    "pair_style sw\npair_coeff * * GaN.sw Ga N",
    "pair_style hybrid/overlay sw coul/cut 6.0\npair_coeff * * sw GaN.sw Ga N\npair_coeff * * coul/cut",
    "pair_style hybrid/scaled 1.0 lj/cut 6.0 23.06 sw\npair_coeff * * lj/cut 0.1 2.0\npair_coeff * * sw GaN.sw Ga N",
    "pair_style lj/cut 12.0\npair_coeff * * 0.1 3.0\npair_style lj/cut 6.0\npair_coeff * * 0.1 3.0",
    "pair_style lj/charmm/coul/charmm 8.0 10.0\npair_coeff * * 0.1 3.0 0.05 2.5",
    "pair_style eam/alloy/opt\npair_coeff * * CuNi.eam.alloy Cu Ni",
    "pair_style meam\npair_coeff * * library.meam Si C SiC.meam Si C",
    "pair_style hybrid lj/cut 3.0 eam\npair_coeff 1 1 eam Cu_u3.eam\npair_coeff * 2 lj/cut 0.1 2.0",
]


@pytest.mark.parametrize("text", STYLES, ids=[text.split()[1] for text in STYLES])
def test_forces_reach_as_far_as_lammps_says(tmp_path: Path, text: str) -> None:
    folder = library.potentials_folder()
    assert folder is not None
    files = {name: folder / name for name in FILES}
    for name, path in files.items():
        (tmp_path / name).symlink_to(path)
    commands = [line.split() for line in text.splitlines()]
    assert reach.of(commands, files) == pytest.approx(end_in_lammps(tmp_path, ATOMS + text), rel=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "pair_style table linear 1000\npair_coeff * * mine.table entry 9.0",
        # Of their own.
        "pair_style lj/cut 12.0\npair_coeff * * 0.1 3.0 6.0",
        "pair_style lj/cut/coul/cut 10.0\npair_coeff * * 0.1 3.0 5.0 6.0",
        "pair_style hybrid lj/cut 10.0 coul/long 9.0\npair_coeff * * lj/cut 0.1 3.0 4.0\npair_coeff * * coul/long",
        "pair_style lj/long/coul/long off long 12.0\npair_coeff * * 0.1 3.0",
        # It only says how the sum over all images is split.
        "pair_style coul/long 9.0\npair_coeff * *",
        "pair_style momb 12.0 0.75 20.0\npair_coeff * * 0.0 1.0 1.0 10.2 1.6",
        "pair_style lj/cut/soft 2.0 0.5 9.5\npair_coeff * * 0.1 3.0 1.0",
        "pair_style hybrid/overlay table linear 1000 dpd/tstat 1.0 1.0 25.0 34387\npair_coeff 1 1 table mine.table e",
    ],
)
def test_of_what_does_not_say_it_nothing_is_said(text: str) -> None:
    assert reach.of([line.split() for line in text.splitlines()], {}) is None


@pytest.mark.parametrize(
    ("text", "far"),
    [
        ("pair_style lj/cut/coul/long 8.0 12.0\npair_coeff * * 0.1 3.0", 8.0),
        ("pair_style lj/charmm/coul/long 8.0 10.0 12.0\npair_coeff * * 0.1 3.0", 10.0),
        ("pair_style lj/cut/tip4p/cut 1 2 1 1 0.15 8.0\npair_coeff * * 0.1 3.0", 8.0),
        ("pair_style lj/cut/tip4p/long 1 2 1 1 0.15 8.0 12.0\npair_coeff * * 0.1 3.0", 8.0),
        ("pair_style coul/debye 20.0 5.0\npair_coeff * *", 5.0),
        ("pair_style lj/long/coul/long cut long 8.0 12.0\npair_coeff * * 0.1 3.0", 8.0),
    ],
)
def test_charges_reach_as_far_as_the_rest_or_as_their_style_says(text: str, far: float) -> None:
    assert reach.of([line.split() for line in text.splitlines()], {}) == far


def test_dynamics_in_a_cell_thinner_than_a_force_field_reaches_are_refused(tmp_path: Path) -> None:
    atoms, given = water(tmp_path)
    far = {**given, "force_field": str(given["force_field"]).replace("coul/long 6.0", "coul/long 9.5")}
    with pytest.raises(StructureError, match=r"an atom is 9\.30 Å from an image of itself, and forces reach .*9\.50 Å"):
        submitted(atoms, "md", **far, **MOVING)
    submitted(atoms, "md", **far, **MOVING, thin_cell=True)
    submitted(atoms, "static", **far)
    submitted(atoms, "md", **given, **MOVING)


def test_dynamics_in_a_cell_thinner_than_a_potential_file_of_a_force_field_says_are_refused(tmp_path: Path) -> None:
    copper = bulk("Cu", cubic=True)
    write(tmp_path / "copper.data", copper, format="lammps-data", masses=True)
    force_field = "units metal\natom_style atomic\npair_style eam/alloy\npair_coeff * * Cu_mishin1.eam.alloy Cu\n"
    given = {"data": str(tmp_path / "copper.data"), "force_field": force_field}
    with pytest.raises(StructureError, match=r"an atom is 3\.61 Å from an image of itself.* 5\.51 Å"):
        submitted(copper, "md", **given, **MOVING)
    submitted(copper, "static", **given)
